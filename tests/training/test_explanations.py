"""What the signature `explain` names is what happens when the named event is taken out."""

import numpy as np
import pytest

from tests.training.conftest import HOUR_US, START_US, make_histories, walk

pytestmark = pytest.mark.slow

LATER_US = START_US + 1000 * HOUR_US


@pytest.fixture(scope="module")
def served(encoder):
    from training.recommender import Recommender

    return Recommender(encoder)


def explained(served, histories, items):
    import tensorflow as tf

    from training.served import history_inputs

    inputs = {name: tf.constant(values) for name, values in history_inputs(histories, LATER_US).items()}
    return {name: tensor.numpy() for name, tensor in served.explain(**inputs, item_ids=tf.constant(items)).items()}


def score_of(encoder, histories, item):
    (scores,) = encoder.scores(histories, as_of_us=LATER_US)
    return scores[:, list(encoder.catalogue.item_ids).index(item)]


def left_out(histories, step):
    from training.histories import Histories

    def cut(columns):
        return [np.delete(column, step) for column in columns]

    return Histories(histories.user_ids, cut(histories.item_ids), cut(histories.event_types), cut(histories.times_us))


def test_an_effect_is_what_the_score_loses_without_the_event(served, encoder):
    history = make_histories({"a": walk(0, 5)})
    found = explained(served, history, [["i10", "i03"]])
    for place, item in enumerate(("i10", "i03")):
        whole = score_of(encoder, history, item)[0]
        assert found["scores"][0, place] == pytest.approx(whole, abs=1e-4)
        lost = {history.item_ids[0][step]: whole - score_of(encoder, left_out(history, step), item)[0] for step in range(5)}
        wanted = sorted(((effect, name) for name, effect in lost.items() if effect > 1e-4), reverse=True)
        named = found["driver_item_ids"][0, place]
        assert [name.decode() for name in named if name][: len(wanted)] == [name for _, name in wanted]
        np.testing.assert_allclose(found["driver_effects"][0, place, : len(wanted)], [effect for effect, _ in wanted], atol=1e-3)


def test_taking_out_the_named_event_lowers_the_score_more_than_taking_out_another(served, encoder):
    histories = make_histories({str(start): walk(start, 8) for start in range(24)})
    items = [[f"i{(start + 16) % 24:02d}"] for start in range(24)]
    found = explained(served, histories, items)
    named = [list(row).index(driver.decode()) for row, driver in zip(histories.item_ids, found["driver_item_ids"][:, 0, 0], strict=True)]
    random = np.random.default_rng(0)
    lost = {"named": [], "random": []}
    for user, (item,) in enumerate(items):
        own = histories[[user]]
        for kind, step in (("named", named[user]), ("random", int(random.choice([s for s in range(8) if s != named[user]])))):
            lost[kind].append(score_of(encoder, own, item)[0] - score_of(encoder, left_out(own, step), item)[0])
    assert np.mean(lost["named"]) > 3 * abs(np.mean(lost["random"]))
    assert (np.array(lost["named"]) > np.array(lost["random"])).mean() > 0.9


def test_the_same_question_is_explained_alike_alone_beside_others_and_again(served):
    together = explained(served, make_histories({"a": walk(0, 5), "b": walk(1, 20), "none": []}), [["i10"], ["i17"], ["i01"]])
    alone = explained(served, make_histories({"a": walk(0, 5)}), [["i10"]])
    again = explained(served, make_histories({"a": walk(0, 5)}), [["i10"]])
    assert together["driver_item_ids"][0].tolist() == alone["driver_item_ids"][0].tolist()
    np.testing.assert_allclose(together["driver_effects"][0], alone["driver_effects"][0], atol=1e-4)
    np.testing.assert_array_equal(alone["driver_effects"], again["driver_effects"])


def test_a_user_without_events_and_an_unknown_item_have_no_drivers(served):
    found = explained(served, make_histories({"a": walk(0, 5), "none": []}), [["never heard of"], ["i01"]])
    assert np.isneginf(found["scores"][0, 0])
    assert np.isfinite(found["scores"][1, 0])
    assert set(found["driver_item_ids"].ravel()) == {b""}
    assert not found["driver_effects"].any()


def test_driver_times_and_types_are_those_of_the_events(served):
    history = make_histories({"a": walk(0, 5)})
    found = explained(served, history, [["i10"]])
    for item, kind, time in zip(found["driver_item_ids"][0, 0], found["driver_types"][0, 0], found["driver_times_us"][0, 0], strict=True):
        if item:
            step = list(history.item_ids[0]).index(item.decode())
            assert (kind, time) == (b"view", history.times_us[0][step])
