"""`evaluate` gives the promised object on tiny shops, and says clearly what a source lacks."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import shared_data
from training.evaluate import CannotEvaluate, evaluate_recommender, evaluate_traits, evaluate_uplift
from training.evaluation import evaluation, over_splits
from training.splits import targets_sha256

KEYS = {"metrics", "baselines", "seeds", "counts", "targets_sha256", "seconds", "peak_memory_mb", "versions"}
USERS = 60


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing folder: 60 users walk around a ring of 12 items, half of them declare a trait by where they started, an offer halves."""
    folder = tmp_path_factory.mktemp("landing")
    events = [
        {
            "user_id": f"u{user:02}",
            "item_id": f"i{(user % 2) * 6 + (user + step) % 6:02}",
            "event_type": "purchase",
            "occurred_at": pd.Timestamp("2024-01-01") + pd.Timedelta(hours=step * 24 + user / 10),
        }
        for user in range(USERS)
        for step in range(6)
    ]
    pd.DataFrame([{"event_id": f"e{number}", **event} for number, event in enumerate(events)]).to_csv(folder / "events.csv", index=False)
    pd.DataFrame({"user_id": [f"u{n:02}" for n in range(USERS)], "trait": "team", "value": ["a", "b"] * (USERS // 2)}).to_csv(
        folder / "user_traits.csv", index=False
    )
    generator = np.random.default_rng(0)
    pd.DataFrame(
        {
            "campaign_id": "c",
            "user_id": [f"u{n:02}" for n in range(USERS)],
            "assigned_at": "2024-01-20 00:00:00",
            "treatment": ["offer", "control", "other"] * (USERS // 3),
            "propensity": 1 / 3,
            "visited": generator.random(USERS) < 0.5,
            "x_age": generator.integers(20, 60, USERS),
        }
    ).to_csv(folder / "campaign_exposures.csv", index=False)
    return folder


def _holds_together(result: dict, metrics: set[str], baselines: set[str], more: frozenset[str] | set[str] = frozenset()) -> None:
    assert set(result) == KEYS | more
    assert set(result["metrics"]) == metrics
    assert set(result["baselines"]) == baselines
    for figures in (result["metrics"], *result["baselines"].values()):
        assert set(figures) == metrics
        for value in figures.values():
            assert set(value) == {"mean", "low", "high"}
    assert {"numpy", "keras", "scikit-learn"} <= set(result["versions"])
    json.dumps(result, allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["leave-one-out", "time-split", "next-purchase"])
def test_recommender_gives_the_promised_object(shop: Path, protocol: str):
    result = evaluate_recommender(source="landing", data=shop, protocol=protocol, seed=3, epochs=2, dim=8)
    baselines = {"popularity", "item_knn", "als", "ease", *(["top_frequency"] if protocol == "next-purchase" else [])}
    _holds_together(result, {"HR@10", "NDCG@10"}, baselines, more={"differences", "memory", "slices"})
    assert set(result["differences"]) == baselines
    assert len({json.dumps(figures) for figures in result["baselines"].values()}) > 1  # each its own
    assert all(1 <= part["users"] <= USERS for part in result["slices"].values())
    assert result["seeds"] == [3]
    assert result["counts"]["users"] == USERS and result["counts"]["items"] == 12 and result["counts"]["events"] == 6 * USERS
    if protocol == "leave-one-out":
        assert result["counts"]["test_users"] == USERS and result["counts"]["train_events"] == 4 * USERS
        last = {f"u{user:02}": f"i{(user % 2) * 6 + (user + 5) % 6:02}" for user in range(USERS)}
        assert result["targets_sha256"] == targets_sha256(last, last.values())


@pytest.mark.slow
def test_the_simulated_shop_is_measured_against_its_oracle_and_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from benchmarks.quality import section
    from sources.files import read_table
    from sources.registry import deliver
    from sources.shop_oracle import ShopOracle
    from training import evaluate_recommender as module
    from training import oracle

    size = {"users": 150, "items": 150, "events_per_user": 30, "days": 60, "dirt": 0}
    deliver("shop", None, tmp_path / "landing", seed=3, options=size)
    tables = {name: read_table(tmp_path / "landing", name) for name in ("events", "items")}
    monkeypatch.setattr(module, "landing_tables", lambda *_: tables)
    monkeypatch.setattr(oracle, "shop_oracle", lambda seed: ShopOracle.of(seed, size))
    result = evaluate_recommender(source="shop", data=None, protocol="time-split", seed=3, epochs=1, dim=8)
    baselines = {"popularity", "item_knn", "als", "ease"}
    _holds_together(result, {"HR@10", "NDCG@10"}, baselines, more={"differences", "memory", "slices", "oracle", "ways"})
    best = result["oracle"]["NDCG@10"]["mean"]
    assert best > max(figures["NDCG@10"]["mean"] for figures in (result["metrics"], *result["baselines"].values()))
    base, own = (figures["NDCG@10"]["mean"] for figures in (result["baselines"]["popularity"], result["metrics"]))
    assert set(result["ways"]) == {"portrait", *baselines} - {"popularity"}
    assert result["ways"]["portrait"]["NDCG@10"] == pytest.approx((own - base) / (best - base))
    page = section("shop-next-item", result | {"date": "today", "machine": "here"})
    assert f"| oracle (knows the true chances) | {result['oracle']['HR@10']['mean']:.4f} (" in page
    assert (
        f"Of the way from popularity to the oracle, NDCG@10: Portrait {100 * result['ways']['portrait']['NDCG@10']:.0f} %; item_knn" in page
    )


@pytest.mark.slow
def test_traits_give_the_promised_object_and_the_obvious_trait_is_found(shop: Path):
    result = evaluate_traits(source="landing", data=shop, trait="team", folds=2, seed=3, epochs=2)
    metrics = {"auc", "accuracy", "balanced_accuracy", "logloss", "ece"}
    _holds_together(result, metrics, {"base_rate", "logistic_regression"})
    assert result["baselines"]["logistic_regression"]["accuracy"]["mean"] == 1  # the teams never share an item
    assert result["baselines"]["base_rate"]["auc"]["mean"] == 0.5
    assert result["metrics"]["auc"]["mean"] > 0.9
    assert result["counts"]["labelled_users"] == USERS
    assert result["targets_sha256"] == targets_sha256([f"u{n:02}" for n in range(USERS)], ["a", "b"] * (USERS // 2))


@pytest.mark.slow
def test_uplift_gives_the_promised_object_for_one_offer_and_control(shop: Path):
    result = evaluate_uplift(source="landing", data=shop, treatment="offer", seed=3, splits=2)
    learners = {"random", "s_learner", "t_learner", "x_learner", "dr_learner"}
    _holds_together(result, {"uplift@30%", "qini", "auuc", "effect_error", "effect_error_by_chance"}, learners, {"adjusted"})
    assert result["adjusted"] is None
    assert result["seeds"] == [3, 4]
    assert (result["counts"]["treated"], result["counts"]["control"]) == (USERS // 3, USERS // 3)


@pytest.mark.slow
def test_what_a_source_lacks_is_named(shop: Path, tmp_path: Path):
    with pytest.raises(CannotEvaluate, match=r"`trait` must be one of \['team'\] for this source. Received 'colour'"):
        evaluate_traits(source="landing", data=shop, trait="colour")
    with pytest.raises(CannotEvaluate, match=r"`treatment` must be one of \['offer', 'other'\] for this source. Received 'control'"):
        evaluate_uplift(source="landing", data=shop, treatment="control")
    with pytest.raises(CannotEvaluate, match=r"needs the table `campaign_exposures`. Source amazon_sequences gave"):
        (tmp_path / "Ring.txt").write_text("1 1 2 3 4 5\n2 2 3 4 5 1\n")
        evaluate_uplift(source="amazon_sequences", data=tmp_path, treatment="offer")


def test_campaigns_that_nobody_randomised_are_refused_unless_told_to_adjust(shop: Path, tmp_path: Path):
    exposures = pd.read_csv(shop / "campaign_exposures.csv").drop(columns="propensity")
    exposures.to_csv(tmp_path / "campaign_exposures.csv", index=False)
    with pytest.raises(CannotEvaluate, match=r"whose `propensity` is known\. 40 of 40 rows of 'offer' and control have none"):
        evaluate_uplift(source="landing", data=tmp_path, treatment="offer")
    journey = shared_data("complete_journey")
    with pytest.raises(CannotEvaluate, match=r"of 'type_a' and control have none that a draw would have\. Say `--adjust`"):
        evaluate_uplift(source="complete_journey", data=journey, treatment="type_a")
    with pytest.raises(CannotEvaluate, match=r"Both arms need rows with and without `converted`"):  # there is no control to adjust for
        evaluate_uplift(source="complete_journey", data=journey, treatment="type_a", outcome="converted", adjust=True)


def test_wrong_protocols_and_outcomes_are_refused_before_any_work():
    with pytest.raises(
        CannotEvaluate, match=r"`protocol` must be one of \['leave-one-out', 'time-split', 'next-purchase'\]. Received 'random'"
    ):
        evaluate_recommender(source="shop", data=None, protocol="random")  # type: ignore[arg-type]
    with pytest.raises(CannotEvaluate, match=r"`outcome` must be one of \['visited', 'converted'\].* Received 'spend'"):
        evaluate_uplift(source="shop", data=None, treatment="offer", outcome="spend")


def test_what_cannot_be_computed_is_null_in_json():
    result = evaluation(0.0, metrics={"auc": over_splits([{"auc": 0.5}], 0.5)["auc"]}, seeds=[1])
    assert result["metrics"]["auc"] == {"mean": 0.5, "low": None, "high": None}
    assert result["seeds"] == [1]
