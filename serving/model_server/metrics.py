"""Counters and histograms of a server in Prometheus' text format, under TensorFlow Serving's names where it has them.

TensorFlow Serving writes its `/tensorflow/serving/request_count` as `:tensorflow:serving:request_count`; latencies are in microseconds.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_COUNT = ":tensorflow:serving:request_count"
REQUEST_LATENCY = ":tensorflow:serving:request_latency"
RUNTIME_LATENCY = ":tensorflow:serving:runtime_latency"
QUEUING_LATENCY = ":tensorflow:serving:batching:queuing_latency"
BATCH_SIZE = ":tensorflow:serving:batching:processed_batch_size"
QUEUED_REQUESTS = "portrait:model_server:queued_requests"
#: How requests chose their version: `latest` (no choice), `version` or `label`. During a trial `latest` is the version on trial.
VERSION_CHOICE = "portrait:model_server:version_choice_count"
LOADED_VERSION = "portrait:model_server:loaded_version"

_MICROSECONDS = tuple(10 * 1.8**power for power in range(32))  # 10 us to 15 minutes, as TensorFlow Serving's
_ROWS = tuple(float(2**power) for power in range(12))
_LIMITS = {REQUEST_LATENCY: _MICROSECONDS, RUNTIME_LATENCY: _MICROSECONDS, QUEUING_LATENCY: _MICROSECONDS, BATCH_SIZE: _ROWS}
Labels = tuple[tuple[str, str], ...]
Gauge = tuple[str, dict[str, str], float]


class Metrics:
    """What happened in this process. Every method may be called from any thread; `gauges` are asked when the text is written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[tuple[str, Labels], int] = {}
        self._histograms: dict[tuple[str, Labels], list[float]] = {}  # counts by bucket, then the sum of all values
        self.gauges: list[Callable[[], Iterable[Gauge]]] = []

    def count(self, name: str, **labels: str) -> None:
        key = name, tuple(labels.items())
        with self._lock:
            self._counters[key] = self._counters.get(key, 0) + 1

    def observe(self, name: str, value: float, **labels: str) -> None:
        key, limits = (name, tuple(labels.items())), _LIMITS[name]
        with self._lock:
            cells = self._histograms.setdefault(key, [0.0] * (len(limits) + 2))
            cells[bisect_left(limits, value)] += 1
            cells[-1] += value

    def text(self) -> str:
        """Every metric, as Prometheus scrapes it."""
        gauges = [gauge for source in self.gauges for gauge in source()]
        with self._lock:
            counters = sorted(self._counters.items())
            histograms = sorted((key, list(cells)) for key, cells in self._histograms.items())
        lines: dict[str, list[str]] = {}  # by the line that tells the type: all of one name must stand together
        for (name, labels), count in counters:
            lines.setdefault(f"# TYPE {name} counter", []).append(f"{name}{_shown(labels)} {count}")
        for (name, labels), cells in histograms:
            lines.setdefault(f"# TYPE {name} histogram", []).extend(_histogram(name, labels, cells))
        for name, gauge_labels, value in gauges:
            lines.setdefault(f"# TYPE {name} gauge", []).append(f"{name}{_shown(tuple(gauge_labels.items()))} {value:g}")
        return "".join(f"{line}\n" for head, body in lines.items() for line in (head, *body))


def _histogram(name: str, labels: Labels, cells: list[float]) -> Iterator[str]:
    *counts, total = cells
    seen = 0.0
    for limit, count in zip([*(f"{limit:g}" for limit in _LIMITS[name]), "+Inf"], counts, strict=True):
        seen += count
        yield f"{name}_bucket{_shown((*labels, ('le', limit)))} {seen:.0f}"
    yield f"{name}_sum{_shown(labels)} {total:.6g}"
    yield f"{name}_count{_shown(labels)} {seen:.0f}"


def _shown(labels: Labels) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for _, value in labels)
    return "{" + ",".join(f'{name}="{value}"' for (name, _), value in zip(labels, escaped, strict=True)) + "}"
