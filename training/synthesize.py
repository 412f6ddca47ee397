"""`portrait synthesize`: a safe copy of a shop's landing tables, which source `landing` takes, with its verdict in `_verdict.json`.

Customers come from a GAN of profiles, their events from a chain of steps given the profile, orders and reviews from the events, exposures
and applications from a GAN each, the catalogue from the shop's with new names. No id, title or moment of the shop is in the copy; its
categories, campaigns and days are the shop's. A fifth of the customers is kept from all of it, to judge nearness by.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluation import CannotEvaluate, finite, landing_tables

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

UNSEEN_PARTS = 5
STEPS = 4000  # of each table's GAN: what two cores do in a few minutes
LEAST_CUSTOMERS = 1000  # a fifth of them are as many unseen ones as a verdict needs
COPIED = (
    "users",
    "user_traits",
    "items",
    "item_attributes",
    "events",
    "reviews",
    "campaign_exposures",
    "credit_applications",
    "orders",
    "chargebacks",
)

Log = Callable[[str], None]


def synthesize(
    *, source: str, data: Path | str | None, out: Path, seed: int = 7, steps: int | None = None, log: Log | None = None
) -> dict[str, Any]:
    """Writes `out/<table>.parquet` for every table that the source carries, and returns what `_verdict.json` says.

    Where a table may not be shared the tables are not written, only the verdict. The same source, seed and backend give the same bytes.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CannotEvaluate(f"`--out` must be a new or an empty folder. {out} is not. Choose another: nothing is written over.")
    from sources.durable import replace_text
    from sources.files import write_parquet

    tables = as_frames(landing_tables(source, data, seed, COPIED))
    copy, verdict = copied(tables, seed, STEPS if steps is None else steps, log)
    out.mkdir(parents=True, exist_ok=True)
    if verdict["uses"]["sharing"]["allowed"]:
        for name, rows in as_landing(copy).items():
            write_parquet(rows, out / f"{name}.parquet")
    replace_text(out / "_verdict.json", json.dumps(finite(verdict), indent=1, default=str))
    return verdict


def copied(
    tables: dict[str, pd.DataFrame], seed: int, steps: int, log: Log | None = None
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """The copy of landing `tables` as frames, and the verdict on it."""
    from dataclasses import replace

    import numpy as np
    import pandas as pd

    from training.gan.config import GanConfig
    from training.gan.constraints import Ordering
    from training.gan.fit import fit_gan
    from training.gan.privacy import LEAST_UNSEEN
    from training.gan.synthesis import synthesis_of
    from training.gan.verdict import judge_table
    from training.synthesize_items import copy_catalogue
    from training.synthesize_profiles import BEHAVIOUR, as_users, profiles
    from training.synthesize_sequences import fit_sequences
    from training.synthesize_tables import FLAT, OrderHabits, flat_rows, landed

    events = tables["events"]
    random = np.random.default_rng(seed)
    start, end = _window(tables)
    config = replace(GanConfig(), steps=steps)
    catalogue = copy_catalogue(tables["items"], tables["item_attributes"], events, random)
    tops = pd.Series([catalogue.tops[code] for code in catalogue.top], catalogue.real_ids)
    people = profiles(tables["users"], tables["user_traits"], events, tops, start)
    if len(people) < LEAST_CUSTOMERS:
        raise CannotEvaluate(f"A safe copy needs {LEAST_CUSTOMERS} customers: a fifth is kept out to judge by. Received {len(people)}.")
    unseen_ids = set(people.index[np.random.default_rng(seed + 1).permutation(len(people)) % UNSEEN_PARTS == 0])
    is_unseen = people.index.isin(list(unseen_ids))
    learned, unseen = people[~is_unseen], people[is_unseen]
    judged: dict[str, Any] = {}
    made: dict[str, pd.DataFrame] = {}

    def drawn(rows: pd.DataFrame, unseen_rows: pd.DataFrame, name: str, count: int, constraints: Any = ()) -> pd.DataFrame:
        """Rows like `rows` from a GAN of them, judged beside rows that it never saw."""
        if log:
            log(f"{name}: learning {len(rows):,} rows of {rows.shape[1]} columns")
        gan = fit_gan(rows, config, seed, constraints=constraints, log=log)
        table = synthesis_of(gan, rows, seed).draw(count, seed).table
        judged[name] = judge_table(table, rows, unseen_rows, seed).to_dict() | {"curves": gan.curves, "restarts": gan.restarts}
        return table

    rows = drawn(learned.reset_index(drop=True), unseen.reset_index(drop=True), "customers", len(people), [Ordering("visits", "events")])
    made["users"], made["user_traits"] = as_users(rows, start)
    made["items"], made["item_attributes"] = catalogue.table, catalogue.attributes
    ids = made["users"]["user_id"].to_numpy()
    sequences = fit_sequences(events, learned, catalogue)
    made["events"] = _landed_events(sequences.draw(rows, ids, catalogue, (end - start).total_seconds(), random), catalogue, start, end)
    of_copy = pd.Series([catalogue.tops[code] for code in catalogue.top], catalogue.table["item_id"].to_numpy())
    behaviour = profiles(made["users"], made["user_traits"], made["events"], of_copy, start, behaviour_only=True).reset_index(drop=True)
    known, others = (part[part["events"] > 0][list(BEHAVIOUR)].reset_index(drop=True) for part in (learned, unseen))
    judged["behaviour"] = judge_table(behaviour[list(BEHAVIOUR)], known, others, seed).to_dict()
    habits = OrderHabits.of(tables)
    if len(tables["orders"]):
        made["orders"], made["chargebacks"] = habits.orders(made["events"], end, random)
    if len(tables["reviews"]):
        made["reviews"] = habits.reviews(made["events"], end, random)
    for name in FLAT:
        table = tables[name]
        apart = table["user_id"].isin(unseen_ids).to_numpy()
        if min(apart.sum(), (~apart).sum()) < LEAST_UNSEEN:
            continue  # a table of which nobody could say whether it leaks is left out, and `rows` shows it
        flat = flat_rows(name, table, start)
        made[name] = landed(
            name, drawn(flat[~apart].reset_index(drop=True), flat[apart].reset_index(drop=True), name, len(flat)), ids, start, random
        )
    return made, _verdict(judged, {name: len(table) for name, table in made.items()}, tables)


def as_frames(tables: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Landing tables as frames, every table and column there: cells that do not parse are null, exact repeats of a key are one."""
    import pandas as pd

    from sources.cells import parsed_or_null
    from sources.landing import LANDING

    found = {}
    for name in COPIED:
        contract = LANDING[name]
        if name not in tables:
            found[name] = pd.DataFrame({column.name: pd.Series(dtype=_EMPTY.get(column.kind, "object")) for column in contract.columns})
            continue
        table = tables[name].drop_columns(["ds"])
        for column in contract.columns:
            if column.kind in ("timestamp", "float", "bool"):
                place = table.column_names.index(column.name)
                table = table.set_column(place, column.name, parsed_or_null(table[column.name], column.kind))
        rows = table.to_pandas()
        time = contract.column(contract.time) if contract.time else None
        if time and not time.nullable:
            rows = rows[rows[time.name].notna()]
        found[name] = rows.drop_duplicates(list(contract.key) if rows[list(contract.key)].notna().all(axis=None) else None).reset_index(
            drop=True
        )
    required = found["events"][["item_id", "event_type", "occurred_at"]].notna().all(axis=1)
    found["events"] = found["events"][required].reset_index(drop=True)
    return found


_EMPTY = {"timestamp": "datetime64[us]", "float": "float64"}


def as_landing(copy: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Frames as the contract's columns in the contract's types, rows in the order of their key; free columns behind."""
    import pyarrow as pa

    from sources.cells import parse
    from sources.landing import LANDING

    found = {}
    for name, rows in copy.items():
        contract = LANDING[name]
        ordered = rows.sort_values(list(contract.key), kind="stable")
        columns = {}
        for column in contract.columns:
            values = ordered.get(column.name, None)
            given = pa.Array.from_pandas(values) if values is not None else pa.nulls(len(ordered), pa.string())
            columns[column.name] = parse(pa.chunked_array([given]), column.kind)
        free = sorted(column for column in ordered if contract.free_prefix and column.startswith(contract.free_prefix))
        found[name] = pa.table({**columns, **{column: pa.Array.from_pandas(ordered[column]) for column in free}})
    return found


def _window(tables: dict[str, pd.DataFrame]) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The days of the events, the end not included; raises CannotEvaluate where there are none."""
    import pandas as pd

    times = tables["events"]["occurred_at"]
    if not len(times):
        raise CannotEvaluate("A safe copy begins with what customers did: the source has no `events`.")
    return times.min().normalize(), times.max().normalize() + pd.Timedelta(days=1)


def _landed_events(drawn: pd.DataFrame, catalogue: Any, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    import pandas as pd

    at = start + pd.to_timedelta(drawn["at"].astype("float64"), unit="s").dt.round("s")
    received = start + pd.to_timedelta(drawn["received"].astype("float64"), unit="s").dt.round("s")
    received = received.clip(upper=end - pd.Timedelta(seconds=1))
    items: np.ndarray = catalogue.table["item_id"].to_numpy()[drawn["item"].to_numpy()]
    told = drawn.assign(item_id=items, occurred_at=at, received_at=received, event_id=[f"se{number:010d}" for number in range(len(drawn))])
    return told.drop(columns=["at", "received", "item"])


def _verdict(judged: dict[str, Any], rows: dict[str, int], tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """One verdict on all tables: the copy may be shared where every part of it may."""
    refused = {name: found["uses"]["sharing"]["reasons"] for name, found in judged.items() if not found["uses"]["sharing"]["allowed"]}
    why = [f"{name}: {'; '.join(reasons)}" for name, reasons in refused.items()] or [
        f"{', '.join(judged)}: no copies, and no nearer to the customers learned from than to a fifth that was kept out"
    ]
    left_out = [(name, column) for name, found in judged.items() for column in found["unwritten"]]
    return {
        "uses": {
            "sharing": {"allowed": not refused, "reasons": why},
            "augmentation": {"allowed": False, "reasons": ["a copy stands by itself: its rows are for no model that sees the real ones"]},
        },
        "rows": rows,
        "rows_of_the_shop": {name: len(table) for name, table in tables.items()},
        "limits": [
            "exposures and applications fall to customers by lot: what they have to do with somebody's events is lost",
            *(f"{name}: nothing is written in {column}: its values point at single rows" for name, column in left_out),
            "no words: titles are made, descriptions and reviews are empty; prices move by some 5 %",
            "events follow a chain of order one: a habit that takes longer than one step is lost",
            "categories, campaigns and their days are the shop's own",
            "this is measured, not proven: there is no guarantee of differential privacy",
        ],
        "tables": judged,
    }
