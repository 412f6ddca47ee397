"""Interests over time, by hand on a shop of two categories."""

from math import lgamma

import numpy as np
import pytest

from tests.training.conftest import START_US, make_histories, walk

pytestmark = pytest.mark.slow

DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def interests(encoder):
    from training.interests import Interests
    from training.raw_history import HistoryReader

    return Interests(encoder), HistoryReader(encoder)


def read(interests, rows, days, at_day):
    """A history of items `rows` on `days` after the start, as of the start of `at_day`."""
    import tensorflow as tf

    from training.served import history_inputs

    histories = make_histories({"a": rows})
    histories.times_us[0] = START_US + DAY_US * np.array(days, np.int64)
    inputs = {name: tf.constant(values) for name, values in history_inputs(histories, START_US + at_day * DAY_US).items()}
    return interests[1].read(**inputs), inputs["as_of_us"], histories


def test_interests_are_half_expectation_and_half_weighted_counts(interests, encoder):
    history, as_of, _ = read(interests, [0, 2, 1], [0, 20, 38], 40)  # categories even, even, odd
    found = interests[0].at(history, interests[1].states_of(history), as_of).numpy()[0]
    weights = np.exp2(-np.array([40, 20, 2]) / 20.0)
    usual = interests[0].usual.numpy()
    counts = np.array([weights[0] + weights[1], weights[2]]) + 2 * usual
    states = interests[1].states_of(history).numpy()[0, :3]
    vector = (states * weights[:, None]).sum(0)
    vector /= np.linalg.norm(vector)
    logits = encoder.vectors_of_items @ vector / encoder.config.temperature + encoder.item_bias
    chances = np.exp(logits - logits.max())
    top = encoder.catalogue.top_category
    expected = np.array([chances[top == "even"].sum(), chances[top == "odd"].sum()])
    np.testing.assert_allclose(found, 0.5 * expected / expected.sum() + 0.5 * counts / counts.sum(), atol=1e-5)


def test_a_month_ago_knows_only_the_events_of_then(interests):
    history, as_of, _ = read(interests, [0, 2, 4, 1, 3], [1, 2, 3, 50, 51], 52)
    found = {name: tensor.numpy()[0] for name, tensor in interests[0].outputs(history, interests[1].states_of(history), as_of).items()}
    alone, _, _ = read(interests, [0, 2, 4], [1, 2, 3], 22)
    before = interests[0].at(alone, interests[1].states_of(alone), as_of - 30 * DAY_US).numpy()[0]
    assert [name.decode() for name in found["interest_categories"]] == ["odd", "even"]
    np.testing.assert_allclose(found["interest_shares_30d_ago"][::-1], before, atol=1e-3)  # but for when the next event came
    np.testing.assert_allclose(found["interest_changes"], found["interest_shares"] - found["interest_shares_30d_ago"], atol=1e-6)
    young, as_of, _ = read(interests, [0, 2], [1, 2], 3)
    outputs = interests[0].outputs(young, interests[1].states_of(young), as_of)
    assert np.isnan(outputs["interest_shares_30d_ago"].numpy()).all()


def likelihood(counts, prior):
    counts = np.asarray(counts, float)
    whole = lgamma(prior.sum()) - lgamma(prior.sum() + counts.sum())
    return whole + sum(lgamma(p + n) - lgamma(p) for p, n in zip(prior, counts, strict=True))


def test_evidence_of_a_break_is_the_mean_bayes_factor_over_the_moments(interests):
    """Four days of even, then two of odd; two odd events on one day count once."""
    history, as_of, _ = read(interests, [0, 2, 4, 6, 1, 3, 5], [1, 2, 3, 20, 40, 40.1, 41], 42)
    prior = 4.0 * interests[0].usual.numpy().astype(float)
    total = np.array([4, 2])
    factors = []
    for before in ([3, 0], [4, 0], [4, 1], [4, 1]):  # splits with the next event in the last 30 days, at least three events before
        after = total - before
        factors.append(likelihood(before, prior) + likelihood(after, prior) - likelihood(total, prior))
    wanted = np.log(np.mean(np.exp(factors)))
    assert interests[0].evidence(history, as_of).numpy()[0] == pytest.approx(wanted, abs=1e-4)
    assert wanted > 0
    steady, as_of, _ = read(interests, [0, 2, 4, 6, 8, 10], [1, 2, 3, 20, 40, 41], 42)
    assert interests[0].evidence(steady, as_of).numpy()[0] < 0


def test_without_moments_there_is_no_evidence_and_no_alarm(interests):
    history, as_of, _ = read(interests, walk(0, 2), [1, 2], 3)
    assert interests[0].evidence(history, as_of).numpy()[0] == 0
    assert interests[0].outputs(history, interests[1].states_of(history), as_of)["interest_alarm"].numpy().tolist() == [0]
