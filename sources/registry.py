"""Every source by name, and `deliver`: a source's data -> landing files. Light to import: adapters are imported when they are asked for.

An adapter is a module with `read(data, seed, options) -> dict[str, pyarrow.Table]`: the landing tables it found, each with a `ds`
column (date). What is too large for memory is streamed instead: `stream(seed, options, landing_dir, whole)` writes the files itself.

A redelivery replaces the days that it covers: what an adapter gives is all there is from the delivery's first day to its last, in every
table of its source. Where that is not so, `whole_tables(data)` names the tables of which it is.
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sources.errors import DataNotFound, UnknownOption, UnknownSource
from sources.landing import LANDING

DELIVERY_FILE = "_delivery.json"
OWN_TABLES = ("decisions", "portraits")  # written by Portrait's serving and scoring

#: What Portrait makes of a shop's tables, and the tables it takes.
USES: dict[str, tuple[str, ...]] = {
    "recommendation": ("events",),
    "traits": ("events", "user_traits"),
    "propensities": ("events",),
    "uplift": ("campaign_exposures",),
    "credit": ("credit_applications",),
    "fraud": ("orders", "chargebacks"),
    "text": ("items",),
}


@dataclass(frozen=True)
class Source:
    """One source: what it can give, from whom, under which licence; `options` names what `deliver(options=...)` takes.

    `carries` names what its tables are good for, of `USES`: an adapter may have a table and still not carry a use, as a campaign without a
    control arm carries no uplift.
    """

    name: str
    tables: tuple[str, ...]
    meaning: str
    publisher: str
    licence: str
    options: dict[str, str] = field(default_factory=dict)
    needs_data: bool = True
    carries: tuple[str, ...] = ()


def is_simulated(landing_dir: Path) -> bool:
    """Whether the newest delivery is the simulated shop's: its people, orders and frauds are made up."""
    try:
        return Delivery.read(landing_dir).source == "shop"
    except DataNotFound:
        return False


@dataclass(frozen=True)
class TableDelivery:
    """What one table got: rows, and the first and last day (both included)."""

    rows: int
    first_ds: date
    last_ds: date


@dataclass(frozen=True)
class Delivery:
    """What a source delivered, in the window `[start, end)`; `missing` says of every other landing table why it is not there."""

    source: str
    tables: dict[str, TableDelivery]
    start: date
    end: date
    missing: dict[str, str]

    def write(self, landing_dir: Path) -> None:
        (landing_dir / DELIVERY_FILE).write_text(json.dumps(asdict(self), indent=2, default=date.isoformat) + "\n")

    @classmethod
    def read(cls, landing_dir: Path) -> "Delivery":
        """The newest delivery into `landing_dir`; raises `DataNotFound` where there is none."""
        path = landing_dir / DELIVERY_FILE
        if not path.is_file():
            raise DataNotFound(
                f"A landing folder has a {DELIVERY_FILE} after its first delivery. {landing_dir} has none. Run `portrait ingest` first."
            )
        raw = json.loads(path.read_text())
        tables = {
            name: TableDelivery(table["rows"], date.fromisoformat(table["first_ds"]), date.fromisoformat(table["last_ds"]))
            for name, table in raw["tables"].items()
        }
        return cls(raw["source"], tables, date.fromisoformat(raw["start"]), date.fromisoformat(raw["end"]), raw["missing"])


_ALL = (
    Source(
        "shop",
        tuple(name for name in LANDING if name not in OWN_TABLES),
        "a simulated shop with known truth, at any size",
        "Portrait",
        "Apache-2.0",
        {
            "size": "small, medium or large: 0.4, 5 or 50 million events (small)",
            "users": "customers (by size: 5000, 50000, 500000)",
            "items": "items of the catalogue (by size: 2000, 5000, 20000)",
            "events_per_user": "mean events of a customer (by size: 80, 100, 100)",
            "dirt": "share of bad rows, each kind counted in the truth; 0 is a clean shop (0.002)",
            "workers": "processes that simulate, where there is more than one block of 25000 customers (2)",
            "days": "length of the window in days, at least 60 (90)",
            "end": "last day of the window, YYYY-MM-DD (2024-03-31)",
        },
        needs_data=False,
        carries=tuple(USES),
    ),
    Source(
        "online_retail",
        ("items", "events"),
        "invoice lines of a UK online gift shop, December 2010 to December 2011",
        "D. Chen et al., UCI Machine Learning Repository, data set Online Retail",
        "CC BY 4.0",
        carries=("recommendation", "propensities", "text"),
    ),
    Source(
        "movielens",
        ("users", "user_traits", "items", "item_attributes", "events"),
        "film ratings with demographics: a folder ml-100k or ml-1m",
        "GroupLens, University of Minnesota",
        "research use, no redistribution",
        carries=("recommendation", "traits", "text"),
    ),
    Source(
        "amazon_sequences",
        ("items", "item_attributes", "events"),
        "ordered purchases per user and item attributes, as S3-Rec and its followers use them",
        "J. McAuley, UCSD; 5-core preparation of S3-Rec",
        "research use",
        carries=("recommendation", "propensities", "text"),
    ),
    Source(
        "hillstrom",
        ("campaign_exposures",),
        "an e-mail experiment with three random arms: 64,000 customers, visits, conversions and spend",
        "K. Hillstrom, MineThatData E-Mail Analytics and Data Mining Challenge",
        "none stated, a public challenge",
        carries=("uplift",),
    ),
    Source(
        "credit_default",
        ("credit_applications",),
        "30,000 credit card clients in Taiwan, 2005, and who defaulted",
        "I.-C. Yeh, UCI Machine Learning Repository, data set Default of Credit Card Clients",
        "CC BY 4.0",
        carries=("credit",),
    ),
    Source(
        "complete_journey",
        ("users", "user_traits", "items", "item_attributes", "events", "campaign_exposures"),
        "a year of groceries of 2,406 households, demographics, campaigns that were not randomised",
        "dunnhumby, source files The Complete Journey",
        "dunnhumby's terms; the R package completejourney declares CC0",
        carries=("recommendation", "traits", "propensities", "text"),
    ),
    Source(
        "landing",
        tuple(LANDING),
        "a folder already in landing form, Parquet or CSV",
        "the shop itself",
        "the shop's own",
        carries=tuple(USES),
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
_OTHER_MODULES = {"landing": "landing_folder"}  # any other adapter's module has the source's name


def deliver(source: str, data: Path | str | None, landing_dir: Path, *, seed: int = 7, options: dict[str, Any] | None = None) -> Delivery:
    """Write what `source` finds in `data` to `landing_dir/<table>/ds=YYYY-MM-DD/part-0.parquet`, and say what that was.

    What an earlier delivery left of the days that this one covers is replaced; other days and tables stay, and live events and released
    rows always do. The same inputs give the same bytes.
    Raises a `SourceError` before anything is written.
    """
    if source not in SOURCES:
        raise UnknownSource(
            f"A source must be one of {sorted(SOURCES)}. Received '{source}'. Files already in landing form go in by `landing`."
        )
    chosen = SOURCES[source]
    check_options(source, options or {})
    if chosen.needs_data and data is None:
        raise DataNotFound(f"Source {source} reads files: {chosen.meaning}. No folder was given. Pass the folder (DATA=... or --data).")
    path = Path(data) if chosen.needs_data and data is not None else None
    if path is not None and not path.exists():
        raise DataNotFound(f"Source {source} reads {chosen.meaning}. {path} does not exist. Check the path.")
    if path is not None and path.is_dir() and not any(path.iterdir()):
        raise DataNotFound(f"Source {source} reads {chosen.meaning}. {path} is empty. Put the files there first.")

    from sources.files import write_partitions

    adapter = _adapter(source)
    whole = adapter.whole_tables(path) if hasattr(adapter, "whole_tables") else set(chosen.tables)
    if hasattr(adapter, "stream"):
        counts = adapter.stream(seed, options or {}, landing_dir, whole)
    else:
        counts = write_partitions(adapter.read(path, seed, options or {}), landing_dir, whole)
    written = {name: TableDelivery(*counts[name]) for name in LANDING if name in counts}
    delivery = Delivery(
        source,
        written,
        min(table.first_ds for table in written.values()),
        max(table.last_ds for table in written.values()) + timedelta(days=1),
        {name: _why_missing(chosen, name) for name in LANDING if name not in written},
    )
    delivery.write(landing_dir)
    return delivery


def check_options(source: str, options: dict[str, Any]) -> None:
    """Raises UnknownOption where the source has no such option, or not with that value."""
    known = SOURCES[source].options
    for option in options:
        if option not in known:
            raise UnknownOption(f"Source {source} has no option '{option}': {f'it knows {sorted(known)}' if known else 'it takes none'}.")
    if options and hasattr(adapter := _adapter(source), "check_options"):
        adapter.check_options(options)


def _adapter(source: str) -> ModuleType:
    return import_module(f"sources.{_OTHER_MODULES.get(source, source)}")


def _why_missing(source: Source, table: str) -> str:
    if table not in source.tables:
        return "written by Portrait itself" if table in OWN_TABLES else f"source {source.name} does not carry it"
    return f"no rows of it in what source {source.name} was given"
