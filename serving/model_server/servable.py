"""One loaded version of a model: a TensorFlow session over its SavedModel, as TensorFlow Serving runs it.

A session and prepared callables answer a small model sooner than the signatures of `tf.saved_model.load` do.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, fingerprint_pb2, meta_graph_pb2
from tensorflow.python.saved_model.pywrap_saved_model import fingerprinting  # no public name computes a fingerprint
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.model_server.errors import BY_NUMBER, ServingError, invalid
from serving.model_server.signature import Signature
from serving.portrait_client import wire
from training.signatures import SIGNATURE, WARMUP_FILE

MAX_WARMUP_RECORDS = 1000


class Servable:
    """A version that answers. `release` frees it when the last request that uses it has ended."""

    def __init__(self, path: Path, *, intra_op_threads: int = 1, inter_op_threads: int = 1, warms_up: bool = True) -> None:
        """Load `path` and, where it `warms_up`, replay its warm-up requests. ServingError says why it cannot be served."""
        _check_fingerprint(path)
        threads = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=intra_op_threads, inter_op_parallelism_threads=inter_op_threads)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=threads)
        self._callables: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._lock = threading.Lock()
        self._users = 1  # whoever loaded it
        try:
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(path))
            self.signature_defs: dict[str, meta_graph_pb2.SignatureDef] = dict(loaded.signature_def)
            self._signatures = {name: Signature(proto) for name, proto in self.signature_defs.items()}
            if warms_up:
                self._warm_up(path / WARMUP_FILE)
        except Exception as error:
            self._callables.clear()
            self._session.close()
            raise _as_serving_error(error) from error

    def acquire(self) -> None:
        with self._lock:
            self._users += 1

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            unused = self._users == 0
        if unused:
            self._callables.clear()
            self._session.close()

    def signature(self, name: str) -> Signature:
        if name not in self._signatures:
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return self._signatures[name]

    def run(self, signature_name: str, inputs: dict[str, np.ndarray], output_filter: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Run one signature: `inputs` by name (strings as object arrays of bytes), the outputs in `output_filter` (empty: all)."""
        signature = self.signature(signature_name)
        signature.check_inputs(inputs)
        return self.call(signature_name, inputs, signature.wanted_outputs(output_filter))

    def call(self, signature_name: str, inputs: dict[str, np.ndarray], wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
        """`run` for inputs and outputs that were checked before."""
        names = self._signatures[signature_name].inputs
        call = self._callables.get((signature_name, wanted)) or self._prepare(signature_name, wanted)
        try:
            return dict(zip(wanted, call(*[inputs[name] for name in names]), strict=True))
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise _as_serving_error(error) from None

    def _prepare(self, signature_name: str, wanted: tuple[str, ...]) -> Any:
        signature = self._signatures[signature_name]
        feed, fetch = [tensor.feed for tensor in signature.inputs.values()], [signature.outputs[name] for name in wanted]
        # The public `make_callable` goes through `Session.run` where there are feeds, at twice the time.
        call = self._session._make_callable_from_options(config_pb2.CallableOptions(feed=feed, fetch=fetch))
        return self._callables.setdefault((signature_name, wanted), call)

    def _warm_up(self, records: Path) -> None:
        if not records.is_file():
            return
        for number, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(records))):
            if number >= MAX_WARMUP_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {records}")
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") != "predict_log":
                raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {log.WhichOneof('log_type')}")
            request = log.predict_log.request
            self.run(request.model_spec.signature_name or SIGNATURE, read_inputs(request), request.output_filter)


def read_inputs(request: predict_pb2.PredictRequest) -> dict[str, np.ndarray]:
    """The arrays in a PredictRequest by name. ServingError(INVALID_ARGUMENT) names the one that cannot be read."""
    inputs = {}
    for name, tensor in request.inputs.items():
        try:
            inputs[name] = wire.read_array(tensor)
        except (ValueError, OverflowError) as error:
            raise invalid(f"tensor parsing error: {name}: {error}") from None
    return inputs


def _check_fingerprint(path: Path) -> None:
    """A saved_model.pb that is not the one its export fingerprinted has been damaged, though it may still parse."""
    written = path / "fingerprint.pb"
    if not (path / "saved_model.pb").is_file() or not written.is_file():
        return
    try:
        found = fingerprint_pb2.FingerprintDef.FromString(fingerprinting.CreateFingerprintDef(str(path)))
        expected = fingerprint_pb2.FingerprintDef.FromString(written.read_bytes())
    except Exception as error:  # of several classes, by what is damaged
        raise ServingError(grpc.StatusCode.DATA_LOSS, f"Could not read the fingerprint of {path}: {error}") from None
    if found.saved_model_checksum != expected.saved_model_checksum:
        raise ServingError(grpc.StatusCode.DATA_LOSS, f"{path / 'saved_model.pb'} does not match the checksum in its fingerprint.pb")


def _as_serving_error(error: Exception) -> ServingError:
    """TensorFlow's own code and message; a missing file is NOT_FOUND; what a damaged file makes Python raise is INTERNAL."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return ServingError(BY_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN), error.message)
    if isinstance(error, OSError):
        return ServingError(grpc.StatusCode.NOT_FOUND, f"Could not load SavedModel: {error}")
    return ServingError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
