"""The encoder's layers against numbers computed by hand or a second, naive way."""

import os
import subprocess
import sys
from math import exp, log

import numpy as np
import pytest

from settings import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts():
    from training.catalogue import ItemContent
    from training.layers import ItemEncoder, content_table

    content = ItemContent(np.array([[2.0], [0.0], [1.0]], np.float32), np.array([[1, 0, 0], [1, 2, 0], [0, 0, 0]]), np.array([1, 0, 0]))
    table = content_table(content, is_seen=np.array([True, True, False]))
    layer = ItemEncoder(len(table), table.shape[1], 3, 2, dim=2, id_dropout=0.0, seed=0, table=table)
    layer.build(None)
    layer.id_embedding.assign([[9, 9], [0.5, 0.5], [1, 2], [3, 4], [100, 100]])
    layer.category_embedding.assign([[50, 50], [10, 0], [0, 10]])
    layer.brand_embedding.assign([[70, 70], [0.25, 0.25]])
    layer.dense_kernel.assign([[1, -1]])
    return layer


def test_an_item_is_the_sum_of_id_categories_brand_and_content(parts):
    vectors = np.array(parts(np.array([2, 3], np.int32)))
    # place 2: id (1, 2) + category 1 (10, 0) + brand 1 (.25, .25) + 2 * (1, -1); place 3: id (3, 4) + categories (10, 0) and (0, 10)
    np.testing.assert_allclose(vectors, [[13.25, 0.25], [13.0, 14.0]])


def test_padding_is_zero_and_an_item_never_seen_has_the_unknown_id_beside_its_content(parts):
    vectors = np.array(parts(np.array([0, 1, 4], np.int32)))
    np.testing.assert_allclose(vectors, [[0, 0], [0.5, 0.5], [1.5, -0.5]])


def test_the_loss_is_softmax_over_true_and_sampled_items_corrected_by_log_q():
    from training.sampled_softmax import sampled_softmax_loss

    states = np.array([[[2.0, 0.0]]], np.float32)  # cosines: 1 to the true item, 0 and -1 to the others
    true, others = np.array([[[3.0, 0.0]]], np.float32), np.array([[0.0, 1.0], [-5.0, 0.0], [1.0, 0.0]], np.float32)
    log_q = np.log(np.array([1, 1, 0.5, 0.25, 0.2], np.float32))
    loss = sampled_softmax_loss(states, true, others, np.array([[2]], np.int32), np.array([3, 4, 2], np.int32), log_q, 0.5)
    # logits over temperature .5: 2, 0, -2; the third sampled item is the true one and is left out
    weights = [exp(2) / 0.5, exp(0) / 0.25, exp(-2) / 0.2]
    assert float(loss[0, 0]) == pytest.approx(-log(weights[0] / sum(weights)), rel=1e-5)


def test_negatives_of_a_small_catalogue_are_all_of_it_and_of_a_large_one_follow_popularity():
    from training.sampled_softmax import NegativeSampler

    assert np.array(NegativeSampler(np.zeros(4), 2, 0.0, 0)(np.zeros(1))).tolist() == [2, 3, 4, 5]
    counts = np.array([900.0] + [1.0] * 99)
    sampler = NegativeSampler(counts, 40, 1.0, 0)
    drawn = np.concatenate([np.array(sampler(np.zeros(1))) for _ in range(50)])
    assert set(drawn) <= set(range(2, 102))
    assert (drawn == 2).mean() == pytest.approx(900 / 999, abs=0.02)
    assert sampler.log_q[2] == pytest.approx(log(900 / 999), rel=1e-5)


def block_and_states():
    import keras

    from training.layers import CausalBlock

    keras.utils.set_random_seed(0)
    return CausalBlock(dim=8, heads=2, dropout=0.0, seed=1), np.random.default_rng(0).normal(size=(1, 6, 8)).astype(np.float32)


def test_a_later_event_changes_no_earlier_state():
    block, states = block_and_states()
    segments = np.ones((1, 6), np.int32)
    changed = states.copy()
    changed[0, 4:] += 3
    before, after = np.array(block(states, segments)), np.array(block(changed, segments))
    np.testing.assert_array_equal(before[0, :4], after[0, :4])
    assert np.abs(before[0, 4:] - after[0, 4:]).max() > 0.1


def test_users_packed_into_one_row_do_not_see_each_other():
    block, states = block_and_states()
    packed = np.array(block(states, np.array([[1, 1, 2, 2, 2, 0]], np.int32)))
    alone = np.array(block(np.roll(states, -2, axis=1), np.array([[1, 1, 1, 0, 0, 0]], np.int32)))
    np.testing.assert_allclose(packed[0, 2:5], alone[0, :3], atol=1e-6)


def test_attention_equals_a_loop_over_heads_and_steps():
    block, states = block_and_states()
    block(states, np.ones((1, 6), np.int32))
    block.narrow.kernel.assign(np.zeros((32, 8)))  # leaves attention alone
    result = np.array(block(states, np.ones((1, 6), np.int32)))
    normed = (states[0] - states[0].mean(1, keepdims=True)) / np.sqrt(states[0].var(1, keepdims=True) + 1e-6)
    qkv = normed @ np.array(block.to_qkv.kernel)
    mixed = np.zeros((6, 8))
    for head in range(2):
        query, key, value = (qkv[:, part * 8 + head * 4 : part * 8 + head * 4 + 4] for part in range(3))
        for step in range(6):
            weights = np.exp(key[: step + 1] @ query[step] / 2)
            mixed[step, head * 4 : head * 4 + 4] = (weights / weights.sum()) @ value[: step + 1]
    np.testing.assert_allclose(result[0], states[0] + mixed @ np.array(block.from_heads.kernel), atol=1e-4)


def test_layers_make_the_same_numbers_after_a_round_trip_of_their_config(parts):
    from training.layers import CausalBlock, ItemEncoder

    copy = ItemEncoder.from_config(parts.get_config())
    copy.build(None)
    copy.set_weights(parts.get_weights())
    np.testing.assert_array_equal(np.array(copy(np.array([2, 3, 4]))), np.array(parts(np.array([2, 3, 4]))))
    block, states = block_and_states()
    again = CausalBlock.from_config(block.get_config())
    segments = np.ones((1, 6), np.int32)
    np.testing.assert_array_equal(np.array(again(states, segments)), np.array(block(states, segments)))


def test_numbers_are_standardised_logs_beside_whether_they_are_known():
    from training.numbers import NumberEncoder

    layer = NumberEncoder(2)
    layer.adapt(np.array([[0.0, np.nan], [np.e - 1, np.nan]]))  # logs 0 and 1: mean .5, spread .5
    found = np.array(layer(np.array([[np.e - 1, 7.0], [np.nan, np.nan], [-(np.e - 1), 0.0]], np.float32)))
    np.testing.assert_allclose(found, [[1, np.log(8), 1, 1], [0, 0, 0, 0], [-3, 0, 1, 1]], atol=1e-5)


def test_the_same_network_trains_on_the_jax_backend():
    pytest.importorskip("jax")
    script = """
import numpy as np
from tests.training.conftest import make_histories, walk
from training.catalogue import catalogue_from_items
from training.encoder import train_encoder_network
from training.encoder_config import EncoderConfig
histories = make_histories({f"u{user}": walk(user, 6) for user in range(24)})
config = EncoderConfig(sequence_length=8, dim=8, text_dim=4, epochs=6, batch_rows=4, learning_rate=0.01)
encoder = train_encoder_network(histories, catalogue_from_items(None, None, histories.all_item_ids), config, seed=1)
import keras
print(keras.backend.backend(), encoder.curves["loss"][0] > encoder.curves["loss"][-1] )
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.stdout.split("\n")[-2] == "jax True", done.stderr[-2000:]
