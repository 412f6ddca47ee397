"""Monitors, fidelity, privacy, verdict: recomputed naively, and asked about generators that cheat."""

import re

import numpy as np
import pandas as pd
import pytest

from training.gan import fidelity as likeness
from training.gan import monitors, privacy, synthesis, utility, verdict
from training.gan.table import Encoded, Layout


def people(rows: int, seed: int) -> pd.DataFrame:
    """Rows of one shape: what is earned follows from age and job, and who is rich from what is earned."""
    random = np.random.default_rng(seed)
    job = random.choice(["clerk", "smith", "judge", "none"], rows, p=[0.4, 0.3, 0.1, 0.2])
    age = random.normal(40, 12, rows).clip(18, 90).round()
    earned = (age * 10 + pd.Series(job).map({"clerk": 100, "smith": 200, "judge": 900, "none": 0}) + random.normal(0, 60, rows)).round(1)
    return pd.DataFrame({"age": age, "job": job, "earned": earned, "town": random.choice(list("abcdef"), rows), "rich": earned > 900})


def test_density_and_coverage_by_hand():
    random = np.random.default_rng(0)
    real, made = random.normal(size=(60, 3)), random.normal(size=(40, 3)) + 0.3
    radius = [sorted(np.linalg.norm(row - other) for place, other in enumerate(real) if place != own)[4] for own, row in enumerate(real)]
    inside = np.array([[np.linalg.norm(row - other) <= ball for other in made] for row, ball in zip(real, radius, strict=True)])
    density, coverage = monitors.density_and_coverage(real, made)
    assert density == pytest.approx(inside.sum() / (5 * 40))
    assert coverage == pytest.approx(inside.any(1).mean())


def test_a_generator_of_one_row_covers_next_to_nothing():
    random = np.random.default_rng(1)
    real = random.normal(size=(400, 4))
    assert monitors.density_and_coverage(real, random.normal(size=(400, 4)))[1] > 0.9
    assert monitors.density_and_coverage(real, np.repeat(real[:1], 400, 0))[1] < 0.05


def test_a_category_that_is_hardly_drawn_is_not_recalled():
    shares = [np.array([0.5, 0.3, 0.2]), np.array([0.995, 0.005])]
    codes = np.column_stack([[0] * 60 + [1] * 36 + [2] * 4, [0] * 100])
    assert monitors.state_recall(shares, Encoded(codes, np.zeros((100, 2)))) == 3 / 4  # .04 < .25 * .2; a state of .005 is not asked for


def test_the_pair_gap_is_the_variation_of_the_shares_of_two_columns():
    layout = Layout((2, 3), (0, 0))
    random = np.random.default_rng(2)
    real, made = (Encoded(np.column_stack([random.integers(0, 2, n), random.integers(0, 3, n)]), np.zeros((n, 2))) for n in (50, 80))
    one, two = (pd.crosstab(rows.codes[:, 0], rows.codes[:, 1], normalize=True).to_numpy() for rows in (real, made))
    assert monitors.pair_gap(real, made, layout) == pytest.approx(np.abs(one - two).sum() / 2)


def test_a_run_has_collapsed_where_rows_or_categories_are_lost():
    fine = {"coverage": 0.8, "category recall": 0.95}
    assert not monitors.has_collapsed(fine)
    assert monitors.has_collapsed({**fine, "coverage": 0.2})
    assert monitors.has_collapsed({**fine, "category recall": 0.5})


def test_marginals_and_pairs_by_scipy_and_pandas():
    from scipy import stats

    real, made = people(700, 1), people(500, 2).assign(town=lambda table: table["town"].where(table["town"] != "a", "b"))
    found = likeness.fidelity(real, made)
    columns = found["marginals"]
    assert columns["age"]["ks"] == pytest.approx(stats.ks_2samp(real["age"], made["age"]).statistic)
    reach = real["age"].max() - real["age"].min()
    both = max(real["age"].max(), made["age"].max()) - min(real["age"].min(), made["age"].min())
    assert columns["age"]["wasserstein"] == pytest.approx(
        stats.wasserstein_distance(real["age"], made["age"]) / reach, rel=both / reach - 1 + 1e-6
    )
    shares = pd.DataFrame({"r": real["town"].value_counts(normalize=True), "m": made["town"].value_counts(normalize=True)}).fillna(0)
    assert columns["town"]["tv"] == pytest.approx((shares["r"] - shares["m"]).abs().sum() / 2)
    gap = abs(stats.spearmanr(real["age"], real["earned"])[0] - stats.spearmanr(made["age"], made["earned"])[0])
    assert found["correlation_gap"] == pytest.approx(gap)
    tables = [pd.crosstab(table["job"], table["town"]) for table in (real, made)]
    cramers = [np.sqrt(stats.chi2_contingency(one, correction=False)[0] / one.to_numpy().sum() / (min(one.shape) - 1)) for one in tables]
    other = [pd.crosstab(table["job"], table["rich"]) for table in (real, made)]
    others = [np.sqrt(stats.chi2_contingency(one, correction=False)[0] / one.to_numpy().sum()) for one in other]
    third = [pd.crosstab(table["town"], table["rich"]) for table in (real, made)]
    thirds = [np.sqrt(stats.chi2_contingency(one, correction=False)[0] / one.to_numpy().sum()) for one in third]
    assert found["cramer_gap"] == pytest.approx(np.mean([abs(one[0] - one[1]) for one in (cramers, others, thirds)]))


def test_a_table_is_exactly_like_itself():
    real = people(300, 1)
    found = likeness.fidelity(real, real)
    assert [found[name] for name in ("tv", "ks", "wasserstein", "pairs_tv", "correlation_gap", "cramer_gap")] == [0] * 6


def test_the_nearest_distance_is_the_least_over_all_rows():
    random = np.random.default_rng(3)
    rows, others = random.normal(size=(30, 4)).astype(np.float32), random.normal(size=(50, 4)).astype(np.float32)
    wanted = [min(np.linalg.norm(row - other) for other in others) for row in rows]
    np.testing.assert_allclose(privacy.nearest(rows, others, block=7), wanted, rtol=1e-3)


def test_rows_one_category_apart_are_one_apart():
    real = pd.DataFrame({"x": np.arange(10.0), "c": list("aabbccddee")})
    vectors = privacy.Metric.of(real).vectors(pd.DataFrame({"x": [4.0, 4.0, 9.0], "c": ["a", "b", "a"]}))
    assert np.linalg.norm(vectors[0] - vectors[1]) == pytest.approx(1)
    assert np.linalg.norm(vectors[0] - vectors[2]) == pytest.approx(0.5)  # ranks .45 and .95


def others_than(learned: pd.DataFrame) -> pd.DataFrame:
    """As many real rows of other people, those left out that happen to be one of `learned`."""
    return people(len(learned), 4)[lambda rows: ~synthesis.copies(rows, synthesis.rare_rows(learned))]


def test_real_rows_of_other_people_may_be_shared():
    learned = people(3000, 5)
    made = verdict.judge_table(others_than(learned), learned, people(3000, 6), 7)
    assert made.sharing.allowed, made.sharing.reasons
    assert made.privacy["membership_auc"]["mean"] == pytest.approx(0.5, abs=0.04)


def test_a_generator_that_memorises_is_refused_for_sharing():
    learned = people(900, 5)
    random = np.random.default_rng(8)
    near = learned.assign(earned=(learned["earned"] + random.normal(0, 0.5, len(learned))).round(1))
    made = verdict.judge_table(near.sample(900, replace=True, random_state=1), learned, people(900, 6), 7)
    assert not made.sharing.allowed
    assert any("nearer to a row it learned from" in reason for reason in made.sharing.reasons)
    assert any("an attack tells who was learned from" in reason for reason in made.sharing.reasons)


def test_one_copied_row_is_refused_unless_five_people_share_it():
    learned, unseen = people(900, 5), people(900, 6)
    made = pd.concat([people(899, 4), learned.iloc[[3]]], ignore_index=True)
    judged = verdict.judge_table(made, learned, unseen, 7)
    assert judged.privacy["copies"] == 1
    assert judged.sharing.reasons[0].startswith("1 rows are copies")
    shared = pd.concat([learned, learned.iloc[[3] * 4]], ignore_index=True)
    judged = verdict.judge_table(made, shared, unseen, 7)
    assert (judged.privacy["copies"], judged.privacy["all_copies"]) == (0, 1)


@pytest.mark.parametrize(
    ("attack", "rows", "why"),
    [
        ({"mean": 0.5, "low": 0.49, "high": 0.51}, 6000, None),
        ({"mean": 0.5, "low": 0.451, "high": 0.549}, 200, None),
        ({"mean": 0.5, "low": 0.45, "high": 0.55}, 200, "not enough to tell: the AUC of an attack .* may be 0.550, and must be below 0.55"),
        ({"mean": 0.6, "low": 0.5, "high": 0.7}, 40, "not enough to tell: 40 rows were never seen, 200 are needed"),
        ({"mean": 0.5, "low": float("nan"), "high": float("nan")}, 200, "not enough to tell: the AUC of an attack"),
        ({"mean": 0.54, "low": 0.53, "high": 0.56}, 6000, "an attack tells who was learned from with AUC 0.540; .5 is no leak"),
    ],
)
def test_a_table_may_be_shared_only_where_it_is_known_not_to_leak(attack: dict, rows: int, why: str | None):
    none = {"mean": 0.0, "low": -0.1, "high": 0.1}
    found = {"copies": 0, "closer_to_learned": {"mean": 0.5, "low": 0.49, "high": 0.51}, "distance_5%_above_real": none}
    said = privacy.leaks(found | {"membership_auc": attack, "rows": rows})
    assert said == [] if why is None else re.match(why, said[0]), said


def test_too_few_unseen_rows_tell_nothing():
    judged = verdict.judge_table(people(900, 4), people(900, 5), people(150, 6), 7)
    assert not judged.sharing.allowed
    assert judged.sharing.reasons[0] == "not enough to tell: 150 rows were never seen, 200 are needed"


def with_addresses(table: pd.DataFrame, house: str) -> pd.DataFrame:
    return table.assign(email=[f"{number}@{house}.example" for number in range(len(table))])


def test_a_column_of_nothing_but_rare_values_is_named_and_hides_no_leak():
    learned, unseen = with_addresses(people(3000, 5), "learned"), with_addresses(people(3000, 6), "unseen")
    judged = verdict.judge_table(others_than(people(3000, 5)).assign(email=None), learned, unseen, 7)
    assert judged.sharing.allowed and judged.to_dict()["unwritten"] == ["email"]
    assert judged.sharing.reasons[-1] == "nothing is written in email: no value stands in 5 rows"
    copied = verdict.judge_table(learned.assign(email=None), learned, unseen, 7)
    assert copied.privacy["copies"] == 3000 and copied.privacy["membership_auc"]["mean"] > 0.9
    drawn = synthesis.synthesis_of(FakeGan(pd.concat([learned, unseen]).assign(email=None)), learned, 3, judged=False).draw(200, 3)
    assert not synthesis.copies(drawn.table, synthesis.rare_rows(learned.assign(email=None))).any()


def test_augmentation_is_refused_unless_the_whole_interval_is_positive():
    def step(low: float) -> dict[str, dict[str, float]]:
        return {"average_precision_lift": {"mean": 0.01, "low": low, "high": 0.02}}

    assert verdict.augmentation(step(0.001)).allowed
    assert not verdict.augmentation(step(-0.001)).allowed
    refused = verdict.augmentation({})
    assert (refused.allowed, refused.reasons) == (False, ("no lift on held-out rows was measured",))


def test_macro_f1_and_auc_by_scikit_learn():
    from sklearn.metrics import f1_score, roc_auc_score

    random = np.random.default_rng(9)
    truth, chance = random.choice(["n", "y"], 200), random.random(200)
    found = utility.scores(truth, np.column_stack([1 - chance, chance]), np.array(["n", "y"]))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, np.where(chance > 0.5, "y", "n"), average="macro"))
    assert found["auc"] == pytest.approx(roc_auc_score(truth == "y", chance))


class FakeGan:
    """A generator that gives out what it is told to."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    def sample_table(self, rows: int, seed: int) -> pd.DataFrame:
        return self.table.sample(rows, replace=True, random_state=seed).reset_index(drop=True)


def test_copies_are_dropped_and_counted_before_a_table_is_given_out():
    learned = people(300, 1)
    gan = FakeGan(pd.concat([learned, people(300, 2)], ignore_index=True))
    drawn = synthesis.Synthesis(gan, synthesis.rare_rows(learned)).draw(500, 3)
    assert len(drawn.table) == 500
    assert drawn.counts["copies_dropped"] > 300
    assert not synthesis.copies(drawn.table, synthesis.rare_rows(learned)).any()


def test_a_generator_of_nothing_but_copies_gives_no_table():
    learned = people(50, 1)
    with pytest.raises(synthesis.CannotDraw, match="gave 0, 120000 were copies of real rows"):
        synthesis.Synthesis(FakeGan(learned), synthesis.rare_rows(learned)).draw(10, 3)


def test_the_judge_brings_drawn_shares_nearer_to_the_real_ones():
    real = people(3000, 1)
    skewed = pd.concat([people(3000, 2), *[people(3000, 3).query("job == 'judge'")] * 4], ignore_index=True)
    judge = synthesis.fit_judge(real, skewed, 4)
    kept = skewed[judge.kept(skewed, np.random.default_rng(5))]
    share = [(table["job"] == "judge").mean() for table in (real, skewed, kept)]
    assert abs(share[2] - share[0]) < abs(share[1] - share[0]) / 3


def test_the_head_draws_the_target_as_often_as_the_real_rows_have_it():
    real = people(3000, 1)
    head = synthesis.fit_head(real, "rich", 2)
    asked = people(3000, 9)
    drawn = head.drawn(asked, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(asked["rich"].mean(), abs=0.02)
    assert (drawn == asked["rich"]).mean() > 0.95
