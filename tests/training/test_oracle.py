"""How far from the best: the share of the way by hand, an oracle that beats every baseline, and none for a real shop."""

import numpy as np
import pytest

from settings import get_settings
from sources.registry import deliver
from training.oracle import house_oracle, next_item_scores, shop_oracle, ways

SMALL = {"users": 400, "items": 150, "events_per_user": 40, "days": 60, "dirt": 0}


def test_the_share_of_the_way_is_counted_from_the_baseline_to_the_oracle():
    figures = {
        "model": {"auc": 0.8, "logloss": 0.5, "ece": 0.1, "flat": 1.0},
        "baseline": {"auc": 0.5, "logloss": 0.7, "ece": 0.2, "flat": 2.0},
        "served": {"auc": 0.4},
        "oracle": {"auc": 0.9, "logloss": 0.3, "ece": 0.0, "flat": 2.0},
    }
    found = ways(figures, "baseline")
    assert found["model"]["auc"] == pytest.approx(0.75)  # .3 of .4
    assert found["model"]["logloss"] == pytest.approx(0.5)  # lower is better, and the way is the same
    assert found["served"] == {"auc": pytest.approx(-0.25)}
    assert "ece" not in found["model"]
    assert np.isnan(found["model"]["flat"])  # the oracle is no better there
    assert ways({"model": {"auc": 0.8}, "baseline": {"auc": 0.5}}, "baseline") == {}


def test_the_oracle_beats_popularity_and_the_best_linear_model_on_the_same_questions(house):
    from sources.files import read_table
    from training import baselines, metrics
    from training.evaluation import event_counts, histories_and_catalogue
    from training.splits import time_split

    deliver("shop", None, get_settings().landing_dir, seed=5, options=SMALL)
    tables = {name: read_table(get_settings().landing_dir, name) for name in ("events", "items")}
    histories, catalogue = histories_and_catalogue(tables)
    split = time_split(histories)
    seen, targets = event_counts(split.test.histories, catalogue), catalogue.index_of(split.test.targets)
    oracle = house_oracle()
    assert oracle is not None
    scores = {
        "oracle": next_item_scores(oracle, split.test.histories, split.test_cut_us, catalogue.item_ids),
        "popularity": iter([baselines.popularity(event_counts(split.known, catalogue))(seen)]),
        "ease": iter([baselines.ease(event_counts(split.known, catalogue))(seen)]),
    }
    gain = {name: metrics.ndcg(metrics.rank_targets(own, targets, seen).ranks) for name, own in scores.items()}
    for other in ("popularity", "ease"):
        step = gain["oracle"] - gain[other]
        assert step.mean() > 3 * step.std() / np.sqrt(len(step)), other


def test_a_real_shop_and_a_shop_whose_truth_is_gone_have_no_oracle(house, tmp_path):
    assert house_oracle() is None  # nothing was delivered
    deliver("shop", None, get_settings().landing_dir, seed=5, options={**SMALL, "users": 20})
    assert house_oracle().world.users == 20
    (get_settings().truth_dir / "shop.json").unlink()
    assert house_oracle() is None
    deliver("shop", None, get_settings().landing_dir, seed=5, options={**SMALL, "users": 20})
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "events.csv").write_text("event_id,user_id,item_id,event_type,occurred_at\ne1,a,b,view,2024-01-01 00:00:00\n")
    deliver("landing", tmp_path / "own", get_settings().landing_dir)
    assert get_settings().truth_dir.exists()
    assert house_oracle() is None  # the newest delivery is a real shop's


def test_the_oracle_of_an_evaluation_is_that_of_the_shop_it_delivers():
    assert (shop_oracle(3).world.seed, shop_oracle(3).world.users, shop_oracle(3).world.dirt) == (3, 5000, 0)
