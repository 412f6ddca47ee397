"""A simulated shop with known truth, at any size: the data that anybody has.

Publisher: this project. Licence: Apache-2.0. Offered: here. Reads nothing, gives every landing table that a shop can deliver. Customers
are simulated in blocks, each by itself (`shop_block`), and streamed to Parquet: memory holds one block a process, and a day has one file a
block. The same seed and options give the same bytes, whatever the number of processes.

A row becomes known (`ds`) on the day it is received; what was there before the window becomes known on its first day; rows that would be
received after the window are not delivered. What was drawn behind the records goes to `truth/`, beside the landing folder: tests,
benchmarks and `training/oracle.py` read it, nothing else may.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sources.errors import UnknownOption
from sources.files import merge_counts, put_in_place, staging
from sources.shop_block import Counts, World, make_world, write_block, write_catalogue
from sources.shop_calendar import DAY, day_number
from sources.shop_catalogue import PATHS

SIZES = {
    "small": {"users": 5_000, "items": 2_000, "events_per_user": 80},
    "medium": {"users": 50_000, "items": 5_000, "events_per_user": 100},
    "large": {"users": 500_000, "items": 20_000, "events_per_user": 100},
}
BLOCK_USERS = 25_000  # customers of a block at most: bounds memory
MAX_DIRT = 0.03  # below the share of bad rows at which the landing gate refuses a table
_LOWEST = {"users": 10, "items": 2 * len(PATHS), "events_per_user": 1, "days": 60, "workers": 1}


@dataclass(frozen=True)
class ShopOptions:
    """Size and window of the shop; `end` is the window's last day, `dirt` the share of bad rows, `workers` the processes that simulate."""

    users: int
    items: int
    events_per_user: int
    days: int = 90
    end: date = date(2024, 3, 31)
    dirt: float = 0.002
    workers: int = 2

    @classmethod
    def of(cls, options: dict[str, Any]) -> "ShopOptions":
        """From texts or numbers; raises `UnknownOption` for a value outside its range."""
        given = dict(options)
        size = str(given.pop("size", "small"))
        if size not in SIZES:
            raise UnknownOption(f"Option size of source shop is one of {sorted(SIZES)}. Received '{size}'.")
        return cls(**(SIZES[size] | {name: _parsed(name, value) for name, value in given.items()}))


def _parsed(name: str, value: Any) -> Any:
    rules = {"end": "a day, YYYY-MM-DD", "dirt": "a number"}
    parsers: dict[str, Callable[[str], Any]] = {"end": date.fromisoformat, "dirt": float}
    try:
        parsed = parsers.get(name, int)(str(value))
    except ValueError as problem:
        raise UnknownOption(f"Option {name} of source shop is {rules.get(name, 'a whole number')}. Received '{value}'.") from problem
    if name in _LOWEST and parsed < _LOWEST[name]:
        raise UnknownOption(f"Option {name} of source shop is at least {_LOWEST[name]}. Received {value}.")
    if name == "dirt" and not 0 <= parsed <= MAX_DIRT:
        raise UnknownOption(f"Option dirt of source shop is a share of rows, 0 to {MAX_DIRT}. Received {value}.")
    return parsed


def check_options(options: dict[str, Any]) -> None:
    """Raises `UnknownOption` for a value outside its range."""
    ShopOptions.of(options)


def stream(seed: int, options: dict[str, Any], landing_dir: Path, whole: Collection[str]) -> Counts:
    """Writes the shop of that seed and size, and its truth beside the landing folder; yields (rows, first day, last day) by table."""
    chosen = ShopOptions.of(options)
    world = world_of(seed, chosen)
    truth_dir = landing_dir.parent / "truth"
    with staging(landing_dir) as staged:
        parts = [write_catalogue(world, staged), *_simulated(world, staged, chosen.workers)]
        _write_truth(staged / "truth", truth_dir, [dirt for _, dirt in parts])
        made = {"seed": seed, **asdict(replace(chosen, workers=1))}  # what it takes to make the same shop again
        (truth_dir / "shop.json").write_text(json.dumps(made, indent=2, default=date.isoformat) + "\n")
        put_in_place(staged / "landing", landing_dir, whole)
    return merge_counts(counts for counts, _ in parts)


def world_of(seed: int, chosen: ShopOptions) -> World:
    """What all customers of that shop share."""
    end_day = day_number(chosen.end) + 1
    return make_world(
        seed,
        (end_day - chosen.days) * DAY,
        end_day * DAY,
        chosen.users,
        -(-chosen.users // BLOCK_USERS),
        chosen.items,
        chosen.events_per_user,
        chosen.dirt,
    )


def _simulated(world: World, staged: Path, workers: int) -> Iterator[tuple[Counts, dict[str, dict[str, int]]]]:
    """`write_block` of every block, by `workers` processes where there is more than one block, and where this process may have children."""
    one = partial(write_block, world, staged)
    if min(workers, world.blocks) == 1 or current_process().daemon:
        yield from map(one, range(world.blocks))
        return
    with ProcessPoolExecutor(min(workers, world.blocks)) as pool:
        yield from pool.map(one, range(world.blocks))


def _write_truth(parts: Path, truth_dir: Path, dirt: Iterable[dict[str, dict[str, int]]]) -> None:
    """One file a table of the truth, blocks in order, and `dirt.json`: `{table: {kind: rows}}`; what was there before goes."""
    shutil.rmtree(truth_dir, ignore_errors=True)
    truth_dir.mkdir(parents=True)
    for folder in sorted(parts.iterdir()):
        files = sorted(folder.iterdir(), key=lambda file: int(file.stem.removeprefix("part-")))
        with pq.ParquetWriter(truth_dir / f"{folder.name}.parquet", pq.read_schema(files[0]), compression="zstd") as writer:
            for file in files:
                writer.write_table(pq.read_table(file))
    kinds: dict[str, Counter[str]] = {}
    for part in dirt:
        for table, counts in part.items():
            kinds.setdefault(table, Counter()).update(counts)
    (truth_dir / "dirt.json").write_text(json.dumps(kinds, indent=2, sort_keys=True) + "\n")
