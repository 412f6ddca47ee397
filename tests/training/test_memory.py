"""What a history recalls: by hand, in the exported graph, and its weights chosen on questions that nobody was fitted on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from tests.training.conftest import HOUR_US, START_US, make_histories, walk
from training.memory import HALF_LIFE, Memory, choose_weights, remembered

pytestmark = pytest.mark.slow


def test_neighbours_are_cosines_of_the_users_who_had_both():
    found = remembered([np.array([0, 1, 1]), np.array([1, 2, -1]), np.array([0, 1])], 3).toarray()
    # item 0 with users 0 and 2, item 1 with all three, item 2 with user 1
    np.testing.assert_allclose(found, [[0, 2 / 6**0.5, 0], [2 / 6**0.5, 0, 1 / 3**0.5], [0, 1 / 3**0.5, 0]], rtol=1e-6)


def test_company_fades_with_the_events_since_and_counts_are_logs():
    neighbours = csr_matrix(np.array([[0, 0.5, 0], [0.5, 0, 0.25], [0, 0.25, 0]], np.float32))
    company, counts = Memory(neighbours, 0.0, 0.0).parts([np.array([0, -1, 1]), np.array([], np.int64)])
    fade = 0.5 ** (np.array([2, 1, 0]) / HALF_LIFE)
    shares = fade / np.sqrt(fade.sum())
    np.testing.assert_allclose(company, [[0.5 * shares[2], 0.5 * shares[0], 0.25 * shares[2]], [0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(counts, [[np.log(2), np.log(2), 0], [0, 0, 0]], rtol=1e-6)


def test_the_counts_weight_is_chosen_first_and_is_zero_where_nothing_repeats():
    def quality(weight: float, own: float) -> float:
        return -10 * abs(own - 2.0) - abs(weight - 4.0 * (own == 2.0))

    assert choose_weights(quality, repeats=True) == (4.0, 2.0)
    assert choose_weights(quality, repeats=False) == (0.0, 0.0)
    assert choose_weights(lambda _weight, _own: 1.0, repeats=True) == (0.0, 0.0)


@pytest.fixture(scope="module")
def recalling(encoder, shop):
    neighbours = remembered([encoder.catalogue.index_of(items) for items in shop.item_ids], len(encoder.catalogue))
    return replace(encoder, memory=Memory(neighbours, 4.0, 0.5))


def test_the_exported_graph_recalls_what_numpy_does(recalling):
    import tensorflow as tf

    from training.recommender import Recommender
    from training.served import history_inputs

    asked = make_histories(
        {"short": walk(3, 2), "longer than the model reads": walk(0, 20), "none": [], "odd": [99, 3], "again": [4, 4, 6]}
    )
    at = START_US + 1000 * HOUR_US
    raw = {name: tf.constant(values) for name, values in history_inputs(asked, at).items()}
    served, items = Recommender(recalling), recalling.catalogue.item_ids
    wanted = next(recalling.scores(asked, as_of_us=at))
    plain = next(replace(recalling, memory=None).scores(asked, as_of_us=at))
    assert np.abs(wanted - plain)[[0, 1, 4]].max() > 0.1

    explained = served.explain(**raw, item_ids=tf.constant([list(items)] * len(asked)))["scores"]
    np.testing.assert_allclose(explained, wanted, rtol=1e-5, atol=1e-5)
    many = {"exclude_item_ids": tf.constant([[""]] * len(asked)), "k": tf.fill([len(asked)], len(items))}
    answer = served.serve(**raw, **many)
    for row in range(len(asked)):
        order = recalling.catalogue.index_of(np.array([name.decode() for name in answer["item_ids"][row].numpy()], object))
        np.testing.assert_allclose(answer["scores"][row], wanted[row][order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("weight", "own_weight"), [(4.0, 1.0), (4.0, 0.0), (0.0, 2.0)])
def test_recalled_items_are_those_to_which_all_items_gives_something(weight, own_weight):
    import tensorflow as tf

    from training.layers import RESERVED
    from training.recall import Recall

    generator = np.random.default_rng(1)
    items = 60
    columns = np.stack([generator.choice(items, 50, replace=False) for _ in range(items)])
    cells = (generator.random(columns.size), (np.repeat(np.arange(items), 50), columns.ravel()))
    recall = Recall(Memory(csr_matrix(cells, shape=(items, items), dtype=np.float32), weight, own_weight))
    events = generator.integers(0, items + RESERVED, (5, 12)).astype(np.int32)
    events[0], events[1, 6:], events[2], events[3, ::2] = 0, 0, RESERVED + 3, RESERVED + 5  # none, few, one item alone, one among others
    wanted = recall.all_items(tf.constant(events)).numpy()
    places, added = (table.numpy() for table in recall.recalled_items(tf.constant(events)))
    found = np.zeros_like(wanted)
    for row in range(len(events)):
        is_item = places[row] >= 0
        assert len(set(places[row][is_item])) == is_item.sum()
        assert not added[row][~is_item].any()
        found[row, places[row][is_item]] = added[row][is_item]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_saved_encoder_recalls_the_same(recalling, tmp_path, shop):
    from training.encoder import TrainedEncoder

    config = replace(recalling.config, memory_weight=4.0, memory_own_weight=0.5)
    replace(recalling, config=config).save(tmp_path / "encoder")
    np.testing.assert_allclose(next(TrainedEncoder.load(tmp_path / "encoder").scores(shop)), next(recalling.scores(shop)), atol=1e-5)


def test_visits_that_are_asked_for_the_weights_teach_nothing_and_neighbours_that_help_get_weight():
    """Users walk within one of many families of items; a vector of two numbers cannot tell the families apart, neighbours can."""
    from training.catalogue import catalogue_from_items
    from training.encoder import train_encoder_network
    from training.encoder_config import EncoderConfig
    from training.splits import hold_out

    random = np.random.default_rng(0)
    histories = make_histories({f"u{user:04d}": list(8 * random.integers(12) + random.permutation(8)) for user in range(1200)})
    rest, asked = hold_out(histories, repeats=False, seed=1)
    assert (rest.lengths == 6).sum() == 120  # each event is a visit of its own here, and two of eight are asked
    assert (rest.lengths == 8).sum() == 1080
    assert len(asked.targets) == 120 * 2
    kept = dict(zip(rest.user_ids, rest.item_ids, strict=True))
    for user, items, times, target, at in zip(
        asked.histories.user_ids, asked.histories.item_ids, asked.histories.times_us, asked.targets, asked.as_of_us, strict=True
    ):
        assert target not in items
        assert target not in kept[user]
        assert at == times[-1] + HOUR_US

    catalogue = catalogue_from_items(None, None, histories.all_item_ids)
    config = EncoderConfig(sequence_length=8, dim=2, heads=1, epochs=1, long_taste=False)
    encoder = train_encoder_network(histories, catalogue, config, seed=1)
    assert encoder.counts.sum() == 8 * 1080 + 6 * 120
    assert encoder.config.memory_weight > 0
    assert encoder.memory is not None


def test_steps_within_a_visit_are_not_asked():
    from training.splits import hold_out

    histories = make_histories({f"u{user:04d}": walk(user, 9) for user in range(1200)})
    minutes = np.array([0, 1, 60, 61, 62, 120, 140, 141, 142]) * 60_000_000  # visits begin at 0, 60, 120 and 140
    histories = replace(histories, times_us=[START_US + minutes for _ in histories.times_us])
    rest, asked = hold_out(histories, repeats=False, seed=1)
    assert len(asked.targets) == 120 * 2
    assert asked.histories.lengths[:2].tolist() == [5, 6]
    assert ((asked.as_of_us - START_US) // 60_000_000)[:2].tolist() == [120, 140]
    assert sorted(set(rest.lengths)) == [5, 9]


def test_too_few_users_are_not_asked():
    from training.splits import hold_out

    histories = make_histories({f"u{user}": walk(user, 9) for user in range(40)})
    rest, asked = hold_out(histories, repeats=False, seed=1)
    assert asked is None
    assert len(rest) == 40
