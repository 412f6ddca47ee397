"""Minutes at half of the knee: whether memory grows, and whether anything fails."""

import time
from typing import Any

import numpy as np
import psutil

from benchmarks.serving_house import House
from benchmarks.serving_load import Beside, Load
from benchmarks.serving_rates import paths, row, source, warm

SAMPLE_SECONDS, WARM_SHARE = 2.0, 0.2
#: Flat means that what least squares finds after the warm-up is less than this share of the memory in ten minutes.
FLAT, TEN_MINUTES = 0.02, 600


def soak(house: House, minutes: float, rate: float) -> dict[str, Any]:
    """Slope of the resident memory of the API and of the model server in MB an hour, after a fifth of the time, and what failed."""
    warm(house)
    seconds = 60 * minutes
    load = Beside(house.settings.api_port, house.requests(paths("mix")), rate, source)
    samples = sample({name: house.process(name) for name in ("api", "model-server")}, seconds)
    whole = load.finish()
    result: dict[str, Any] = {name: slope(*rows) for name, rows in samples.items()}
    result |= {"minutes": minutes, "rate": rate, "row": row(whole), "first": row(part(whole, 0.0, 0.2)), "last": row(part(whole, 0.8, 1.0))}
    print(result, flush=True)
    return result


def part(load: Load, begin: float, end: float) -> Load:
    return load.between(load.began + begin * load.seconds, load.began + end * load.seconds)


def sample(processes: dict[str, psutil.Process], seconds: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Times in seconds and resident memory in MB of each process."""
    begun, taken = time.monotonic(), []
    while (now := time.monotonic() - begun) < seconds:
        taken.append([now, *(process.memory_info().rss / 2**20 for process in processes.values())])
        time.sleep(SAMPLE_SECONDS)
    columns = np.array(taken).T
    return {name: (columns[0], column) for name, column in zip(processes, columns[1:], strict=True)}


def slope(times: np.ndarray, memory: np.ndarray) -> dict[str, Any]:
    """MB an hour by least squares after the warm-up, and the verdict."""
    later = times >= WARM_SHARE * times[-1]
    per_second, mean = float(np.polyfit(times[later], memory[later], 1)[0]), float(memory[later].mean())
    growth = TEN_MINUTES * per_second / mean
    return {"MB an hour": 3600 * per_second, "MB": mean, "growth": growth, "is_flat": growth < FLAT}
