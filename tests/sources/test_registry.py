"""Deliveries: what they say, what they replace, and what they refuse."""

import json
import subprocess
import sys
from contextlib import nullcontext
from datetime import date, timedelta
from pathlib import Path

import pytest

from settings import ROOT
from sources.errors import DataNotFound, UnknownOption, UnknownSource
from sources.files import read_table
from sources.landing import LANDING
from sources.registry import OWN_TABLES, SOURCES, USES, Delivery, deliver

SEQUENCES = "u1 a b c\nu2 b\n"


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "Toys.txt").write_text(SEQUENCES)
    return folder


def file_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_importing_the_registry_imports_nothing_heavy():
    heavy = "{'pandas', 'pyarrow', 'numpy', 'duckdb', 'tensorflow'}"
    code = f"import sys, sources.registry; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_source_names_only_landing_tables():
    assert all(set(source.tables) <= set(LANDING) for source in SOURCES.values())


def test_a_source_carries_only_uses_whose_tables_it_has():
    for source in SOURCES.values():
        assert source.carries, source.name
        assert all(set(USES[use]) <= set(source.tables) for use in source.carries), source.name


def test_a_source_carries_every_use_whose_tables_it_has_but_where_they_cannot_tell_it():
    silent = {
        (name, use) for name, source in SOURCES.items() for use in USES.keys() - source.carries if set(USES[use]) <= set(source.tables)
    }
    assert silent == {
        ("movielens", "propensities"),  # ratings, no purchases
        ("complete_journey", "uplift"),  # campaigns without a control arm
    }


def test_a_wrong_source_name_names_the_known_ones(house: Path):
    with pytest.raises(
        UnknownSource, match=r"one of \['amazon_sequences', 'complete_journey', .* 'movielens', 'online_retail', 'shop'\]. Received 'shoop'"
    ):
        deliver("shoop", None, house, seed=7, options={})


def test_an_unknown_option_names_the_known_ones(house: Path, sequences: Path):
    with pytest.raises(
        UnknownOption,
        match=r"shop has no option 'user': it knows \['days', 'dirt', 'end', 'events_per_user', 'items', 'size', 'users', 'workers'\]",
    ):
        deliver("shop", None, house, seed=7, options={"user": 3})
    with pytest.raises(UnknownOption, match=r"amazon_sequences has no option 'users': it takes none"):
        deliver("amazon_sequences", sequences, house, seed=7, options={"users": 3})


@pytest.mark.parametrize("source", sorted(name for name, source in SOURCES.items() if source.needs_data))
def test_missing_empty_and_foreign_folders_are_refused_and_nothing_is_written(source: str, tmp_path: Path):
    landing = tmp_path / "landing"
    with pytest.raises(DataNotFound, match=f"Source {source} reads files: .* No folder was given"):
        deliver(source, None, landing, seed=7, options={})
    with pytest.raises(DataNotFound, match=r"nowhere does not exist"):
        deliver(source, tmp_path / "nowhere", landing, seed=7, options={})
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataNotFound, match=r"empty is empty"):
        deliver(source, empty, landing, seed=7, options={})
    (empty / "notes.md").write_text("nothing of use")
    with pytest.raises(DataNotFound, match=f"Source {source} reads .*empty"):
        deliver(source, empty, landing, seed=7, options={})
    assert not landing.exists()


def test_a_delivery_says_what_came_and_why_the_rest_did_not(house: Path, sequences: Path):
    delivery = deliver("amazon_sequences", sequences, house, seed=7, options={})
    assert (delivery.start, delivery.end) == (date(2014, 1, 1), date(2014, 6, 1))  # 180 days: c stands at 5/6 of them, day 150
    assert {name: table.rows for name, table in delivery.tables.items()} == {"items": 3, "events": 4}
    assert delivery.missing["item_attributes"] == "no rows of it in what source amazon_sequences was given"
    assert delivery.missing["users"] == "source amazon_sequences does not carry it"
    assert delivery.missing["decisions"] == "written by Portrait itself"
    assert set(delivery.tables) | set(delivery.missing) == set(LANDING)
    assert Delivery.read(house) == delivery
    assert json.loads((house / "_delivery.json").read_text())["tables"]["events"]["last_ds"] == "2014-05-31"


def test_a_landing_folder_without_a_delivery_says_so(house: Path):
    with pytest.raises(DataNotFound, match=r"has none. Run `portrait ingest` first"):
        Delivery.read(house)


def test_the_same_delivery_twice_leaves_the_same_bytes(house: Path, sequences: Path):
    deliver("amazon_sequences", sequences, house, seed=7, options={})
    first = file_bytes(house)
    deliver("amazon_sequences", sequences, house, seed=7, options={})
    assert file_bytes(house) == first


def test_a_delivery_replaces_its_own_days_and_tables_and_no_others(tmp_path: Path):
    landing, given = tmp_path / "landing", tmp_path / "given"
    header = "item_id,event_type,occurred_at\n"

    def hand_in(*rows: str) -> None:
        given.mkdir(exist_ok=True)
        (given / "events.csv").write_text(header + "".join(f"{row}\n" for row in rows))
        deliver("landing", given, landing, seed=7, options={})

    hand_in("a,view,2024-05-01 10:00:00", "b,view,2024-05-02 10:00:00")
    (landing / "decisions" / "ds=2024-05-02").mkdir(parents=True)
    (landing / "events" / "ds=2024-05-02" / "part-1.parquet").write_bytes(b"left by somebody")
    hand_in("c,view,2024-05-02 11:00:00", "d,view,2024-05-03 11:00:00")
    rows = read_table(landing, "events").to_pylist()
    assert [(row["item_id"], row["ds"].day) for row in rows] == [("a", 1), ("c", 2), ("d", 3)]
    assert (landing / "decisions" / "ds=2024-05-02").is_dir()


def test_a_day_on_which_a_table_has_no_rows_any_more_is_emptied(tmp_path: Path):
    landing, given = tmp_path / "landing", tmp_path / "given"
    given.mkdir()
    (given / "events.csv").write_text("item_id,event_type,occurred_at\na,view,2024-05-01\nb,view,2024-05-02\n")
    (given / "orders.csv").write_text("order_id,placed_at\n1,2024-05-01\n2,2024-05-02\n")
    deliver("landing", given, landing, seed=7, options={})
    (given / "orders.csv").write_text("order_id,placed_at\n1,2024-05-01\n")
    deliver("landing", given, landing, seed=7, options={})
    assert read_table(landing, "orders")["order_id"].to_pylist() == ["1"]
    assert read_table(landing, "events").num_rows == 2


DAYS = ("2024-05-01", "2024-05-02", "2024-05-03", "2024-05-04")


def test_a_redelivered_file_replaces_every_day_from_its_deliverys_first_to_its_last_and_none_outside(tmp_path: Path):
    landing, given = tmp_path / "landing", tmp_path / "given"
    given.mkdir()
    orders = given / "orders.csv"
    (given / "events.csv").write_text("item_id,event_type,occurred_at\n" + "".join(f"a,view,{day}\n" for day in DAYS))
    orders.write_text("order_id,placed_at\n" + "".join(f"{day},{day}\n" for day in DAYS))
    deliver("landing", given, landing)
    (given / "events.csv").write_text(f"item_id,event_type,occurred_at\na,view,{DAYS[0]}\na,view,{DAYS[2]}\n")
    orders.write_text(f"order_id,placed_at\nnew,{DAYS[0]}\n")
    delivery = deliver("landing", given, landing)
    assert (delivery.start, delivery.end) == (date(2024, 5, 1), date(2024, 5, 4))
    assert [str(day) for day in read_table(landing, "events")["ds"].to_pylist()] == [DAYS[0], DAYS[2], DAYS[3]]
    assert read_table(landing, "orders")["order_id"].to_pylist() == ["new", DAYS[3]]


def test_a_table_handed_in_empty_is_emptied_in_the_window_and_one_not_handed_in_stays(tmp_path: Path):
    landing, given = tmp_path / "landing", tmp_path / "given"
    given.mkdir()
    (given / "events.csv").write_text("item_id,event_type,occurred_at\na,view,2024-05-01\n")
    (given / "orders.csv").write_text("order_id,placed_at\n1,2024-05-01\n")
    (given / "chargebacks.csv").write_text("order_id,reported_at\n1,2024-05-01\n")
    deliver("landing", given, landing)
    (given / "orders.csv").write_text("order_id,placed_at\n")
    (given / "chargebacks.csv").unlink()
    deliver("landing", given, landing)
    assert [read_table(landing, name).num_rows for name in ("events", "orders", "chargebacks")] == [1, 0, 1]


def test_redelivered_day_folders_replace_the_days_that_they_name_and_not_those_between(tmp_path: Path):
    landing = tmp_path / "landing"

    def hand_in(name: str, item: str, days: tuple[str, ...]) -> None:
        for day in days:
            folder = tmp_path / name / "events" / f"ds={day}"
            folder.mkdir(parents=True)
            (folder / "part-0.csv").write_text(f"item_id,event_type,occurred_at\n{item},view,{day}\n")
        deliver("landing", tmp_path / name, landing)

    hand_in("first", "old", DAYS)
    hand_in("corrections", "new", (DAYS[0], DAYS[2]))
    assert read_table(landing, "events")["item_id"].to_pylist() == ["new", "old", "new", "old"]


@pytest.mark.parametrize("source", ["shop", "amazon_sequences"])
def test_another_delivery_of_a_source_leaves_no_day_of_the_first_within_its_window(source: str, sequences: Path, tmp_path: Path):
    landing, old = tmp_path / "landing", b"of the first delivery"
    data, options = (None, {"users": 10, "events_per_user": 1, "days": 60}) if source == "shop" else (sequences, {})
    first = deliver(source, data, landing, seed=1, options=options)
    own = {"live_events", "_released/events", *OWN_TABLES}
    outside = {f"ds={first.start - timedelta(days=1)}", f"ds={first.end}"}
    inside = {f"ds={first.start + timedelta(days=n)}" for n in range((first.end - first.start).days)}
    for folder in own | set(SOURCES[source].tables):
        for day in inside | outside:
            (landing / folder / day).mkdir(parents=True, exist_ok=True)
            (landing / folder / day / "part-9.parquet").write_bytes(old)
    deliver(source, data, landing, seed=2, options=options)
    left = {tuple(name.rsplit("/", 2)[:2]) for name, content in file_bytes(landing).items() if content == old}
    assert left == {(folder, day) for folder in own for day in inside | outside} | {
        (folder, day) for folder in SOURCES[source].tables for day in outside
    }


def test_a_delivery_killed_while_it_is_put_in_place_is_whole_once_it_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given, landing, untouched = tmp_path / "given", tmp_path / "landing", tmp_path / "untouched"
    given.mkdir()

    def hand_in(days: tuple[str, ...], into: Path, item: str) -> None:
        (given / "events.csv").write_text("item_id,event_type,occurred_at\n" + "".join(f"{item},view,{day}\n" for day in days))
        (given / "orders.csv").write_text("order_id,placed_at\n" + "".join(f"{item}{day},{day}\n" for day in days))
        deliver("landing", given, into)

    hand_in((DAYS[0], DAYS[3]), untouched, "new")
    move = Path.replace
    for moves in range(5):
        hand_in(DAYS, landing, "old")
        made = []

        def stop_after(path: Path, target: Path, made: list[Path] = made, moves: int = moves) -> Path:
            if len(made) == moves:
                raise KeyboardInterrupt
            made.append(target)
            return move(path, target)

        monkeypatch.setattr(Path, "replace", stop_after)
        with pytest.raises(KeyboardInterrupt) if moves < 4 else nullcontext():
            hand_in((DAYS[0], DAYS[3]), landing, "new")
        monkeypatch.undo()
        hand_in((DAYS[0], DAYS[3]), landing, "new")
        assert file_bytes(landing) == file_bytes(untouched)
