"""`python -m serving.model_server --port=8500 --rest_api_port=8501 --model_config_file=models.config`"""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from serving.model_server import bare_tensorflow
from serving.model_server import flags as command_line
from serving.model_server.errors import ServingError

GRACE_SECONDS = 10
MAX_WAITING = 128  # requests that wait for a thread, without batching; with it they wait in its queue
log = logging.getLogger("model_server")


def main() -> int:
    """Serve until SIGTERM or SIGINT; then finish the requests that run. Exit status 1 where the config or a port is refused."""
    flags = command_line.parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    bare_tensorflow.prepare()
    from serving.manifest import ManifestRefused
    from serving.model_server import config, grpc_api, parameters, rest_api  # TensorFlow, after the flags and signals

    def read_config() -> Any:
        return (
            config.read(Path(flags.model_config_file))
            if flags.model_config_file
            else config.single(flags.model_name, flags.model_base_path)
        )

    rest = None
    try:
        core, queue = _core(flags)
        catalogue = core.catalogue
        server, health = grpc_api.build_server(
            core, f"{flags.host}:{flags.port}", flags.grpc_max_threads + queue, 0 if queue else MAX_WAITING
        )
        if flags.rest_api_port:
            metrics_path = parameters.read_metrics_path(_path(flags.monitoring_config_file))
            rest = rest_api.build_server(core, flags.host, flags.rest_api_port, metrics_path)
        catalogue.on_change = lambda: grpc_api.set_ready(health, catalogue.ready())
        _configure_first(catalogue, read_config())
    except (ServingError, ManifestRefused, RuntimeError, OSError) as error:
        log.error("Failed to start server. %s", error)
        return 1

    server.start()
    if rest:
        threading.Thread(target=rest.serve_forever, name="rest", daemon=True).start()
    log.info("serving gRPC on %s:%d%s", flags.host, flags.port, f" and REST on port {flags.rest_api_port}" if rest else "")
    _repeat(flags.file_system_poll_wait_seconds, catalogue.refresh, stopping)
    if flags.model_config_file:
        _repeat(flags.model_config_file_poll_wait_seconds, lambda: catalogue.configure(read_config()), stopping)

    stopping.wait()
    log.info("stopping: requests that run may finish within %d s", GRACE_SECONDS)
    health.enter_graceful_shutdown()
    ended = server.stop(GRACE_SECONDS)
    core.drain(GRACE_SECONDS)
    if rest:
        rest.shutdown()
    ended.wait()
    return 0


def _core(flags: Any) -> tuple[Any, int]:
    """The server's state, and how many requests may run and wait in its batching queue."""
    from serving.manifest import read_public_key
    from serving.model_server import admission, parameters
    from serving.model_server.batching import Batcher
    from serving.model_server.catalogue import Catalogue
    from serving.model_server.core import Core
    from serving.model_server.metrics import Metrics
    from serving.model_server.servable import Servable

    threads = {"intra_op_threads": flags.tensorflow_intra_op_parallelism, "inter_op_threads": flags.tensorflow_inter_op_parallelism}

    def load(path: Path) -> Servable:
        return Servable(path, **threads, warms_up=flags.enable_model_warmup)

    key = _path(flags.verification_key_file)
    loader = admission.guarded(load, read_public_key(key)) if key else lambda _model, _version, path: load(path)
    catalogue = Catalogue(loader, labels_before_versions=flags.allow_version_labels_for_unavailable_models)
    metrics = Metrics()
    if not flags.enable_batching:
        return Core(catalogue, metrics), 0
    batching = parameters.read_batching(_path(flags.batching_parameters_file))
    return Core(catalogue, metrics, Batcher(batching, metrics)), batching.num_batch_threads + batching.max_enqueued_rows


def _path(flag: str | None) -> Path | None:
    return Path(flag) if flag else None


def _configure_first(catalogue: Any, wanted: Any) -> None:
    try:
        catalogue.configure(wanted)
    except ServingError as error:
        if error.code is not grpc.StatusCode.UNKNOWN:  # a model that cannot be served yet does not stop the others
            raise
        log.warning("%s", error)


def _repeat(seconds: float, action: Callable[[], None], stopping: threading.Event) -> None:
    """Run `action` every `seconds` (0: never) in a thread, and log what it raises: one bad poll must not be the last."""

    def poll() -> None:
        while not stopping.wait(seconds):
            try:
                action()
            except Exception as error:
                log.error("%s", error)

    if seconds > 0:
        threading.Thread(target=poll, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
