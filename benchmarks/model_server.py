"""What the model server costs and stands: `python -m benchmarks.model_server [SAVED_MODEL]`; writes its part of `docs/benchmarks.md`.

The recommender (without an argument the house's newest) behind three servers in turn on this machine, asked over loopback by a client
process of its own: ours with batching across requests, ours without, and a plain Python gRPC server that calls the SavedModel's signature
(`model_server_plain.py`). Then a swap of versions under load, and twice the load that the server can take.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil

from benchmarks.page import circumstances, write_part
from serving import golden
from serving.portrait_client import ModelClient, ModelError, calls
from serving.publish import published_versions, write_server_config
from settings import ROOT, get_settings
from training.signatures import RECOMMENDER

CLIENTS, BATCHES, SECONDS, OVERLOAD_SECONDS, K = (1, 4, 16), (1, 4, 16), 4.0, 4.0, 10
PREDICT, WIRE = "/tensorflow.serving.PredictionService/Predict", "/bench.Wire/Answer"
KINDS = {"string": object, "int64": np.int64, "int32": np.int32}


def requests_of(saved_model: Path) -> list[dict[str, np.ndarray]]:
    """One request for each user of the golden request, with that user's own number of events."""
    recorded = golden.read(saved_model).inputs
    arrays = {tensor.name: np.array(recorded[tensor.name], KINDS[tensor.dtype]) for tensor in RECOMMENDER.inputs}
    found = []
    for user in range(len(arrays["k"])):
        one = {name: array[user : user + 1] for name, array in arrays.items()} | {"k": np.array([K], np.int32)}
        length = max(1, int((one["event_item_ids"] != "").sum()))
        found.append({name: array[:, :length] if name.startswith("event_") else array for name, array in one.items()})
    return found


def serialised(requests: list[dict[str, np.ndarray]]) -> list[bytes]:
    return [calls.predict_request("recommender", inputs, {}, None, None, None, calls.SIGNATURE).SerializeToString() for inputs in requests]


def closed_loop(target: str, requests: list[bytes], clients: int, seconds: float, path: str = PREDICT) -> dict[str, Any]:
    """`clients` threads that each ask again as soon as they are answered: rate, milliseconds, failures."""
    times: list[float] = []
    failures: Counter[str] = Counter()
    until = time.monotonic() + seconds

    def client(number: int) -> None:
        with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = channel.unary_unary(path)
            for turn in count(number):
                started = time.perf_counter()
                if time.monotonic() > until:
                    return
                try:
                    call(requests[turn % len(requests)], timeout=20)
                    times.append(time.perf_counter() - started)
                except grpc.RpcError as error:
                    failures[error.code().name] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"rate": len(times) / seconds, "p50": 1000 * statistics.median(times), "p99": 1000 * float(np.quantile(times, 0.99)), **failures}


def with_cpu(process: psutil.Process, target: str, requests: list[bytes], clients: int) -> dict[str, Any]:
    """`closed_loop`, and the milliseconds of CPU that the server spent on each request, which other work on the machine hardly changes."""
    before = process.cpu_times()
    found = closed_loop(target, requests, clients, SECONDS)
    after = process.cpu_times()
    return found | {"cpu": 1000 * (after.user + after.system - before.user - before.system) / (found["rate"] * SECONDS)}


def open_loop(target: str, requests: list[bytes], rate: float, seconds: float) -> dict[str, Any]:
    """`rate` requests a second whatever the server does: milliseconds of those answered, of those refused, and how many of each."""
    answered: list[float] = []
    refused: list[float] = []
    codes: Counter[str] = Counter()
    done = threading.Semaphore(0)

    def finished(future: Any, started: float) -> None:
        code = future.code()
        (answered if code is grpc.StatusCode.OK else refused).append(1000 * (time.perf_counter() - started))
        codes[code.name] += 1
        done.release()

    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(PREDICT)
        begin, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - begin) < seconds:
            while sent < rate * passed:
                started = time.perf_counter()
                call.future(requests[sent % len(requests)], timeout=20).add_done_callback(lambda f, started=started: finished(f, started))
                sent += 1
            time.sleep(0.001)
        offered = sent / (time.perf_counter() - begin)
        for _ in range(sent):
            done.acquire()
    quantiles = {"p50": float(np.quantile(answered, 0.5)), "p99": float(np.quantile(answered, 0.99))}
    return {**quantiles, "offered": offered, "refused p50": statistics.median(refused) if refused else 0.0, "codes": dict(codes)}


@contextmanager
def serving(arguments: list[str], port: int) -> Iterator[tuple[str, psutil.Process]]:
    """Address and process of a server, from when it answers until the end of the block."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(120)
        yield f"127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


BARE = """
import statistics, sys, time
from pathlib import Path
from serving.model_server import bare_tensorflow
bare_tensorflow.prepare()
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from serving.model_server.merging import merge, part
from serving.model_server.servable import Servable, read_inputs
model, name = Servable(Path(sys.argv[1]), inter_op_threads=-1), "serving_default"
asked = [read_inputs(PredictRequest.FromString(bytes.fromhex(line))) for line in sys.stdin]
parts = [part("recommender", name, model.signature(name), inputs, True) for inputs in asked]
for size in map(int, sys.argv[2:]):
    batches = [merge([parts[(first + n) % len(parts)] for n in range(size)]) for first in range(len(parts))]
    times = []
    for turn in range(1600 // size + 20):
        start = time.perf_counter()
        model.run(name, batches[turn % len(batches)])
        times.append(time.perf_counter() - start)
    print(1000 * statistics.median(times[10:]))
"""


def bare_ms(saved_model: Path, requests: list[bytes]) -> dict[int, float]:
    """Median of the model's call by batch size, with the arrays at hand, in a process that does nothing else."""
    command = [sys.executable, "-c", BARE, str(saved_model), *map(str, BATCHES)]
    lines = "\n".join(request.hex() for request in requests)
    done = subprocess.run(command, input=lines, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(zip(BATCHES, map(float, done.stdout.split()), strict=True))


def measure(saved_model: Path, folder: Path) -> dict[str, Any]:
    """Every figure of the report, by name."""
    requests = serialised(requests_of(saved_model))
    base = folder / "recommender"
    shutil.copytree(saved_model, base / "1")
    write_server_config(folder)
    result: dict[str, Any] = {"users": len(requests)}

    def ours(port: int, *more: str) -> list[str]:
        named = [f"--port={port}", "--model_name=recommender", f"--model_base_path={base}", "--file_system_poll_wait_seconds=0.2"]
        return ["serving.model_server", *named, *more]

    batching = ("--enable_batching", f"--batching_parameters_file={folder / 'batching.config'}")
    port = free_port()
    starts = {
        "ours, batched": ours(port, *batching),
        "ours, unbatched": ours(port),
        "plain Python gRPC": ["benchmarks.model_server_plain", str(base / "1"), str(port)],
    }
    for name, arguments in starts.items():
        with serving(arguments, port) as (target, process):
            closed_loop(target, requests, 4, 2)
            result[name] = {clients: with_cpu(process, target, requests, clients) for clients in CLIENTS}
            if name == "plain Python gRPC":
                result["wire"] = closed_loop(target, requests, 1, 3, WIRE)["p50"]
    result["bare"] = bare_ms(saved_model, requests)

    with serving(ours(port, *batching), port) as (target, _):
        closed_loop(target, requests, 4, 2)
        alone = result["alone again"] = closed_loop(target, requests, 1, 3)
        capacity = result["capacity"] = closed_loop(target, requests, 16, 3)["rate"]
        result["unloaded p99"] = alone["p99"]
        result["overload"] = open_loop(target, requests, 2 * capacity, OVERLOAD_SECONDS)
        result["swap"] = swap(target, requests, base)
    return result


def swap(target: str, requests: list[bytes], base: Path) -> dict[str, Any]:
    """Version 2 appears while four clients ask: what they saw."""
    found: dict[str, Any] = {}
    asking = threading.Thread(target=lambda: found.update(closed_loop(target, requests, 4, 12)))
    asking.start()
    time.sleep(2)
    shutil.copytree(base / "1", base / ".2.tmp")
    (base / ".2.tmp").rename(base / "2")
    with ModelClient(target) as client:
        while client.status("recommender").get(1) is None or client.status("recommender")[1].state != "END":
            if not asking.is_alive():
                raise ModelError("version 1 must be unloaded while clients ask, within ten seconds")
            time.sleep(0.05)
    asking.join()
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def report(result: dict[str, Any]) -> str:
    """The part of the page."""
    where = circumstances()
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        "## Model server: batching, overload, swap",
        "",
        f"`python -m benchmarks.model_server`, {where['date']}, {where['machine']}; load average at the end {load}: other work ran beside "
        f"it. The shop's recommender, {result['users']} users with histories of their own lengths, {K} items each; the clients share the "
        "cores with the server.",
        "",
        "| server | clients | requests/s | p50, ms | p99, ms | CPU of the server a request, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    names = ("ours, batched", "ours, unbatched", "plain Python gRPC")
    for name in names:
        lines += [f"| {name} | {n} | {r['rate']:.0f} | {r['p50']:.2f} | {r['p99']:.2f} | {r['cpu']:.2f} |" for n, r in result[name].items()]
    ours, unbatched, plain = (result[name][16]["rate"] for name in names)
    bare, wire, lone = result["bare"], result["wire"], result["ours, batched"][1]["p50"]
    cpu = [result[name][16]["cpu"] for name in names]
    overload, swapped = result["overload"], result["swap"]
    codes = ", ".join(f"{number} {name}" for name, number in sorted(overload["codes"].items()))
    failures = sum(number for name, number in swapped.items() if name not in ("rate", "p50", "p99"))
    per_row = ", ".join(f"{bare[size] / size:.2f} ms in a batch of {size}" for size in BATCHES)
    lines += [
        "",
        f"- 16 clients: batched {ours / plain:.1f} times the plain server's rate (goal 4), {ours / unbatched:.1f} times ours without; by "
        f"the CPU that a request takes of the server, which other work hardly changes, {cpu[2] / cpu[0]:.1f} and {cpu[1] / cpu[0]:.1f} "
        f"times. What a user costs in the model alone bounds it: {per_row}.",
        f"- One client: p50 {lone:.2f} ms, {lone / (bare[1] + wire):.2f} times the bare call ({bare[1]:.2f} ms) plus the wire "
        f"({wire:.2f} ms: the same bytes there and back, no work); goal 1.3.",
        f"- Overload: {overload['offered']:.0f} requests/s offered, {result['capacity']:.0f} being what 16 clients get: {codes}. "
        f"Answered ones p50 {overload['p50']:.1f} ms, p99 {overload['p99']:.1f} ms: {overload['p99'] / result['unloaded p99']:.1f} times "
        f"the p99 of a lone client ({result['unloaded p99']:.1f} ms; goal 3). A refusal takes {overload['refused p50']:.1f} ms at p50.",
        f"- Swap of versions under four clients: {failures} failed requests; p99 over the whole time {swapped['p99']:.1f} ms.",
    ]
    return "\n".join(lines)


def main() -> None:
    newest = max(published_versions("recommender"), default=1)
    saved_model = Path(sys.argv[1]) if len(sys.argv) > 1 else get_settings().models_dir / "recommender" / str(newest)
    with tempfile.TemporaryDirectory(prefix="portrait-model-server-") as folder:
        text = report(measure(saved_model, Path(folder)))
    write_part("model_server", text)
    print(text)


if __name__ == "__main__":
    main()
