"""Nothing that happened, or became known, after the time of the question ever enters a frame."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.export import export_marts
from feature_repo.frames import read_mart, rows_as_of, training_frame
from settings import ROOT
from tests.feature_repo.conftest import MAY
from tests.feature_repo.warehouse import Rows, day, features, small_shop, write_warehouse


def asked(*labels: tuple[str, datetime]) -> pd.DataFrame:
    return pd.DataFrame({"user_id": [user for user, _ in labels], "event_timestamp": [time.replace(tzinfo=UTC) for _, time in labels]})


def random_shop(seed: int, users: int = 20, rows: int = 300) -> Rows:
    """Versions of random days; the event count numbers the row, so that it names the version."""
    rng = np.random.default_rng(seed)
    versions = {(f"u{rng.integers(users)}", int(at), int(min(at + rng.integers(0, 6), 30))) for at in rng.integers(2, 25, rows)}
    made = [
        features(*version, events_7d=n, top_categories=[f"c{n}"], last_event_at=day(version[1]))
        for n, version in enumerate(sorted(versions))
    ]
    return {"user_features": made, "user_sequences": [features("u0", 2, 2, event_item_ids=["mug"])]}


def random_labels(seed: int, count: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    times = pd.Timestamp("2024-05-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 30 * 24, count), unit="h")
    return pd.DataFrame({"user_id": [f"u{n}" for n in rng.integers(0, 23, count)], "event_timestamp": times, "label_y": rng.random(count)})


def test_a_row_is_known_from_its_own_time_on(shop: Path) -> None:
    frame = training_frame("portrait_v1", asked(("ann", day(3) - timedelta(microseconds=1)), ("ann", day(3))))
    assert frame["events_7d"].tolist() == [1.0, 2.0]
    assert [list(items) for items in frame["event_item_ids"]] == [["mug"], ["mug", "pot"]]


def test_a_planted_future_purchase_changes_no_training_row(shop: Path) -> None:
    labels = asked(("ann", day(3)), ("ann", day(4)), ("bob", day(4)), ("carl", day(4)))
    before = training_frame("user_v1", labels)
    rows = small_shop()
    rows["user_features"] += [features("ann", 6, 6, purchases_7d=1, spend_7d=999.0), features("bob", 5, 5, purchases_7d=1)]
    rows["user_sequences"] += [features("ann", 6, 6, event_item_ids=["mug", "pot", "sofa"])]
    write_warehouse(rows)
    export_marts(*MAY)
    pd.testing.assert_frame_equal(training_frame("user_v1", labels), before)


def test_a_planted_later_correction_changes_no_training_row(shop: Path) -> None:
    labels = asked(("ann", day(3)), ("bob", day(4)))
    before = training_frame("user_v1", labels)
    rows = small_shop()
    rows["user_features"] += [features("ann", 3, 9, spend_7d=999.0), features("bob", 4, 9, spend_7d=999.0)]
    write_warehouse(rows)
    export_marts(*MAY)
    pd.testing.assert_frame_equal(training_frame("user_v1", labels), before)
    assert training_frame("user_v1", asked(("ann", day(9)), ("bob", day(8))))["spend_7d"].isna().tolist() == [False, True]


def test_newest_features_win_before_newest_knowledge(shop: Path) -> None:
    # On day 5 a correction of day 2 became known, but day 3 counts further.
    assert training_frame("portrait_v1", asked(("ann", day(6))))["events_7d"].tolist() == [2.0]
    rows = small_shop()
    rows["user_features"] = [row for row in rows["user_features"] if row["features_at"] != day(3)]
    write_warehouse(rows)
    export_marts(*MAY)
    assert training_frame("portrait_v1", asked(("ann", day(4)), ("ann", day(5))))["events_7d"].tolist() == [1.0, 7.0]


def test_rows_in_are_rows_out_in_order_with_their_index_and_columns(shop: Path) -> None:
    labels = asked(("bob", day(9)), ("ann", day(3)), ("nobody", day(9)), ("ann", day(3)), ("ann", day(1)))
    labels["label_spend"] = [5, 4, 3, 2, 1]
    labels.index = pd.Index([10, 10, 7, 3, 99])
    frame = training_frame("portrait_v1", labels)
    pd.testing.assert_frame_equal(frame[list(labels.columns)], labels)
    assert frame["events_7d"].fillna(-1).tolist() == [4, 2, -1, 2, -1]
    assert frame["event_item_ids"].isna().tolist() == [True, False, True, False, True]
    assert frame["events_7d"].dtype == np.float64


def test_no_labels_give_no_rows(shop: Path) -> None:
    frame = training_frame("recommender_v1", asked(("ann", day(3))).head(0))
    assert list(frame.columns) == ["user_id", "event_timestamp", "event_item_ids", "event_types", "event_times_us"]
    assert frame.empty


def test_times_without_a_zone_are_utc_and_others_are_converted(shop: Path) -> None:
    labels = pd.DataFrame({"user_id": ["ann"], "event_timestamp": [day(3)]})
    assert training_frame("portrait_v1", labels)["events_7d"].tolist() == [2.0]
    labels["event_timestamp"] = pd.Series([datetime(2024, 5, 3, tzinfo=timezone(timedelta(hours=2)))])  # 22:00 UTC of the day before
    assert training_frame("portrait_v1", labels)["events_7d"].tolist() == [1.0]


def naive(labels: pd.DataFrame, rows: pd.DataFrame) -> list[float]:
    """The newest version known at each label, one label at a time."""
    found = []
    for label in labels.itertuples():
        t = label.event_timestamp.tz_localize(None)
        seen = rows[(rows.user_id == label.user_id) & (rows.features_at <= t) & (rows.created_at <= t)]
        found.append(seen.sort_values(["features_at", "created_at"])["events_7d"].iloc[-1] if len(seen) else -1.0)
    return found


def test_frames_equal_a_naive_search(house: Path) -> None:
    write_warehouse(random_shop(seed=1))
    export_marts(*MAY)
    labels = random_labels(seed=2)
    frame = training_frame("portrait_v1", labels)
    expected = naive(labels, read_mart("user_features"))
    assert frame["events_7d"].fillna(-1).tolist() == expected
    assert len(set(expected)) > 100


@pytest.mark.slow
def test_frames_equal_feasts_own_point_in_time_join(house: Path) -> None:
    from feature_repo.store import apply

    write_warehouse(random_shop(seed=3))
    export_marts(*MAY)
    labels = random_labels(seed=4).rename(columns={"label_y": "label"})  # Feast drops columns that end in _y
    labels["row"] = range(len(labels))
    store = apply()
    chosen = ["user_features:events_7d", "user_features:top_categories"]
    job = store.get_historical_features(entity_df=labels.copy(), features=chosen, filter_by_created_timestamp=True)
    theirs = job.to_df().sort_values("row", ignore_index=True)
    ours = training_frame("user_v1", labels)
    assert ours["events_7d"].fillna(-1).tolist() == theirs["events_7d"].fillna(-1).tolist()
    assert [None if v is None else list(v) for v in ours["top_categories"]] == [
        list(v) if isinstance(v, (list, np.ndarray)) else None for v in theirs["top_categories"]
    ]


def test_rows_as_of_are_the_newest_known_rows(shop: Path) -> None:
    before, after = rows_as_of("user_features", day(2)), rows_as_of("user_features", day(4).replace(tzinfo=UTC))
    assert before[["user_id", "events_7d"]].to_numpy().tolist() == [["ann", 1]]
    assert after[["user_id", "events_7d"]].to_numpy().tolist() == [["ann", 2], ["bob", 4]]


def test_labels_that_cannot_be_joined_say_why(shop: Path) -> None:
    labels = asked(("ann", day(3)))
    with pytest.raises(ValueError, match=r"must have the columns \['user_id', 'event_timestamp'\]. Received \['user_id'\]. Add \['event_t"):
        training_frame("portrait_v1", labels[["user_id"]])
    with pytest.raises(ValueError, match=r"must not have a feature's name. Received \['spend_30d'\] .*'label_spend_30d'"):
        training_frame("portrait_v1", labels.assign(spend_30d=1.0))
    with pytest.raises(ValueError, match=r"Every label must have a time. Received 1 null values of event_timestamp"):
        training_frame("portrait_v1", labels.assign(event_timestamp=pd.NaT))


def big_shop(users: int = 3_000, versions: int = 12) -> None:
    """Published directly: rows wide enough to be larger than a small memory, in any order."""
    from feature_repo.contract import marts, views
    from feature_repo.published import SCHEMA_FILE, connect, mart_dir

    with connect() as connection:
        for name, mart in (marts() | views()).items():
            mart_dir(name).mkdir(parents=True)
            typed = ", ".join(f"null::{column.data_type} as {column.name}" for column in mart.columns)
            connection.execute(f"copy (select {typed} limit 0) to '{mart_dir(name) / SCHEMA_FILE}' (format parquet)")
        connection.execute(f"""
            copy (
                select 'u' || (n % {users}) as user_id, timestamp '2024-05-01' + to_days((n // {users})::int * 2) as features_at,
                    features_at + to_days(case when n % 17 = 0 then 5 else 0 end) as created_at,
                    [md5((n * 100 + i)::varchar) for i in range(80)] as event_item_ids, [n, n + 1] as event_times_us,
                ['view'] as event_types
                from range({users * versions}) as numbers(n)
            ) to '{mart_dir("user_sequences")}/rows.parquet' (format parquet, row_group_size 2048)""")


#: Run by itself: prints by how many bytes the process grew at its peak, and the most that lay in DuckDB's temporary folder at once.
STREAMED = """
import sys, threading
from pathlib import Path
from feature_repo import published
from feature_repo.frames import training_frame_to_parquet

home, spilled, done = Path(sys.argv[1]), [0], threading.Event()
published.MEMORY_LIMIT = "80MB"

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

def watch():
    while not done.wait(0.005):
        try:
            spilled.append(sum(file.stat().st_size for file in (home / "tmp" / "duckdb").rglob("*")))
        except FileNotFoundError:
            pass  # DuckDB took it away meanwhile

watcher, before = threading.Thread(target=watch), peak()
watcher.start()
training_frame_to_parquet("recommender_v1", home / "labels.parquet", home / "frame.parquet")
done.set()
print(peak() - before, max(spilled))
"""


@pytest.mark.slow
def test_a_frame_larger_than_memory_spills_stays_within_it_and_equals_the_frame_in_memory(house: Path) -> None:
    import pyarrow.parquet as pq

    big_shop()
    rng = np.random.default_rng(5)
    times = times_zero() + pd.to_timedelta(rng.integers(0, 30 * 24, 160_000), unit="h")
    labels = pd.DataFrame(
        {"user_id": [f"u{n}" for n in rng.integers(0, 3_000, 160_000)], "event_timestamp": times, "label_y": range(160_000)}
    )
    labels.to_parquet(house / "labels.parquet")
    ran = subprocess.run([sys.executable, "-c", STREAMED, house], cwd=ROOT, capture_output=True, text=True, check=True)
    grown, spilled = map(int, ran.stdout.split())
    texts = 0
    file = pq.ParquetFile(house / "frame.parquet")
    assert file.metadata.num_rows == 160_000
    for first, batch in zip(range(0, 160_000, 20_000), file.iter_batches(20_000), strict=True):
        streamed, asked_for = batch.to_pandas(), labels.iloc[first : first + 20_000].reset_index(drop=True)
        whole = training_frame("recommender_v1", asked_for)
        pd.testing.assert_frame_equal(streamed[list(labels.columns)], asked_for, check_dtype=False)
        numbers = [None if row is None else row[0] for row in streamed["event_times_us"]]
        assert numbers == [None if row is None else row[0] for row in whole["event_times_us"]]
        assert sum(number is None for number in numbers) < 2_000
        for name in ("event_item_ids", "event_types"):
            assert [None if row is None else list(row) for row in streamed[name]] == [
                None if row is None else list(row) for row in whole[name]
            ]
        texts += sum(len(item) for row in streamed["event_item_ids"] if row is not None for item in row)
        # The second, naive way: the newest version known, for some labels.
        for row in range(0, 20_000, 997):
            user, hours = int(asked_for["user_id"][row][1:]), (asked_for["event_timestamp"][row] - times_zero()) // pd.Timedelta(hours=1)
            versions = [user + 3_000 * version for version in range(12)]
            known = [n for n in versions if hours >= 24 * ((n // 3_000) * 2 + (5 if n % 17 == 0 else 0))]
            assert numbers[row] == (max(known) if known else None)
    assert spilled > 10e6
    assert grown < 320e6 < texts


def times_zero() -> pd.Timestamp:
    return pd.Timestamp("2024-05-01", tz="UTC")


def test_a_frame_in_a_file_equals_the_frame_in_memory(shop: Path) -> None:
    import pyarrow.parquet as pq

    from feature_repo.frames import training_frame_to_parquet

    labels = asked(("bob", day(9)), ("ann", day(3)), ("nobody", day(9)), ("ann", day(3)))
    labels["event_timestamp"] = labels["event_timestamp"].dt.tz_convert("Asia/Tokyo")
    labels.to_parquet(shop / "labels.parquet")
    assert training_frame_to_parquet("portrait_v1", shop / "labels.parquet", shop / "frame.parquet") == 4
    streamed, whole = pq.read_table(shop / "frame.parquet").to_pandas(), training_frame("portrait_v1", labels)
    assert list(streamed.columns) == list(whole.columns)
    assert streamed["events_7d"].fillna(-1).tolist() == whole["events_7d"].fillna(-1).tolist() == [4, 2, -1, 2]
    with pytest.raises(ValueError, match=r"Labels must have the columns \['user_id', 'event_timestamp'\]. Received \['user_id'\]"):
        labels[["user_id"]].to_parquet(shop / "labels.parquet")
        training_frame_to_parquet("portrait_v1", shop / "labels.parquet", shop / "frame.parquet")
