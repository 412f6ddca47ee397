"""The batching and monitoring files: TensorFlow Serving's own text protos, read and checked."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving.model_server import parameters_pb2
from serving.model_server.errors import invalid

_messages: Any = parameters_pb2
METRICS_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class Batching:
    """How requests are merged. Every size counts rows, one for each user asked about, as TensorFlow Serving's do."""

    max_batch_size: int
    max_enqueued_batches: int
    num_batch_threads: int
    allowed_batch_sizes: tuple[int, ...]
    pad_variable_length_inputs: bool

    @property
    def max_enqueued_rows(self) -> int:
        return self.max_enqueued_batches * self.max_batch_size


def read_batching(path: Path | None) -> Batching:
    """The file's parameters, TensorFlow Serving's defaults for what it leaves out. ServingError(INVALID_ARGUMENT) says what is wrong.

    `batch_timeout_micros` and `thread_pool_name` are taken and change nothing: a batch here never waits while a place is free.
    """
    file = _parse(path, _messages.BatchingParameters()) if path else _messages.BatchingParameters()

    def value(name: str, default: int) -> int:
        given = getattr(file, name).value if file.HasField(name) else default
        if given < 1:
            raise invalid(f"{name} must be at least 1; was {given}")
        return int(given)

    most = value("max_batch_size", 1000)
    allowed = tuple(file.allowed_batch_sizes)
    if allowed and (list(allowed) != sorted(set(allowed)) or allowed[0] < 1):
        raise invalid(f"allowed_batch_sizes entries must be positive and in increasing order; were {list(allowed)}")
    if allowed and allowed[-1] != most:
        raise invalid(f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {allowed[-1]}; expected {most}")
    threads = value("num_batch_threads", os.cpu_count() or 1)
    return Batching(most, value("max_enqueued_batches", 10), threads, allowed, file.pad_variable_length_inputs)


def read_metrics_path(path: Path | None) -> str | None:
    """Where on the REST port the metrics are; None where the file (or no file) does not enable them."""
    config = (_parse(path, _messages.MonitoringConfig()) if path else _messages.MonitoringConfig()).prometheus_config
    return (config.path or METRICS_PATH) if config.enable else None


def _parse(path: Path, message: Any) -> Any:
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise invalid(f"Invalid protobuf file: '{path}': {error}") from None
