"""The command line: TensorFlow Serving's flags by their own names, `--host` and `--verification_key_file`. An unknown flag is refused."""

import argparse
import os


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"must be true or false, received {text!r}")
    return text.lower() in ("true", "1")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The flags' values; exits with status 2 and one line where they make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.model_server",
        description="Serves SavedModels as TensorFlow Serving does.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to bind to (TensorFlow Serving has no such flag: it binds to all)")
    add("--port", type=int, default=8500, help="gRPC port")
    add("--rest_api_port", type=int, default=0, help="REST port; 0 is no REST")
    add("--model_config_file", help="text proto of ModelServerConfig")
    add("--model_config_file_poll_wait_seconds", type=float, default=0, help="read the file again this often; 0 is never")
    add("--model_name", default="default", help="name of the one model, without --model_config_file")
    add("--model_base_path", help="folder of the one model's versions, without --model_config_file")
    add("--file_system_poll_wait_seconds", type=float, default=1, help="look for new versions this often; 0 is only once")
    add("--allow_version_labels_for_unavailable_models", type=_boolean, default=False, nargs="?", const=True)
    add("--enable_model_warmup", type=_boolean, default=True, nargs="?", const=True, help="replay a version's recorded requests first")
    add("--enable_batching", type=_boolean, default=False, nargs="?", const=True, help="merge requests that wait into one run")
    add("--batching_parameters_file", help="text proto of BatchingParameters")
    add("--monitoring_config_file", help="text proto of MonitoringConfig: Prometheus metrics on the REST port")
    add("--verification_key_file", help="public key: serve only versions signed by its owner (TensorFlow Serving has no such flag)")
    add("--grpc_max_threads", type=int, default=4 * (os.cpu_count() or 1), help="requests that run at once")
    add("--tensorflow_intra_op_parallelism", type=int, default=1, help="threads of one operation; 0 is one per core")
    # A request's operations run one after the other in the request's own thread: for small models that beats handing them to a pool.
    add("--tensorflow_inter_op_parallelism", type=int, default=-1, help="operations of a session that run at once; -1 uses no pool")
    flags = parser.parse_args(arguments)
    if bool(flags.model_config_file) == bool(flags.model_base_path):
        parser.error("give either --model_config_file or --model_base_path (with --model_name)")
    if flags.grpc_max_threads < 1:
        parser.error(f"--grpc_max_threads must be at least 1, received {flags.grpc_max_threads}")
    if flags.batching_parameters_file and not flags.enable_batching:
        parser.error("--batching_parameters_file needs --enable_batching")
    if flags.monitoring_config_file and not flags.rest_api_port:
        parser.error("--monitoring_config_file needs --rest_api_port, where the metrics are shown")
    return flags
