"""A safe copy of a shop: nobody of it is in there, keys fit, the same seed gives the same bytes, and it can be handed in again."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sources.registry import deliver
from training import synthesize as copying
from training.gan import privacy
from training.synthesize import synthesize

pytestmark = pytest.mark.slow


def test_a_shop_too_small_to_judge_by_is_refused_before_anything_is_learned(tmp_path: Path):
    from training.evaluation import CannotEvaluate

    deliver("shop", None, tmp_path / "landing", seed=7, options={"users": 300, "items": 200, "events_per_user": 5, "dirt": 0})
    with pytest.raises(CannotEvaluate, match=r"needs 1000 customers: a fifth is kept out to judge by\. Received 300\."):
        synthesize(source="landing", data=tmp_path / "landing", out=tmp_path / "out", seed=4)


class Shuffled:
    """In the GAN's place: every column drawn by itself, constraints kept; or, where it `memorises`, real rows with a little noise."""

    memorises = False

    def __init__(self, table: pd.DataFrame, config: object, seed: int, constraints: tuple = (), **_: object) -> None:
        self.table, self.constraints, self.curves, self.restarts = table, constraints, {}, 0

    def sample_table(self, rows: int, seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        if self.memorises:
            table = self.table.sample(rows, replace=True, random_state=seed).reset_index(drop=True)
            return table.assign(**{name: table[name] + 0.01 for name in table.select_dtypes("float64")})
        table = self.table
        for rule in self.constraints:
            table = rule.reduce(table)
        table = pd.DataFrame({name: table[name].to_numpy()[random.integers(0, len(table), rows)] for name in table})
        for rule in reversed(self.constraints):
            table = rule.restore(table)
        return table[list(self.table)]


@pytest.fixture(scope="module")
def small_shops_do():
    """A hundred unseen customers are enough to judge by: the rule itself is tested in `test_gan_judging.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "LEAST_CUSTOMERS", 200)
        patch.setattr(privacy, "LEAST_UNSEEN", 50)
        patch.setattr(privacy, "HIGHEST", 0.7)
        yield


@pytest.fixture(scope="module")
def shop(small_shops_do: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "landing"
    deliver("shop", None, folder, seed=7, options={"users": 500, "items": 200, "events_per_user": 30, "dirt": 0})
    return folder


@pytest.fixture(scope="module")
def copy(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    import training.gan.fit as fit

    out = tmp_path_factory.mktemp("copy") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "fit_gan", Shuffled)
        return out, synthesize(source="landing", data=shop, out=out, seed=4)


def read(folder: Path, name: str) -> pd.DataFrame:
    return pq.read_table(folder / f"{name}.parquet").to_pandas()


def real(shop: Path, name: str) -> pd.DataFrame:
    from sources.files import read_table

    return read_table(shop, name).to_pandas()


def test_no_id_word_or_time_of_the_shop_is_in_the_copy(shop: Path, copy: tuple[Path, dict]):
    out, _ = copy
    for name, columns in {
        "users": ["user_id"],
        "items": ["item_id", "title", "brand"],
        "events": ["event_id", "user_id", "item_id", "session_id", "order_id", "occurred_at"],
        "orders": ["order_id", "user_id", "payment_id", "device_id", "address_id"],
        "reviews": ["review_id", "user_id"],
    }.items():
        ours, theirs = read(out, name), real(shop, name)
        for column in columns:
            assert not set(ours[column].dropna()) & set(theirs[column].dropna()), (name, column)
    assert read(out, "reviews")["text"].isna().all()
    assert read(out, "items")["description"].isna().all()


def test_every_key_of_the_copy_leads_somewhere_and_stands_once(copy: tuple[Path, dict]):
    from sources.landing import LANDING

    out, verdict = copy
    users, items = set(read(out, "users")["user_id"]), set(read(out, "items")["item_id"])
    for name in verdict["rows"]:
        rows = read(out, name)
        assert not rows.duplicated(list(LANDING[name].key)).any(), name
        if "user_id" in rows:
            assert set(rows["user_id"]) <= users, name
        if "item_id" in rows:
            assert set(rows["item_id"]) <= items, name
    assert set(read(out, "chargebacks")["order_id"]) <= set(read(out, "orders")["order_id"])


def test_an_order_is_the_sum_of_its_lines_and_is_paid_when_it_is_bought(copy: tuple[Path, dict]):
    out, _ = copy
    events, orders = read(out, "events"), read(out, "orders").set_index("order_id")
    sold = events[events["event_type"] == "purchase"]
    lines = (sold["quantity"] * sold["unit_price"]).groupby(sold["order_id"]).sum().round(2)
    pd.testing.assert_series_equal(orders["amount"], lines, check_names=False)
    assert (orders["placed_at"] == sold.groupby("order_id")["occurred_at"].min()).all()
    assert (events["received_at"] >= events["occurred_at"]).all()


def test_customers_of_the_copy_behave_as_those_of_the_shop(shop: Path, copy: tuple[Path, dict]):
    ours, theirs = read(copy[0], "events"), real(shop, "events")
    one, two = (rows["event_type"].value_counts(normalize=True) for rows in (ours, theirs))
    assert one.sub(two, fill_value=0).abs().sum() / 2 < 0.1
    assert len(ours) == pytest.approx(len(theirs), rel=0.25)

    def same_again(rows: pd.DataFrame) -> float:
        """How often an event is about the item of the one before."""
        ordered = rows.sort_values(["user_id", "occurred_at"], kind="stable")
        return float(((ordered["item_id"] == ordered["item_id"].shift()) & (ordered["user_id"] == ordered["user_id"].shift())).mean())

    assert same_again(ours) == pytest.approx(same_again(theirs[theirs["user_id"].notna()]), abs=0.08)


def test_the_copy_can_be_handed_in(copy: tuple[Path, dict], tmp_path: Path):
    out, verdict = copy
    delivered = deliver("landing", out, tmp_path / "again", seed=1)
    assert {name: table.rows for name, table in delivered.tables.items()} == verdict["rows"]
    assert json.loads((out / "_verdict.json").read_text())["uses"]["sharing"]["allowed"]


def test_the_same_seed_gives_the_same_bytes_and_an_old_copy_is_never_written_over(
    shop: Path, copy: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import training.gan.fit as fit
    from training.evaluation import CannotEvaluate

    monkeypatch.setattr(fit, "fit_gan", Shuffled)
    synthesize(source="landing", data=shop, out=tmp_path / "out", seed=4)
    for path in sorted(copy[0].iterdir()):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name
    with pytest.raises(CannotEvaluate, match="must be a new or an empty folder"):
        synthesize(source="landing", data=shop, out=tmp_path / "out", seed=4)


def test_a_copy_that_memorises_is_refused_and_only_its_verdict_is_written(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import training.gan.fit as fit

    monkeypatch.setattr(fit, "fit_gan", Shuffled)
    monkeypatch.setattr(Shuffled, "memorises", True)
    verdict = synthesize(source="landing", data=shop, out=tmp_path / "out", seed=4)
    assert not verdict["uses"]["sharing"]["allowed"]
    assert verdict["uses"]["sharing"]["reasons"][0].startswith("customers: ")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_verdict.json"]
