"""What gRPC and REST answer from: the loaded models, how a prediction is run, what is counted, and whether the server is stopping."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import grpc
from tensorflow_serving.apis import model_pb2

from serving.model_server.batching import Batcher
from serving.model_server.catalogue import Catalogue
from serving.model_server.errors import ServingError
from serving.model_server.merging import Arrays
from serving.model_server.metrics import LOADED_VERSION, REQUEST_COUNT, REQUEST_LATENCY, VERSION_CHOICE, Gauge, Metrics
from serving.model_server.servable import Servable

CHOICES = {None: "latest", "version": "version", "version_label": "label"}
#: Signature name and inputs that a request asks of the servable.
Asked = Callable[[Servable], tuple[str, Arrays]]


class Core:
    """One server's state. Every method may be called from any thread."""

    def __init__(self, catalogue: Catalogue, metrics: Metrics, batcher: Batcher | None = None) -> None:
        """Without a `batcher` every request is run by itself, in its own thread."""
        self.catalogue = catalogue
        self.metrics = metrics
        self._batcher = batcher
        self._draining = False
        self._in_flight = 0
        self._changed = threading.Condition()
        metrics.gauges.append(self._gauges)

    def ready(self) -> bool:
        return not self._draining and self.catalogue.ready()

    def predict(
        self, spec: model_pb2.ModelSpec, asked: Asked, output_filter: Iterable[str], deadline: float, entrypoint: str
    ) -> tuple[int, Arrays]:
        """The version that answered and its outputs, or ServingError; counted and timed as asked over `entrypoint`, GRPC or REST."""
        started, status = time.monotonic(), grpc.StatusCode.OK
        try:
            with self._running(), self.catalogue.borrow(spec) as (version, servable):
                if self._batcher is None:
                    return version, servable.run(*asked(servable), output_filter)
                self._batcher.check_room(servable, spec.name)
                return version, self._batcher.run(servable, spec.name, *asked(servable), output_filter, deadline)
        except ServingError as error:
            status = error.code
            raise
        finally:
            model = spec.name if self.catalogue.lists(spec.name) else ""  # names that anybody may send would grow without bound
            self.metrics.count(REQUEST_COUNT, model_name=model, status=status.name)
            self.metrics.count(VERSION_CHOICE, model_name=model, choice=CHOICES[spec.WhichOneof("version_choice")])
            self.metrics.observe(
                REQUEST_LATENCY, 1e6 * (time.monotonic() - started), model_name=model, API="Predict", entrypoint=entrypoint
            )

    def drain(self, seconds: float) -> bool:
        """Refuse new predictions as UNAVAILABLE and wait for those that run; False where some still do after `seconds`."""
        with self._changed:
            self._draining = True
            return self._changed.wait_for(lambda: self._in_flight == 0, seconds)

    @contextmanager
    def _running(self) -> Any:
        with self._changed:
            if self._draining:
                raise ServingError(grpc.StatusCode.UNAVAILABLE, "The server is stopping; ask another one, or again in a moment")
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                if self._draining:
                    self._changed.notify_all()

    def _gauges(self) -> list[Gauge]:
        return [(LOADED_VERSION, {"model_name": name, "version": str(number)}, 1) for name, number in self.catalogue.loaded()]
