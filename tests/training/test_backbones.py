"""Every backbone: no step knows the future, another user or padding; and the numbers of a second, naive way."""

import os
import subprocess
import sys

import numpy as np
import pytest

from settings import ROOT
from training.encoder_config import BACKBONES, EncoderConfig

pytestmark = pytest.mark.slow

KINDS = {
    "plain attention": {"is_gated": False},
    "attention": {},
    "time-aware attention": {"time_aware": True},
    "cnn": {"backbone": "cnn"},
    "lstm": {"backbone": "lstm"},
}


@pytest.fixture(params=KINDS, scope="module")
def block(request):
    """A built block with weights that are all at work."""
    from training.backbones import build_block

    layer = build_block(EncoderConfig(dim=8, heads=2, dropout=0.0, **KINDS[request.param]), seed=1, name="block_1")
    call(layer, states_of(1), [[1] * 6])
    generator = np.random.default_rng(5)
    layer.set_weights([values + generator.normal(scale=0.1, size=values.shape) for values in layer.get_weights()])
    return layer


def states_of(seed):
    return np.random.default_rng(seed).normal(size=(1, 6, 8)).astype(np.float32)


def call(layer, states, segments, gaps=((0, 5, 9, 3, 20, 7),)):
    return np.array(layer(states, np.array(segments, np.int32), np.array(gaps, np.int32)))


def test_a_later_event_changes_no_earlier_state(block):
    states = states_of(0)
    changed = states.copy()
    changed[0, 4:] += 3
    before, after = call(block, states, [[1] * 6]), call(block, changed, [[1] * 6], ((0, 5, 9, 3, 1, 1),))
    np.testing.assert_allclose(before[0, :4], after[0, :4], atol=1e-6)
    assert np.abs(before[0, 4:] - after[0, 4:]).max() > 0.1


def test_an_earlier_event_changes_later_states(block):
    states = states_of(0)
    changed = states.copy()
    changed[0, 3] = states_of(9)[0, 3]
    assert np.abs(call(block, states, [[1] * 6])[0, 5] - call(block, changed, [[1] * 6])[0, 5]).max() > 1e-3


def test_users_packed_into_one_row_do_not_see_each_other(block):
    states = states_of(0)
    packed = call(block, states, [[1, 1, 2, 2, 2, 0]], ((0, 5, 0, 3, 20, 7),))
    alone = call(block, np.roll(states, -2, axis=1), [[1, 1, 1, 0, 0, 0]], ((0, 3, 20, 7, 0, 5),))
    np.testing.assert_allclose(packed[0, 2:5], alone[0, :3], atol=1e-5)


def test_padding_is_ignored_whatever_stands_there(block):
    states = states_of(0)
    filled = states.copy()
    filled[0, 3:] = 100
    short, padded = call(block, states, [[1, 1, 1, 0, 0, 0]]), call(block, filled, [[1, 1, 1, 0, 0, 0]])
    np.testing.assert_allclose(short[0, :3], padded[0, :3], atol=1e-6)


def test_a_step_asked_alone_has_the_state_that_the_whole_row_gives_it(block):
    generator = np.random.default_rng(3)
    states, segments = generator.normal(size=(7, 6, 8)).astype(np.float32), [[1, 1, 2, 2, 2, 0]] * 5 + [[0] * 6, [1] * 6]
    gaps, at = generator.integers(0, 30, (7, 6)), np.array([0, 1, 2, 3, 4, 0, 5], np.int32)
    alone = np.array(block.last(states, np.array(segments, np.int32), np.array(gaps, np.int32), at))
    assert alone.shape == (7, 1, 8)
    np.testing.assert_allclose(alone[:, 0], call(block, states, segments, gaps)[np.arange(7), at], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_state_of_a_network_is_that_of_all_its_states(kind):
    from training.encoder import INPUTS, build_encoder, build_item_encoder
    from training.last_state import last_state

    config = EncoderConfig(dim=8, heads=2, blocks=2, sequence_length=6, **KINDS[kind])
    items = build_item_encoder(config, {"places": 30, "columns": 8, "categories": 2, "brands": 2}, seed=1)
    network = build_encoder(config, items, seed=1)
    generator = np.random.default_rng(4)
    network.set_weights([values + generator.normal(scale=0.1, size=values.shape) for values in network.get_weights()])
    counts = np.array([6, 3, 1])
    is_event = (np.arange(6) < counts[:, None]).astype(np.int32)
    inputs = {name: generator.integers(0, 6, (3, 6)).astype(np.int32) * is_event for name in INPUTS} | {"segments": is_event}
    whole = np.array(network(inputs))[np.arange(3), counts - 1]
    at = (counts - 1).astype(np.int32)
    np.testing.assert_allclose(
        np.array(last_state(network.get_layer("body"), config, inputs, items(inputs["items"]), at)), whole, atol=1e-5
    )


def test_a_config_round_trip_gives_the_same_numbers(block):
    copy = type(block).from_config(block.get_config())
    call(copy, states_of(1), [[1] * 6])
    copy.set_weights(block.get_weights())
    np.testing.assert_array_equal(call(copy, states_of(0), [[1] * 6]), call(block, states_of(0), [[1] * 6]))


def test_attention_equals_a_loop_over_heads_and_steps():
    from training.backbones import GatedAttention

    block = GatedAttention(dim=8, heads=2, dropout=0.0, is_gated=False, seed=1)
    states = states_of(0)
    call(block, states, [[1] * 6])
    block.feed.narrow.kernel.assign(np.zeros((16, 8)))  # leaves attention alone
    result = call(block, states, [[1] * 6])
    normed = (states[0] - states[0].mean(1, keepdims=True)) / np.sqrt(states[0].var(1, keepdims=True) + 1e-6)
    qkv = normed @ np.array(block.to_qkv.kernel)
    mixed = np.zeros((6, 8))
    for head in range(2):
        query, key, value = (qkv[:, part * 8 + head * 4 : part * 8 + head * 4 + 4] for part in range(3))
        for step in range(6):
            weights = np.exp(key[: step + 1] @ query[step] / 2)
            mixed[step, head * 4 : head * 4 + 4] = (weights / weights.sum()) @ value[: step + 1]
    np.testing.assert_allclose(result[0], states[0] + mixed @ np.array(block.from_heads.kernel), atol=1e-4)


def test_gates_scale_what_a_branch_adds():
    from training.backbones import GatedAttention

    gated = GatedAttention(dim=8, heads=2, dropout=0.0, is_gated=True, seed=1)
    plain = GatedAttention(dim=8, heads=2, dropout=0.0, is_gated=False, seed=1)
    states = states_of(0)
    for block in (gated, plain):
        call(block, states, [[1] * 6])
        block.feed.narrow.kernel.assign(np.zeros((16, 8)))
    gated.gates[0].kernel.assign(np.zeros((8, 8)))
    gated.gates[0].bias.assign(np.full(8, np.log(3.0)))  # sigmoid .75
    added = call(plain, states, [[1] * 6]) - states
    np.testing.assert_allclose(call(gated, states, [[1] * 6]), states + 0.75 * added, atol=1e-5)


def test_elapsed_time_is_summed_over_the_steps_between():
    from training.backbones import elapsed

    # gaps of 1, 4 and 16 seconds are buckets 2, 4 and 6; ceil(log2(1 + seconds)) of 1, 4, 5, 16, 20, 21
    found = np.array(elapsed(np.array([[0, 2, 4, 6]], np.int32)))[0]
    np.testing.assert_array_equal(found, [[0, 0, 0, 0], [1, 0, 0, 0], [3, 3, 0, 0], [5, 5, 5, 0]])


def test_a_convolution_equals_a_loop_over_its_taps():
    from training.backbones import CausalConvolution

    block = CausalConvolution(dim=8, kernel=2, dilation=2, dropout=0.0, seed=1)
    states = states_of(0)
    call(block, states, [[1] * 6])
    block.feed.narrow.kernel.assign(np.zeros((16, 8)))
    normed = (states[0] - states[0].mean(1, keepdims=True)) / np.sqrt(states[0].var(1, keepdims=True) + 1e-6)
    kernel, mix = np.array(block.convolve.kernel), np.array(block.mix.kernel)
    wanted = []
    for step in range(6):
        back = normed[step - 2] if step >= 2 else np.zeros(8)
        both = np.concatenate([normed[step], back]) @ kernel
        wanted.append(states[0, step] + (np.tanh(both[:8]) / (1 + np.exp(-both[8:]))) @ mix)
    np.testing.assert_allclose(call(block, states, [[1] * 6])[0], wanted, atol=1e-4)


def test_the_lasting_taste_is_a_map_of_the_items_so_far_of_the_own_segment():
    from training.backbones import LongTaste

    layer = LongTaste(dim=8, dropout=0.0, seed=1)
    states, vectors, segments = states_of(0), states_of(2), np.array([[1, 1, 2, 2, 2, 0]], np.int32)
    found = np.array(layer(states, vectors, segments))[0]
    kernel = np.array(layer.mix.kernel)
    for step, so_far in ((0, [0]), (1, [0, 1]), (2, [2]), (4, [2, 3, 4])):
        wanted = states[0, step] + vectors[0, so_far].sum(0) / np.sqrt(len(so_far)) @ kernel
        np.testing.assert_allclose(found[step], wanted, atol=1e-5)
    copy = LongTaste.from_config(layer.get_config())
    copy(states, vectors, segments)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.array(copy(states, vectors, segments))[0], found)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def test_the_lstm_equals_a_loop_and_forgets_at_a_new_segment():
    import keras

    from training.backbones import LstmCell

    layer = keras.layers.RNN(LstmCell(2, 3), return_sequences=True)
    inputs = np.random.default_rng(0).normal(size=(1, 4, 9)).astype(np.float32)
    inputs[0, :, 8] = [0, 1, 0, 1]
    result = np.array(layer(inputs))[0]
    recurrent = np.array(layer.cell.recurrent)
    hidden = memory = np.zeros(2)
    for step in range(4):
        hidden, memory = hidden * inputs[0, step, 8], memory * inputs[0, step, 8]
        into, forget, new, out = np.split(inputs[0, step, :8] + hidden @ recurrent, 4)
        memory = sigmoid(forget + 1) * memory + sigmoid(into) * np.tanh(new)
        hidden = sigmoid(out) * np.tanh(memory)
        np.testing.assert_allclose(result[step], hidden, atol=1e-6)


def test_an_irrelevant_step_leaves_the_evolving_interest_alone():
    import keras

    from training.backbones import AttentionUpdatedGruCell

    layer = keras.layers.RNN(AttentionUpdatedGruCell(2, 3), return_sequences=True)
    inputs = np.random.default_rng(0).normal(size=(1, 3, 8)).astype(np.float32)
    inputs[0, :, 7] = [0, 1, 1]
    inputs[0, :, 6] = [1, 0, 0.5]
    result = np.array(layer(inputs))[0]
    np.testing.assert_array_equal(result[1], result[0])
    gates, new = inputs[0, 2, :4] + result[1] @ np.array(layer.cell.to_gates), inputs[0, 2, 4:6]
    update, reset = sigmoid(gates[:2]) * 0.5, sigmoid(gates[2:])
    wanted = (1 - update) * result[1] + update * np.tanh(new + (result[1] * reset) @ np.array(layer.cell.to_new))
    np.testing.assert_allclose(result[2], wanted, atol=1e-6)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_every_backbone_learns_on_both_backends(backend):
    pytest.importorskip(backend)
    script = f"""
import numpy as np
from tests.training.conftest import make_histories, walk
from training.catalogue import catalogue_from_items
from training.encoder import train_encoder_network
from training.encoder_config import EncoderConfig
histories = make_histories({{f"u{{user}}": walk(user, 6) for user in range(24)}})
catalogue = catalogue_from_items(None, None, histories.all_item_ids)
for backbone in {BACKBONES}:
    config = EncoderConfig(backbone=backbone, sequence_length=8, dim=8, epochs=10, batch_rows=4, learning_rate=0.02)
    curve = train_encoder_network(histories, catalogue, config, seed=1).curves["loss"]
    import keras
    print(keras.backend.backend(), backbone, curve[-1] < 0.8 * curve[0])
"""
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.stdout.split("\n")[-4:-1] == [f"{backend} {backbone} True" for backbone in BACKBONES], done.stderr[-2000:]
