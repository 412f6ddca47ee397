"""Dirt of the simulated shop: every kind that the landing contract names, counted exactly, and the clean rows untouched by it."""

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quality.errors import DeliveryRefused
from quality.load import load_window
from sources import shop
from sources.registry import deliver
from tests.sources.broken_files import without_column
from tests.sources.test_registry import file_bytes

OPTIONS = {"users": 500, "items": 400, "events_per_user": 40, "days": 60}


def files(landing: Path, table: str) -> dict[Path, pa.Table]:
    return {file: pq.read_table(file, partitioning=None) for file in sorted((landing / table).glob("ds=*/*.parquet"))}


def is_text(rows: pa.Table) -> bool:
    return all(kind == pa.string() for kind in rows.schema.types)


def day_of(file: Path) -> datetime:
    return datetime.fromisoformat(file.parent.name.removeprefix("ds="))


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("dirty")
    deliver("shop", None, home / "landing", seed=7, options={**OPTIONS, "dirt": 0.02})
    return home


@pytest.fixture(scope="module")
def counts(dirty: Path) -> dict[str, dict[str, int]]:
    return json.loads((dirty / "truth" / "dirt.json").read_text())


def test_events_hold_exactly_the_counted_dirt(dirty: Path, counts: dict):
    """Recounted from the files, row by row, without the rules of `quality`."""
    found: Counter[str] = Counter()
    known = {column: set() for column in ("user_id", "item_id")}
    for column, table in (("user_id", "users"), ("item_id", "items")):
        for rows in files(dirty / "landing", table).values():
            known[column] |= set(rows[column].to_pylist())
    for file, rows in files(dirty / "landing", "events").items():
        day, seen = day_of(file), Counter()
        newest: dict[str, datetime] = {}
        if is_text(rows):
            for row in rows.to_pylist():
                for column, reads in (("occurred_at", datetime.fromisoformat), ("unit_price", float), ("quantity", float)):
                    try:
                        reads(row[column] or "0" if column != "occurred_at" else row[column])
                    except ValueError:
                        found[f"{column}_unparseable"] += 1
            continue
        for row in rows.to_pylist():
            seen[tuple(row.values())] += 1
            if seen[tuple(row.values())] > 1:
                found["exact_duplicates"] += 1
                continue
            broken = {
                "occurred_at_in_future": row["occurred_at"] > day + timedelta(days=2),
                "occurred_at_before_shop": row["occurred_at"].year < 1995,
                "unit_price_negative": (row["unit_price"] or 0) < 0,
                "unit_price_absurd": (row["unit_price"] or 0) > 1e9,
                "quantity_negative": (row["quantity"] or 0) < 0,
                "quantity_absurd": (row["quantity"] or 0) > 1e6,
                "event_type_unknown": row["event_type"] == "teleport",
                "item_id_empty": row["item_id"] == "",
                "session_id_oversized": len(row["session_id"] or "") > 256,
            }
            if any(broken.values()):
                found.update(kind for kind, is_so in broken.items() if is_so)
                continue
            if row["event_id"] in newest:
                found["superseded"] += 1
                newest[row["event_id"]] = max(newest[row["event_id"]], row["received_at"])
                continue
            newest[row["event_id"]] = row["received_at"]
            found["guests"] += row["user_id"] is None
            found["unknown_user"] += row["user_id"] is not None and row["user_id"] not in known["user_id"]
            found["unknown_item"] += row["item_id"] not in known["item_id"]
            found["late"] += row["occurred_at"] < day - timedelta(days=1)
    assert dict(found) == counts["events"]
    assert len(found) == 18


@pytest.mark.slow
def test_a_load_recovers_every_kind_of_dirt_with_its_exact_count(house: Path):
    delivery = deliver("shop", None, house / "landing", seed=7, options={**OPTIONS, "dirt": 0.02})
    report = load_window(house / "landing", delivery.start, delivery.end)
    counts = json.loads((house / "truth" / "dirt.json").read_text())
    for table, load in report.tables.items():
        expected = {kind: rows for kind, rows in counts[table].items() if rows}
        assert {kind: rows for kind, rows in load.kinds().items() if kind in expected or table == "events"} == expected, table
        assert load.quarantined == {kind: rows for kind, rows in expected.items() if kind in load.quarantined}
        assert load.rows_in == delivery.tables[table].rows


def test_of_two_readings_of_an_event_the_later_one_is_the_true_one(dirty: Path, counts: dict, tmp_path: Path):
    deliver("shop", None, tmp_path / "landing", seed=7, options={**OPTIONS, "dirt": 0})
    true = pa.concat_tables(files(tmp_path / "landing", "events").values()).to_pandas().set_index("event_id")["quantity"]
    given = pa.concat_tables(rows for rows in files(dirty / "landing", "events").values() if not is_text(rows)).to_pandas()
    given = given[~given["event_id"].str.startswith("x")].drop_duplicates()
    twice = given[given["event_id"].duplicated(keep=False)].sort_values("received_at")
    last = twice.drop_duplicates("event_id", keep="last").set_index("event_id")
    first = twice.drop_duplicates("event_id", keep="first").set_index("event_id")
    assert len(last) == counts["events"]["superseded"]
    assert last["quantity"].equals(true[last.index].rename("quantity"))
    assert (first.loc[last.index, "quantity"] == last["quantity"].fillna(0) + 1).all()
    assert (last["received_at"] - first.loc[last.index, "received_at"] == timedelta(seconds=10)).all()


def test_every_kind_stands_in_every_dirty_shop_however_small(tmp_path: Path, counts: dict):
    deliver(
        "shop", None, tmp_path / "landing", seed=7, options={"users": 40, "items": 200, "events_per_user": 20, "days": 60, "dirt": 0.0001}
    )
    small = json.loads((tmp_path / "truth" / "dirt.json").read_text())
    for table in ("users", "items", "events", "orders", "campaign_exposures"):
        assert set(small[table]) == set(counts[table]), table
        assert all(rows == 1 for kind, rows in small[table].items() if kind not in ("guests", "late", "title_encoding")), table


def test_without_dirt_the_rows_are_the_clean_rows_of_the_dirty_shop(tmp_path: Path, dirty: Path):
    deliver("shop", None, tmp_path / "landing", seed=7, options={**OPTIONS, "dirt": 0})
    counts = json.loads((tmp_path / "truth" / "dirt.json").read_text())
    assert {table: kinds for table, kinds in counts.items() if kinds} == {"events": {"guests": counts["events"]["guests"], "late": 0}}
    for table, key in (("users", "user_id"), ("orders", "order_id"), ("chargebacks", "order_id"), ("reviews", "review_id")):
        clean = pa.concat_tables(files(tmp_path / "landing", table).values()).to_pandas()
        given = pa.concat_tables(rows for rows in files(dirty / "landing", table).values() if not is_text(rows)).to_pandas()
        given = given[~given[key].str.startswith("x") & (given[key].str.strip() != "")].drop_duplicates()
        pd.testing.assert_frame_equal(given.sort_values(key, ignore_index=True), clean.sort_values(key, ignore_index=True))


def test_titles_are_misread_in_two_ways_and_padded(dirty: Path, counts: dict):
    true = pq.read_table(dirty / "truth" / "items.parquet").to_pandas().set_index("item_id")["title"]
    found: Counter[str] = Counter()
    for rows in files(dirty / "landing", "items").values():
        if is_text(rows):
            continue
        for item, title in zip(rows["item_id"].to_pylist(), rows["title"].to_pylist(), strict=True):
            if isinstance(title, bytes):
                with pytest.raises(UnicodeDecodeError):
                    title.decode("utf-8")
                assert title.decode("cp1252") == true[item]
                found["bytes"] += 1
            elif item in true and title != true[item] and len(title) < 1000:
                kind = "padded" if title.strip() == true[item] else "misread"
                assert kind == "padded" or title.encode("cp1252").decode("utf-8") == true[item]
                found[kind] += 1
    assert found["bytes"] + found["misread"] == counts["items"]["title_encoding"]
    assert found["padded"] == counts["items"]["title_trimmed"]
    assert min(found["bytes"], found["misread"], found["padded"]) >= 1


@pytest.mark.slow
def test_dirt_is_the_same_whatever_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shop, "BLOCK_USERS", 60)
    for workers in (1, 2):
        options = {"users": 120, "items": 200, "events_per_user": 10, "days": 60, "dirt": 0.02, "workers": workers}
        deliver("shop", None, tmp_path / str(workers) / "landing", seed=7, options=options)
    assert file_bytes(tmp_path / "1") == file_bytes(tmp_path / "2")


def test_a_file_without_a_required_column_is_refused_by_name(house: Path):
    delivery = deliver("shop", None, house / "landing", seed=7, options={"users": 40, "items": 200, "events_per_user": 10, "days": 60})
    file = without_column(house / "landing", "events", "item_id")
    message = f"Every file of events must have the column item_id. Received events/{file.parent.name}/{file.name} without it"
    with pytest.raises(DeliveryRefused, match=message):
        load_window(house / "landing", delivery.start, delivery.end)
