# ruff: noqa: DTZ001 - the house's times are UTC without a zone
"""The fraud model's run on a shop whose frauds share devices: what it learns from, what it serves, and what it leaves behind."""

import json
import random
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.order_replay import replayed
from settings import get_settings
from training.fraud_rows import house_rows, rows_known
from training.signatures import GOLDEN_FILE, ORDER_FEATURES, PROVENANCE_FILE

START, END = datetime(2024, 1, 1), datetime(2024, 4, 1)
WINDOW = (START.date(), END.date())
DECIDED = ["decision_id", "known_at", "kind", "subject", "model", "arm"]


def shop() -> pd.DataFrame:
    """160 honest accounts with two orders each, and 30 rings of three accounts that order at once by one device, reported
    14 to 40 days later."""
    draw = random.Random(2)
    orders, reports = [], []
    for user in range(160):
        for _ in range(2):
            at = START + timedelta(days=draw.uniform(0, 90))
            orders.append((f"h{user}", at, draw.uniform(5, 60), f"p{user}", f"d{user}", f"a{user // 2}"))
    for ring in range(30):
        at, delay = START + timedelta(days=draw.uniform(0, 80)), timedelta(days=draw.uniform(14, 40))
        for member in range(3):
            placed = at + timedelta(minutes=7 * member)
            orders.append((f"f{ring}-{member}", placed, draw.uniform(80, 200), f"fp{ring}", f"fd{ring}", f"fa{ring}"))
            reports.append((len(orders) - 1, placed + delay))
    columns = ["user_id", "placed_at", "amount", "payment_id", "device_id", "address_id"]
    table = pd.DataFrame(orders, columns=columns)
    table.insert(0, "order_id", [f"o{number:04}" for number in range(len(table))])
    table["placed_at"] = table["placed_at"].astype("datetime64[us]")
    told = pd.DataFrame([(f"o{number:04}", at, at.date()) for number, at in reports if at < END], columns=["order_id", "reported_at", "ds"])
    opened = table.groupby("user_id")["placed_at"].min() - pd.to_timedelta(
        [draw.uniform(0, 300) for _ in range(table["user_id"].nunique())], "D"
    )
    users = opened.rename("registered_at").astype("datetime64[us]").reset_index()
    return replayed(table, told, users)


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    return shop()


def install(monkeypatch: pytest.MonkeyPatch, orders: pd.DataFrame, decisions: list[tuple] = ()) -> None:
    """The marts of a house with these orders, and with decisions of (known_at, subject, model, arm)."""
    decided = [(f"d.{number}", known_at, "order", subject, model, arm) for number, (known_at, subject, model, arm) in enumerate(decisions)]
    marts = {
        "order_features": orders.drop(columns="charged_back_known_at"),
        "order_labels": orders[["order_id", "charged_back_known_at"]].assign(known_at=orders["placed_at"].dt.ceil("D")),
        "decision_outcomes": pd.DataFrame(decided, columns=DECIDED).astype({"known_at": "datetime64[us]"}),
    }
    monkeypatch.setattr("training.fraud_rows.read_mart", lambda name: marts[name].copy())


def test_an_order_is_a_fraud_only_once_its_report_is_known(orders: pd.DataFrame) -> None:
    """The planted leak: as known at any time, no later report and no later order is there."""
    for at in (START + timedelta(days=20), START + timedelta(days=45), END):
        rows = rows_known(orders, at)
        assert (rows.orders["placed_at"] < at).all()
        known = orders[orders["placed_at"] < at].sort_values(["placed_at", "order_id"])
        assert rows.is_fraud.tolist() == [not pd.isna(said) and said <= at for said in known["charged_back_known_at"]]
    assert not rows_known(orders, START + timedelta(days=14)).is_fraud.any()


def test_what_a_person_refused_is_a_fraud_and_what_the_model_refused_is_unknown(monkeypatch, orders: pd.DataFrame) -> None:
    honest = orders.loc[orders["user_id"].str.startswith("h"), "order_id"].tolist()
    late = END + timedelta(days=1)
    told = [(END, honest[0], "person", "refuse"), (END, honest[1], "fraud", "refuse"), (END, honest[2], "fraud", "review")]
    told += [(END, honest[3], "fraud", "refuse"), (END, honest[3], "person", "refuse"), (late, honest[4], "person", "refuse")]
    install(monkeypatch, orders, told)
    rows = house_rows(END)
    is_fraud = dict(zip(rows.orders["order_id"], rows.is_fraud, strict=True))
    assert honest[1] not in is_fraud and len(is_fraud) == len(orders) - 1
    assert [is_fraud[honest[place]] for place in (0, 2, 3, 4)] == [True, False, True, False]


def test_how_long_banks_take_does_not_depend_on_what_people_refuse(monkeypatch, orders: pd.DataFrame) -> None:
    """Every other young order is refused within hours; the orders of the last ten days stay unripe, as no bank is that fast."""
    young = orders[orders["user_id"].str.startswith("h") & (orders["placed_at"] >= END - timedelta(days=40))].iloc[::2]
    told = [(at + timedelta(hours=5), name, "person", "refuse") for name, at in zip(young["order_id"], young["placed_at"], strict=True)]
    install(monkeypatch, orders, told)
    rows, plain = house_rows(END), rows_known(orders, END)
    assert rows.is_fraud.sum() == plain.is_fraud.sum() + len(young)
    assert rows.delays.days.tolist() == plain.delays.days.tolist() and min(rows.delays.days) >= 14
    assert rows.maturity.tolist() == plain.maturity.tolist()
    is_young = (rows.orders["placed_at"] > END - timedelta(days=10)).to_numpy()
    assert set(rows.weight[is_young & ~rows.is_fraud]) == {0.0} and set(rows.weight[is_young & rows.is_fraud]) == {1.0}


def test_refusals_alone_teach_nothing_since_nobody_knows_when_an_order_is_safe(monkeypatch, orders: pd.DataFrame, tmp_path: Path) -> None:
    from training.fraud_config import FraudConfig
    from training.run_folder import TrainingSkipped, TrainingWindow
    from training.run_fraud import train_fraud

    unreported = orders.assign(charged_back_known_at=pd.NaT)
    install(monkeypatch, unreported, [(END, name, "person", "refuse") for name in orders["order_id"].head(20)])
    assert house_rows(END).is_fraud.sum() == 20
    with pytest.raises(TrainingSkipped, match="`chargebacks` has no report that was known by then"):
        train_fraud(FraudConfig(), TrainingWindow(*WINDOW), 3, tmp_path, {})


@pytest.fixture(scope="module")
def run(orders: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory):
    from training.runs import train_model

    patch = pytest.MonkeyPatch()
    patch.setenv("PORTRAIT_HOME", str(tmp_path_factory.mktemp("house")))
    get_settings.cache_clear()
    install(patch, orders)
    yield train_model("fraud", Path("no-encoder"), WINDOW, {"seed": 3, "epochs": 6})
    patch.undo()
    get_settings.cache_clear()


@pytest.mark.slow
def test_a_run_is_judged_beside_its_baselines_on_accounts_that_taught_nothing(run) -> None:
    assert list(run.metrics) == ["fraud", "velocity rules", "logistic regression", "gradient boosting"]
    own = run.metrics["fraud"]
    assert own["recall at capacity"] > 0
    assert {"precision at capacity", "best precision", "cost a hundred orders", "cost with no check", "ece"} <= set(own)
    assert own["average precision"] > run.metrics["velocity rules"]["average precision"]
    verdict = json.loads((run.path / "verdict.json").read_text())
    assert verdict["rule"] in ("first_model", "miscalibrated")  # a hundred orders are few to judge probabilities by
    assert verdict["figures"]["metric"] == "average precision"
    report = (run.path / "report.html").read_text()
    for told in (
        "How soon it is seen",
        "Delay of reports, in days",
        "velocity rules",
        "reported frauds taught",
        "A review team that looks at",
    ):
        assert told in report


@pytest.mark.slow
def test_a_ring_is_on_one_side_only(orders: pd.DataFrame) -> None:
    from training.fraud import _parts
    from training.run_fraud import asked_accounts

    rows = rows_known(orders, END)
    is_asked = asked_accounts(rows, 3)
    assert 0.15 < is_asked.mean() < 0.45
    part = _parts(rows.group, rows.is_fraud, 3, 3)
    for name in np.unique(rows.group):
        own = rows.group == name
        assert len(set(is_asked[own])) == len(set(part[own])) == 1
    ring = rows.orders["user_id"].str.extract(r"^f(\d+)-")[0]
    assert all(len(set(rows.group[(ring == name).to_numpy()])) == 1 for name in ring.dropna().unique())
    frauds = [int(rows.is_fraud[part == one].sum()) for one in range(3)]
    assert min(frauds) > 0.5 * max(frauds)


@pytest.mark.slow
def test_the_served_model_says_what_the_networks_say_and_explains_by_leaving_out(run, orders: pd.DataFrame) -> None:
    from serving.model_server import operations
    from training.fraud_config import REASONS
    from training.served import SavedPredictor

    path = run.path / "saved_model"
    operations.check(path, operations.read_allowed())
    model = SavedPredictor(path)
    rows = orders[list(ORDER_FEATURES)].to_numpy(np.float32)[-40:]
    inputs = {name: rows[:, place] for place, name in enumerate(ORDER_FEATURES)}
    chance, told = model(inputs)["probability"], model.explaining()(inputs)
    assert told["probability"] == pytest.approx(chance, abs=1e-6)
    golden = json.loads((path / GOLDEN_FILE).read_text())
    assert model({name: np.array(values, np.float32) for name, values in golden["inputs"].items()})["probability"] == pytest.approx(
        np.array(golden["outputs"]["probability"]), abs=1e-5
    )
    provenance = json.loads((path / PROVENANCE_FILE).read_text())
    assert provenance["is_simulated"] is False and 14 <= provenance["delay_days"]["50%"] <= 40

    def log_odds(numbers: np.ndarray) -> np.ndarray:
        said = model({name: numbers[:, place] for place, name in enumerate(ORDER_FEATURES)})["probability"].astype(float)
        return np.log(said / (1 - said))

    fraud = int(np.argmax(chance))
    usual = model._model.usual.numpy()
    assert usual.shape == (len(ORDER_FEATURES),) and np.isfinite(usual).all()
    codes = [code for code in told["reason_codes"][fraud] if code]
    assert codes
    for code, effect in zip(codes, told["reason_effects"][fraud], strict=False):
        hidden = rows[fraud : fraud + 1].copy()
        for name in REASONS[code]:
            hidden[0, ORDER_FEATURES.index(name)] = usual[ORDER_FEATURES.index(name)]
        assert effect == pytest.approx(float(log_odds(rows[fraud : fraud + 1])[0] - log_odds(hidden)[0]), abs=2e-2)
    assert (np.diff(told["reason_effects"], axis=1) <= 0).all() and (told["reason_effects"] >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (lambda orders: orders[:0], "`orders` has no rows"),
        (lambda orders: orders.assign(charged_back_known_at=pd.NaT), "`chargebacks` has no report that was known by then"),
        (
            lambda orders: orders[~orders["user_id"].str.match(r"f([3-9]|\d\d)-")],
            r"must report 10 orders to learn from\. Found \d in \d+ orders",
        ),
    ],
)
def test_a_shop_without_enough_reports_is_skipped_by_name(cut, reason, house, monkeypatch, orders: pd.DataFrame) -> None:
    from training.runs import TrainingSkipped, train_model

    install(monkeypatch, cut(orders))
    with pytest.raises(TrainingSkipped, match=f"^fraud: .*{reason}"):
        train_model("fraud", Path("no-encoder"), (date(2024, 1, 1), date(2024, 4, 1)), {"seed": 3})
    kept = json.loads((house / "candidates" / "fraud" / "skipped.json").read_text())
    assert kept["model"] == "fraud" and kept["reason"].startswith("`")
