"""What the three evaluations share: a source's tables by way of a landing folder, and the JSON object that they return.

`metrics`, `baselines` (the same keys per baseline), `seeds`, `counts`, `targets_sha256` (see `splits.targets_sha256`), `seconds`,
`peak_memory_mb` (of this process, from its start), `versions`. A metric is `{"mean", "low", "high"}`; what cannot be computed is null.
"""

import math
import resource
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from training.catalogue import Catalogue
    from training.histories import Histories
    from training.metrics import Interval

PACKAGES = ("numpy", "keras", "tensorflow", "jax", "scikit-learn", "scikit-uplift", "portrait")


class CannotEvaluate(ValueError):
    """The source does not carry what the evaluation asks for; the message says what is there."""

    exit_code = 2  # wrong use


def landing_tables(
    source: str, data: Path | str | None, seed: int, names: tuple[str, ...], shop: Mapping[str, Any] | None = None
) -> "dict[str, pa.Table]":
    """The named tables that the source carries, by way of a landing folder that is gone afterwards; `shop` are options of the simulated
    shop."""
    from sources.files import read_table
    from sources.registry import deliver

    with tempfile.TemporaryDirectory(prefix="portrait-evaluate-") as folder:
        landing = Path(folder) / "landing"
        clean = {"dirt": 0, **(shop or {})} if source == "shop" else {}  # nothing here stands between the files and the models
        delivery = deliver(source, data, landing, seed=seed, options=clean)
        return {name: read_table(landing, name) for name in names if name in delivery.tables}


def required(tables: "dict[str, pa.Table]", name: str, source: str) -> "pa.Table":
    """The table `name`; raises CannotEvaluate where the source gave none."""
    if name not in tables:
        raise CannotEvaluate(f"This evaluation needs the table `{name}`. Source {source} gave {sorted(tables) or 'none of what it reads'}.")
    return tables[name]


def histories_and_catalogue(tables: "dict[str, pa.Table]") -> "tuple[Histories, Catalogue]":
    """Every known user's events in order, and all items that were listed or seen."""
    from training.catalogue import catalogue_from_items
    from training.histories import histories_from_events

    histories = histories_from_events(tables["events"])
    return histories, catalogue_from_items(tables.get("items"), tables.get("item_attributes"), histories.all_item_ids)


def encoder_config(**chosen: Any) -> Any:
    """The encoder's default configuration with what was chosen; None is the default."""
    from training.encoder_config import EncoderConfig

    return EncoderConfig(**{name: value for name, value in chosen.items() if value is not None})


def event_counts(histories: "Histories", catalogue: "Catalogue") -> Any:
    """Events per user and item, CSR `(users, items)`."""
    from training.baselines import interactions

    return interactions([catalogue.index_of(items) for items in histories.item_ids], len(catalogue))


def evaluation(started: float, **parts: Any) -> dict[str, Any]:
    """The JSON object of the measured `parts`; `started` is the monotonic time at which the evaluation began."""
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        **finite(parts),
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_mb": round(peak, 1),
        "versions": versions,
    }


def over_splits(rows: list[dict[str, float]], test_share: float) -> "dict[str, Interval]":
    """Each metric over splits that test `test_share` of the rows: see `metrics.over_splits`."""
    from training.metrics import over_splits

    return {key: over_splits([row[key] for row in rows], test_share) for key in rows[0]}


def finite(value: Any) -> Any:
    """JSON knows no NaN: what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
