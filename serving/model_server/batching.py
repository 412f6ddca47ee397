"""Adaptive batching: what waits while a batch runs is the next batch, so that load makes batches larger and a lone request never waits.

At most `num_batch_threads` batches run at once. A request that finds one of these places free runs in its own thread; else it waits in a
bounded queue, and whoever ends a batch hands its place to the request that has waited longest, with all that may be merged with it.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc

from serving.model_server.errors import ServingError
from serving.model_server.merging import Arrays, Part, merge, part, split
from serving.model_server.metrics import BATCH_SIZE, QUEUED_REQUESTS, QUEUING_LATENCY, RUNTIME_LATENCY, Gauge, Metrics
from serving.model_server.parameters import Batching
from serving.model_server.servable import Servable


@dataclass(eq=False)
class Task:
    """One request: what it asks, and then either the batch that its thread must run or its own answer."""

    servable: Servable
    model: str
    signature_name: str
    wanted: tuple[str, ...]
    part: Part
    key: tuple[object, ...] | None  # None: runs by itself
    deadline: float  # of time.monotonic
    queued_at: float = 0.0
    woken: threading.Event = field(default_factory=threading.Event)
    batch: list["Task"] | None = None
    outputs: Arrays | None = None
    error: Exception | None = None


class Batcher:
    """Runs signatures of any servable. Every method may be called from any thread."""

    def __init__(self, parameters: Batching, metrics: Metrics) -> None:
        self._parameters = parameters
        self._metrics = metrics
        self._lock = threading.Lock()  # guards what follows
        self._running = 0
        self._queue: deque[Task] = deque()
        self._waiting_rows: Counter[Servable] = Counter()
        self._waiting: Counter[str] = Counter()  # requests by model
        metrics.gauges.append(self._gauges)

    def run(
        self, servable: Servable, model: str, signature_name: str, inputs: Arrays, output_filter: Iterable[str], deadline: float
    ) -> Arrays:
        """The outputs of one request. ServingError: RESOURCE_EXHAUSTED at once where the queue is full, DEADLINE_EXCEEDED where `deadline`
        (of `time.monotonic`) passes in the queue, or what the model says of this request alone."""
        signature = servable.signature(signature_name)
        signature.check_inputs(inputs)
        wanted = signature.wanted_outputs(output_filter)
        own = part(model, signature_name, signature, inputs, self._parameters.pad_variable_length_inputs)
        key = (servable, signature_name, wanted, own.key) if own and own.rows < self._parameters.max_batch_size else None
        task = Task(servable, model, signature_name, wanted, own or Part((), 1, inputs, {}, {}), key, deadline)
        if not self._may_start(task):
            self._wait(task)
        if task.batch:
            try:
                self._run_batch(task.batch)
            finally:
                self._hand_over()
        if task.error:
            raise task.error
        assert task.outputs is not None
        return task.outputs

    def check_room(self, servable: Servable, model: str) -> None:
        """ServingError(RESOURCE_EXHAUSTED) where not even one row would find a place. Asked before a request's tensors are read: a refusal
        must cost less than an answer."""
        with self._lock:
            if self._running >= self._parameters.num_batch_threads and self._waiting_rows[servable] >= self._parameters.max_enqueued_rows:
                raise self._full(servable, model)

    def _full(self, servable: Servable, model: str) -> ServingError:
        waiting, most = self._waiting_rows[servable], self._parameters.max_enqueued_rows
        return ServingError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"The batch scheduling queue to which this task was submitted is full; {waiting} rows of model {model} wait, of at most {most}",
        )

    def _may_start(self, task: Task) -> bool:
        with self._lock:
            if self._running < self._parameters.num_batch_threads:
                self._running += 1
                task.batch = [task]
                return True
            if self._waiting_rows[task.servable] + self._weight(task) > self._parameters.max_enqueued_rows:
                raise self._full(task.servable, task.model)
            task.queued_at = time.monotonic()
            self._queue.append(task)
            self._waiting_rows[task.servable] += self._weight(task)
            self._waiting[task.model] += 1
            return False

    def _wait(self, task: Task) -> None:
        if not task.woken.wait(min(task.deadline - time.monotonic(), threading.TIMEOUT_MAX)):
            with self._lock:
                if task in self._queue:
                    self._queue.remove(task)
                    self._forget(task)
                    task.error = _expired()
                    return
            task.woken.wait()  # it has just been taken: its answer, or its turn, is on the way
        self._metrics.observe(QUEUING_LATENCY, 1e6 * (time.monotonic() - task.queued_at), model_name=task.model)

    def _hand_over(self) -> None:
        """Give this thread's place to the request that has waited longest, or free it."""
        with self._lock:
            now, batch, rows, left = time.monotonic(), list[Task](), 0, deque[Task]()
            for task in self._queue:
                fits = not batch or (
                    task.key is not None and task.key == batch[0].key and rows + task.part.rows <= self._parameters.max_batch_size
                )
                if task.deadline <= now:
                    self._forget(task)
                    task.error = _expired()
                    task.woken.set()
                elif fits:
                    self._forget(task)
                    batch.append(task)
                    rows += task.part.rows
                else:
                    left.append(task)
            self._queue = left
            if not batch:
                self._running -= 1
                return
            batch[0].batch = batch
        batch[0].woken.set()

    def _weight(self, task: Task) -> int:
        """Rows of the queue that a request takes: one larger than a batch, which runs by itself, takes a batch's."""
        return min(task.part.rows, self._parameters.max_batch_size)

    def _forget(self, task: Task) -> None:
        self._waiting_rows[task.servable] -= self._weight(task)
        if not self._waiting_rows[task.servable]:
            del self._waiting_rows[task.servable]  # an unloaded version must not be kept
        self._waiting[task.model] -= 1

    def _run_batch(self, batch: list[Task]) -> None:
        try:
            self._run_merged(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
            else:  # nobody is refused for what a neighbour asked
                for task in batch:
                    self._run_batch([task])
        finally:
            for task in batch[1:]:
                task.woken.set()

    def _run_merged(self, batch: list[Task]) -> None:
        first, parts = batch[0], [task.part for task in batch]
        inputs = merge(parts, self._parameters.allowed_batch_sizes if first.key else ())
        rows = sum(each.rows for each in parts)
        size = len(next(iter(inputs.values()))) if first.key else rows  # allowed sizes may have added rows
        started = time.monotonic()
        outputs = first.servable.call(first.signature_name, inputs, first.wanted)
        self._metrics.observe(RUNTIME_LATENCY, 1e6 * (time.monotonic() - started), model_name=first.model, API="Predict", runtime="TF1")
        self._metrics.observe(BATCH_SIZE, rows, model_name=first.model)
        answers = [outputs] if len(batch) == 1 and size == rows else split(outputs, parts, size)
        for task, answer in zip(batch, answers, strict=True):
            task.outputs = answer

    def _gauges(self) -> list[Gauge]:
        with self._lock:
            return [(QUEUED_REQUESTS, {"model_name": model}, count) for model, count in sorted(self._waiting.items())]


def _expired() -> ServingError:
    return ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded while the request waited in the batch scheduling queue")
