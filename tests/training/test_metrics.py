"""Every metric against a second, naive way, or against numbers worked out by hand."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from training import metrics


def _rank_naively(scores: np.ndarray, target: int, seen: set[int]) -> int:
    others = [item for item in range(len(scores)) if item != target and item not in seen]
    return sum(scores[item] >= scores[target] for item in others)


def test_ranks_equal_a_naive_walk_over_all_unseen_items_however_scores_are_cut_in_blocks():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 6, (40, 15)).astype(float)  # many ties
    seen = csr_matrix(generator.random((40, 15)) < 0.3)
    targets = generator.integers(0, 15, 40)
    naive = [_rank_naively(scores[user], targets[user], set(seen[user].indices)) for user in range(40)]
    for blocks in (1, 7, 40):
        assert metrics.rank_targets(np.array_split(scores, blocks), targets, seen).ranks.tolist() == naive


def test_a_constant_score_earns_nothing_and_an_unknown_target_ranks_last():
    seen = csr_matrix((2, 20))
    ranking = metrics.rank_targets([np.ones((2, 20))], np.array([0, -1]), seen)
    assert ranking.ranks.tolist() == [19, 20]
    assert metrics.hits(ranking.ranks).tolist() == [0, 0]


def test_seen_items_are_never_listed_unless_seen_again_as_the_target():
    scores = np.array([[5.0, 4.0, 3.0, 2.0]])
    seen = csr_matrix(np.array([[1, 1, 0, 0]]))
    ranking = metrics.rank_targets([scores], np.array([1]), seen, k=4)
    assert ranking.ranks.tolist() == [0]  # item 0 is removed, item 1 is the target and stays
    assert ranking.top.tolist() == [[1, 2, 3, -1]]
    assert metrics.coverage(ranking.top, items=4) == 0.75


def test_ranking_refuses_nan_scores_and_missing_or_surplus_users():
    with pytest.raises(ValueError, match=r"hold no NaN. Received users 0 to 1, shape \(1, 3\), 3 NaN"):
        metrics.rank_targets([np.full((1, 3), np.nan)], np.array([0]), csr_matrix((1, 3)))
    with pytest.raises(ValueError, match=r"must cover 2 users. Received 1."):
        metrics.rank_targets([np.ones((1, 3))], np.array([0, 0]), csr_matrix((2, 3)))
    with pytest.raises(ValueError, match=r"must cover 1 users and 3 items .* Received users 0 to 2"):
        metrics.rank_targets([np.ones((2, 3))], np.array([0]), csr_matrix((1, 3)))


def test_hits_and_ndcg_by_hand():
    ranks = np.array([0, 1, 9, 10])
    assert metrics.hits(ranks).mean() == 0.75
    assert metrics.ndcg(ranks).mean() == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(11)) / 4)


def test_auc_equals_the_share_of_pairs_in_order():
    generator = np.random.default_rng(1)
    is_true, score = generator.random(60) < 0.4, generator.integers(0, 8, 60)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[is_true] for b in score[~is_true]]
    assert metrics.auc(is_true, score) == pytest.approx(np.mean(pairs))
    assert math.isnan(metrics.auc(np.ones(3, dtype=bool), np.arange(3)))


def test_ece_by_hand_over_equal_count_bins():
    probability = np.array([0.1, 0.3, 0.6, 0.8])
    is_true = np.array([False, True, True, True])
    # two bins: |1/2 - .2| = .3 and |1 - .7| = .3
    assert metrics.ece(is_true, probability, bins=2) == pytest.approx(0.3)
    assert metrics.ece(is_true, is_true.astype(float)) == 0  # fewer rows than bins


def test_classification_of_two_classes_by_hand():
    truth = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    got = metrics.classification(truth, probabilities)
    assert got["accuracy"] == 0.75
    assert got["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert got["logloss"] == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.3) + math.log(0.6)) / 4)
    assert got["auc"] == pytest.approx(2 / 3)
    assert got["ece"] == pytest.approx((0.1 + 0.2 + 0.7 + 0.4) / 4)  # one row a bin


def test_classification_of_three_classes_means_one_against_the_rest():
    generator = np.random.default_rng(2)
    truth, probabilities = generator.integers(0, 3, 90), generator.dirichlet(np.ones(3), 90)
    got = metrics.classification(truth, probabilities)
    assert got["auc"] == pytest.approx(np.mean([metrics.auc(truth == label, probabilities[:, label]) for label in range(3)]))
    top = probabilities.max(axis=1)
    assert got["ece"] == pytest.approx(metrics.ece(probabilities.argmax(axis=1) == truth, top))


def test_uplift_at_30_percent_equals_the_difference_of_the_best_30_percent_of_each_arm():
    generator = np.random.default_rng(3)
    outcome, is_treated, predicted = generator.random(200) < 0.3, generator.random(200) < 0.5, generator.permutation(200)

    def best(arm: np.ndarray) -> float:
        order = np.flatnonzero(arm)[np.argsort(-predicted[arm])]
        return float(outcome[order[: int(arm.sum() * 0.3)]].mean())

    assert metrics.uplift(outcome, predicted, is_treated)["uplift@30%"] == pytest.approx(best(is_treated) - best(~is_treated))


def test_a_perfect_uplift_order_has_qini_and_auuc_of_one():
    outcome, is_treated = np.array([1, 1, 0, 0, 1, 1, 0, 0]), np.array([1, 1, 1, 1, 0, 0, 0, 0])
    got = metrics.uplift(outcome, predicted=np.array([2, 2, 1, 1, 0, 0, 1, 1]), is_treated=is_treated)
    assert got["qini"] == pytest.approx(1)
    assert 0 < got["auuc"] <= 1
    assert all(math.isnan(value) for value in metrics.uplift(outcome, outcome, np.ones(8)).values())


def test_amounts_by_hand():
    truth, said = np.array([0.0, 2.0, 6.0]), np.array([1.0, 4.0, 1.0])
    got = metrics.amounts(truth, said)
    assert got["mae"] == pytest.approx((1 + 2 + 5) / 3)
    assert got["rmse"] == pytest.approx(math.sqrt((1 + 4 + 25) / 3))
    # ranks of what was said 1.5, 3, 1.5; of the truth 1, 2, 3: sums of truth times (rank - 2) are -1 and 6
    assert got["gini"] == pytest.approx((2 * 1 + 6 * -0.5) / 6)
    assert got["spearman"] == pytest.approx((-0.5 * -1 + 1 * 0 - 0.5 * 1) / math.sqrt(1.5 * 2))
    assert got["total_ratio"] == pytest.approx(6 / 8)
    assert got["decile_error"] == pytest.approx((1 + 5 + 2) / 8)  # a row a part
    doubled = metrics.amounts(truth, truth * 2)
    assert (doubled["gini"], doubled["spearman"], doubled["total_ratio"]) == pytest.approx((1, 1, 2))
    assert metrics.decile_ratios(truth, said) == [np.inf, 1 / 6, 2]


def test_amounts_agree_with_scipy_and_with_the_area_under_a_lorenz_curve():
    from scipy.stats import spearmanr

    generator = np.random.default_rng(2)
    truth, said = generator.gamma(1, 10, 500) * (generator.random(500) < 0.5), generator.permutation(500) * 1.0

    def area(order: np.ndarray) -> float:
        """Between the concentration curve and the diagonal, by trapezes."""
        curve = np.append(0, np.cumsum(truth[order])) / truth.sum()
        return float(np.trapezoid(curve, np.linspace(0, 1, 501)) - 0.5)

    got = metrics.amounts(truth, said)
    assert got["spearman"] == pytest.approx(spearmanr(truth, said)[0])
    assert got["gini"] == pytest.approx(area(np.argsort(-said)) / area(np.argsort(-truth)))


def test_bootstrap_mean_covers_what_theory_says_and_repeats_by_seed():
    values = np.random.default_rng(4).normal(size=400)
    got = metrics.bootstrap(lambda rows: values[rows].mean(), 400, seed=5)
    half = 1.96 * values.std() / 20
    assert got["mean"] == pytest.approx(values.mean())
    assert got["low"] == pytest.approx(values.mean() - half, abs=0.02)
    assert got["high"] == pytest.approx(values.mean() + half, abs=0.02)
    assert got == metrics.bootstrap(lambda rows: values[rows].mean(), 400, seed=5)


def test_paired_bootstrap_is_narrower_than_the_two_models_apart():
    generator = np.random.default_rng(6)
    first = generator.normal(size=300)
    second = first + 0.1 + generator.normal(scale=0.05, size=300)
    paired = metrics.bootstrap(lambda rows: second[rows].mean() - first[rows].mean(), 300, seed=0)
    alone = metrics.bootstrap(lambda rows: second[rows].mean(), 300, seed=0)
    assert paired["low"] > 0
    assert paired["high"] - paired["low"] < (alone["high"] - alone["low"]) / 5


def test_interval_over_splits_by_hand():
    got = metrics.over_splits([0.7, 0.8, 0.9], test_share=1 / 3)
    half = 4.302652729911275 * 0.1 * math.sqrt(1 / 3 + 1 / 2)  # t(2) at 97.5 %, sd .1
    assert got["mean"] == pytest.approx(0.8)
    assert got["low"] == pytest.approx(0.8 - half)
    assert got["high"] == pytest.approx(0.8 + half)
    assert math.isnan(metrics.over_splits([0.7], test_share=0.5)["low"])
