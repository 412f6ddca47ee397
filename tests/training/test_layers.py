"""The encoder's layers against numbers computed by hand or a second, naive way."""

import numpy as np
import pytest

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


def test_an_item_encoder_makes_the_same_numbers_after_a_round_trip_of_its_config(parts):
    from training.layers import ItemEncoder

    copy = ItemEncoder.from_config(parts.get_config())
    copy.build(None)
    copy.set_weights(parts.get_weights())
    np.testing.assert_array_equal(np.array(copy(np.array([2, 3, 4]))), np.array(parts(np.array([2, 3, 4]))))


def test_numbers_are_standardised_logs_beside_whether_they_are_known():
    from training.numbers import NumberEncoder

    layer = NumberEncoder(2)
    layer.adapt(np.array([[0.0, np.nan], [np.e - 1, np.nan]]))  # logs 0 and 1: mean .5, spread .5
    found = np.array(layer(np.array([[np.e - 1, 7.0], [np.nan, np.nan], [-(np.e - 1), 0.0]], np.float32)))
    np.testing.assert_allclose(found, [[1, np.log(8), 1, 1], [0, 0, 0, 0], [-3, 0, 1, 1]], atol=1e-5)
