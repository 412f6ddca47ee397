"""The encoder's layers against numbers computed by hand or a second, naive way."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settings import ROOT
from training.hashing import buckets_of
from training.layers import RESERVED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts():
    from training.catalogue import ItemContent
    from training.layers import ItemEncoder, content_table

    content = ItemContent(np.array([[2.0], [0.0], [1.0]], np.float32), np.array([[1, 0, 0], [1, 2, 0], [0, 0, 0]]), np.array([1, 0, 0]))
    table = content_table(content, is_seen=np.array([True, True, False]), unknown=np.array([1, 2, 2]))
    layer = ItemEncoder(len(table), table.shape[1], 3, 2, dim=2, id_dropout=0.0, seed=0, table=table)
    layer.build(None)
    ids = np.full((len(table), 2), 100.0)
    ids[1], ids[2], ids[RESERVED], ids[RESERVED + 1] = (0.5, 0.5), (0.0, 7.0), (1, 2), (3, 4)
    layer.id_embedding.assign(ids)
    layer.category_embedding.assign([[50, 50], [10, 0], [0, 10]])
    layer.brand_embedding.assign([[70, 70], [0.25, 0.25]])
    layer.dense_kernel.assign([[1, -1]])
    return layer


def test_an_item_is_the_sum_of_id_categories_brand_and_content(parts):
    vectors = np.array(parts(np.array([RESERVED, RESERVED + 1], np.int32)))
    # first: id (1, 2) + category 1 (10, 0) + brand 1 (.25, .25) + 2 * (1, -1); second: id (3, 4) + categories (10, 0) and (0, 10)
    np.testing.assert_allclose(vectors, [[13.25, 0.25], [13.0, 14.0]])


def test_padding_is_zero_and_an_item_never_seen_has_its_buckets_id_beside_its_content(parts):
    vectors = np.array(parts(np.array([0, 1, RESERVED + 2], np.int32)))
    np.testing.assert_allclose(vectors, [[0, 0], [0.5, 0.5], [1.0, 6.0]])


def test_a_share_of_the_items_is_seen_by_its_bucket_while_learning(parts):
    from training.layers import ItemEncoder

    layer = ItemEncoder.from_config(parts.get_config() | {"id_dropout": 0.3})
    layer.build(None)
    layer.set_weights(parts.get_weights())
    vectors = np.array(layer(np.full(4000, RESERVED, np.int32), training=True))
    # the first item with its own id (1, 2) or its bucket's (.5, .5)
    is_dropped = np.isclose(vectors[:, 0], 12.75)
    assert np.isclose(vectors[~is_dropped, 0], 13.25).all()
    assert is_dropped.mean() == pytest.approx(0.3, abs=0.03)


def test_an_item_encoder_makes_the_same_numbers_after_a_round_trip_of_its_config(parts):
    from training.layers import ItemEncoder

    copy = ItemEncoder.from_config(parts.get_config())
    copy.build(None)
    copy.set_weights(parts.get_weights())
    places = np.array([1, RESERVED, RESERVED + 1, RESERVED + 2])
    np.testing.assert_array_equal(np.array(copy(places)), np.array(parts(places)))


def test_all_items_at_once_are_what_each_is_alone(parts):
    from training.layers import ItemTable

    table = np.array(ItemTable(parts)(np.zeros(1)))
    np.testing.assert_array_equal(table, np.array(parts(np.arange(parts.places, dtype=np.int32))))


def test_step_numbers_add_up_one_learned_vector_each():
    from training.layers import StepEncoder

    layer = StepEncoder([2, 3], dim=2, seed=0)
    layer.build(None)
    layer.table.assign([[1, 0], [2, 0], [0, 10], [0, 20], [0, 30]])
    found = np.array(layer([np.array([[0, 1]], np.int32), np.array([[2, 0]], np.int32)]))
    np.testing.assert_array_equal(found, [[[1, 30], [2, 10]]])
    copy = StepEncoder.from_config(layer.get_config())
    copy.build(None)
    assert copy.table.shape == (5, 2)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_the_graph_puts_ids_into_the_buckets_of_the_training_rows(ids):
    import tensorflow as tf

    from training.hashing import KEY

    signed = [key - (1 << 64) if key >> 63 else key for key in KEY]
    assert buckets_of(ids, 16).tolist() == tf.strings.to_hash_bucket_strong(ids, 16, signed).numpy().tolist()


def test_numbers_are_standardised_logs_beside_whether_they_are_known():
    from training.numbers import NumberEncoder

    layer = NumberEncoder(2)
    layer.adapt(np.array([[0.0, np.nan], [np.e - 1, np.nan]]))  # logs 0 and 1: mean .5, spread .5
    found = np.array(layer(np.array([[np.e - 1, 7.0], [np.nan, np.nan], [-(np.e - 1), 0.0]], np.float32)))
    np.testing.assert_allclose(found, [[1, np.log(8), 1, 1], [0, 0, 0, 0], [-3, 0, 1, 1]], atol=1e-5)


def test_layers_and_losses_by_hand_hold_on_jax_too():
    files = [str(Path(__file__)), str(Path(__file__).with_name("test_losses.py"))]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    asked = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-k", "not on_jax_too", "-rA", *files]
    done = subprocess.run(asked, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-2000:]
    assert done.stdout.count("\nPASSED ") >= 12
