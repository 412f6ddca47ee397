"""The losses against numbers computed by hand."""

from math import exp, log

import numpy as np
import pytest

from training.encoder_config import EncoderConfig
from training.layers import RESERVED

pytestmark = pytest.mark.slow


def loss_of(config, counts):
    """Of one step: cosines 1 to the true item, 0 and -1 to the next two places; the true item is drawn again."""
    from training.losses import NegativeSampler, NextItemLoss

    states = np.array([[[2.0, 0.0]]], np.float32)
    true, others = np.array([[[3.0, 0.0]]], np.float32), np.array([[0.0, 1.0], [-5.0, 0.0], [1.0, 0.0]], np.float32)
    sampler = NegativeSampler(np.array(counts, float), 1, 1.0, 0)
    layer = NextItemLoss(sampler, config)
    return float(layer(states, true, others, np.array([[RESERVED]], np.int32), RESERVED + np.array([1, 2, 0], np.int32))[0, 0])


def test_the_softmax_is_over_true_and_sampled_items_corrected_by_log_q():
    # logits over temperature .5: 2, 0, -2, each item's weight divided by its share of events
    weights = [exp(2) / 0.5, exp(0) / 0.3, exp(-2) / 0.2]
    assert loss_of(EncoderConfig(temperature=0.5), [5, 3, 2]) == pytest.approx(-log(weights[0] / sum(weights)), rel=1e-5)


def test_gbce_raises_the_true_items_probability_to_the_power_of_beta():
    # three sampled of five others: alpha .6; beta = .6 (t (1 - 1/.6) + 1/.6) with t .75
    beta = 0.6 * (0.75 * (1 - 1 / 0.6) + 1 / 0.6)
    wanted = (beta * log(1 + exp(-2)) + log(1 + exp(0)) + log(1 + exp(-2))) / 4
    assert loss_of(EncoderConfig(temperature=0.5, loss="gbce"), [1] * 6) == pytest.approx(wanted, rel=1e-5)


def test_popularity_is_added_to_the_logits_times_one_learned_number():
    from training.losses import NegativeSampler, NextItemLoss

    layer = NextItemLoss(NegativeSampler(np.array([0.0, 1.0, 7.0]), None, 0.0, 0), EncoderConfig())
    layer.build()
    assert not np.array(layer.bias()).any()
    layer.popularity.assign(0.5)
    logs = np.log([2.0, 8.0])
    np.testing.assert_allclose(np.array(layer.bias()), [*[0] * RESERVED, 0, *(0.5 * (logs - logs.mean()))], rtol=1e-6)


def test_a_full_softmax_tells_the_true_item_from_all_others():
    from training.losses import NegativeSampler

    sampler = NegativeSampler(np.ones(100), None, 0.0, 0)
    assert np.array(sampler(np.zeros(1))).tolist() == list(range(RESERVED, RESERVED + 100))
    assert not sampler.log_q.any()


def test_negatives_of_a_small_catalogue_are_all_of_it_and_of_a_large_one_follow_popularity():
    from training.losses import NegativeSampler

    assert np.array(NegativeSampler(np.zeros(4), 2, 0.0, 0)(np.zeros(1))).tolist() == [RESERVED + item for item in range(4)]
    counts = np.array([900.0] + [1.0] * 99)
    sampler = NegativeSampler(counts, 40, 1.0, 0)
    drawn = np.concatenate([np.array(sampler(np.zeros(1))) for _ in range(50)])
    assert set(drawn) <= set(range(RESERVED, RESERVED + 100))
    assert (drawn == RESERVED).mean() == pytest.approx(900 / 999, abs=0.02)
    assert sampler.log_q[RESERVED] == pytest.approx(log(900 / 999), rel=1e-5)
