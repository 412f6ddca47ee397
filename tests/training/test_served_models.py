"""The exported models: their signatures, and the same numbers as the Keras networks they were made from."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.training.conftest import HOUR_US, START_US, make_histories, walk
from training.signatures import (
    GOLDEN_FILE,
    ITEM_IDS_FILE,
    ITEM_VECTORS_FILE,
    PORTRAIT,
    PROVENANCE_FILE,
    RECOMMENDER,
    USER_FEATURES,
    WARMUP_FILE,
)

pytestmark = pytest.mark.slow

LATER_US = START_US + 1000 * HOUR_US
ASKED = {"short": walk(3, 2), "longer than the model reads": walk(0, 20), "none": [], "odd": [99], "middle": walk(5, 6)}


def raw(histories, as_of_us=LATER_US):
    from training.served import history_inputs

    return history_inputs(histories, as_of_us)


def with_rules(inputs, exclude=(), k=3):
    users = len(inputs["as_of_us"])
    return inputs | {"exclude_item_ids": np.array([[*exclude, ""]] * users, object), "k": np.full(users, k, np.int32)}


@pytest.fixture(scope="module")
def recommender(encoder, tmp_path_factory):
    from training.export import export_model
    from training.recommender import Recommender
    from training.served import SavedPredictor

    path = tmp_path_factory.mktemp("recommender")
    served = Recommender(encoder)
    golden = with_rules(raw(make_histories({"a": walk(0, 3), "b": walk(1, 2), "c": []})))
    provenance = {"encoder_version": "e1", "seed": 3}
    export_model(
        served, served.serve, RECOMMENDER, path, explain=served.explain, retrieve=served.retrieve, golden=golden, provenance=provenance
    )
    served.write_item_vectors(path, above=0)
    return path, SavedPredictor(path)


def signature_of(path, name="serving_default") -> tuple[dict, dict]:
    """Names, dtypes and ranks as the file says, read without the code that wrote it."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.dtypes import as_dtype

    saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def[name]
    inputs = {name: (as_dtype(info.dtype).name, len(info.tensor_shape.dim)) for name, info in signature.inputs.items()}
    return inputs, {name: as_dtype(info.dtype).name for name, info in signature.outputs.items()}


def declared(inputs, outputs) -> tuple[dict, dict]:
    return {tensor.name: (tensor.dtype, len(tensor.dims)) for tensor in inputs}, {tensor.name: tensor.dtype for tensor in outputs}


def test_the_exported_recommender_has_the_declared_signature(recommender):
    assert signature_of(recommender[0]) == declared(RECOMMENDER.inputs, RECOMMENDER.outputs)
    assert signature_of(recommender[0], "explain") == declared(RECOMMENDER.explain_inputs, RECOMMENDER.explain_outputs)
    assert signature_of(recommender[0], "retrieve") == declared(RECOMMENDER.retrieve_inputs, RECOMMENDER.retrieve_outputs)


def test_item_vectors_and_what_is_recalled_give_the_served_scores_outside_the_model(recommender):
    path, predict = recommender
    inputs = raw(make_histories({"a": walk(0, 4), "b": walk(5, 6)}))
    rows = np.load(path / ITEM_VECTORS_FILE)
    item_ids = json.loads((path / ITEM_IDS_FILE).read_text())
    found = predict.asked_by("retrieve")(inputs)
    scores = found["vector"] @ rows.T
    for user, (names, values) in enumerate(zip(found["recalled_item_ids"], found["recalled"], strict=True)):
        recalled = {name: value for name, value in zip(names, values, strict=True) if name}
        scores[user] += [recalled.get(item, 0.0) for item in item_ids]
    answer = predict(with_rules(inputs, k=25))
    for user in range(2):
        by_id = dict(zip(item_ids, scores[user], strict=True))
        np.testing.assert_allclose(answer["scores"][user], [by_id[item] for item in answer["item_ids"][user]], rtol=1e-4, atol=1e-4)


def test_a_small_catalogue_keeps_no_vectors_beside_the_model(encoder, tmp_path):
    from training.recommender import Recommender

    Recommender(encoder).write_item_vectors(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_exported_recommender_scores_as_the_keras_network(recommender, encoder):
    histories = make_histories(ASKED)
    answer = recommender[1](with_rules(raw(histories), k=25))
    (scores,) = encoder.scores(histories, as_of_us=LATER_US)
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_allclose(answer["scores"], np.take_along_axis(scores, order, 1), rtol=1e-5, atol=1e-5)
    for user in (0, 1, 4):
        assert answer["item_ids"][user].tolist() == encoder.catalogue.item_ids[order[user]].tolist()


def test_excluded_items_never_come_back_and_unknown_ids_exclude_nothing(recommender):
    inputs = raw(make_histories({"a": walk(0, 4)}))
    (first, second, *_) = recommender[1](with_rules(inputs, k=5))["item_ids"][0]
    left = recommender[1](with_rules(inputs, [first, "unheard of"], k=5))["item_ids"][0]
    assert first not in left
    assert left[0] == second


def test_k_is_the_longest_asked_for_and_blanks_stand_where_nothing_is_left(recommender, encoder):
    inputs = with_rules(raw(make_histories({"a": walk(0, 4), "b": walk(1, 4)})), list(encoder.catalogue.item_ids[:23]), k=1)
    inputs["k"] = np.array([1, 4], np.int32)
    answer = recommender[1](inputs)
    assert answer["item_ids"].shape == (2, 4)
    assert set(answer["item_ids"][0][:2]) == {"i23", "never_sold"}
    assert answer["item_ids"][0][2:].tolist() == ["", ""]
    assert np.isneginf(answer["scores"][:, 2:]).all()
    more = recommender[1](with_rules(raw(make_histories({"a": []})), k=40))
    assert more["item_ids"].shape == (1, 40)
    assert more["item_ids"][0][25:].tolist() == [""] * 15


def test_an_empty_history_gets_the_most_popular_items(recommender, encoder):
    answer = recommender[1](with_rules(raw(make_histories({"none": []})), k=3))
    popular = encoder.catalogue.item_ids[np.argsort(-encoder.counts, kind="stable")[:3]]
    assert answer["item_ids"][0].tolist() == popular.tolist()


def test_padding_may_stand_anywhere_and_events_after_the_question_are_ignored(recommender):
    plain = raw(make_histories({"a": walk(0, 4)}))
    spread = {
        "event_item_ids": np.array([["", "i00", "", "i02", "i04", "i06", "i01", ""]], object),
        "event_types": np.array([["", "view", "view", "view", "view", "view", "view", ""]], object),
        "event_times_us": np.array([[0, 0, 99, 1, 2, 3, 5000, 0]]) * HOUR_US + np.array([[0, 1, 0, 1, 1, 1, 1, 0]]) * START_US,
        "as_of_us": plain["as_of_us"],
    }
    np.testing.assert_allclose(recommender[1](with_rules(spread))["scores"], recommender[1](with_rules(plain))["scores"], atol=1e-6)


def test_golden_requests_warm_up_records_and_provenance_stand_beside_the_model(recommender):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path, ask = recommender
    golden = json.loads((path / GOLDEN_FILE).read_text())
    answer = ask(
        {name: np.array(values, dtype=object if name.endswith(("ids", "types")) else None) for name, values in golden["inputs"].items()}
    )
    assert answer["item_ids"].tolist() == golden["outputs"]["item_ids"]
    np.testing.assert_allclose(answer["scores"], golden["outputs"]["scores"], rtol=1e-6)
    assert len(answer["item_ids"]) == 3
    records = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path / WARMUP_FILE))]
    requests = [record.predict_log.request for record in records]
    assert [request.inputs["k"].tensor_shape.dim[0].size for request in requests] == [1, 3]
    assert {request.model_spec.name for request in requests} == {"recommender"}
    provenance = json.loads((path / PROVENANCE_FILE).read_text())
    assert provenance["encoder_version"] == "e1"
    assert provenance["feature_service"] == "recommender_v1"
    assert "tensorflow" in provenance["versions"]


def test_a_model_that_returns_something_else_is_not_exported(encoder, tmp_path):
    from training.export import export_model
    from training.recommender import Recommender

    served = Recommender(encoder)
    with pytest.raises(ValueError, match=r"`recommender` must return .*item_ids.* Received .*Change it or training/signatures\.py"):
        export_model(served, lambda **inputs: {"scores": inputs["k"]}, RECOMMENDER, tmp_path, golden={}, provenance={})


@pytest.fixture(scope="module")
def traits(encoder, shop):
    """Users of even items say `tea`, of odd items `coffee`; three users declare a trait that has too few labels."""
    from training.portrait_config import PortraitConfig
    from training.traits import fit_traits

    drink = ["tea" if items[0] < "i99" and int(items[0][1:]) % 2 == 0 else "coffee" for items in shop.item_ids]
    labels = pd.DataFrame({"user_id": shop.user_ids, "trait": "drink", "value": drink})
    few = pd.DataFrame({"user_id": shop.user_ids[:3], "trait": "rare", "value": ["x", "y", "x"]})
    return fit_traits(encoder, shop, pd.concat([labels[:120], few]), PortraitConfig(batch=32), seed=1), drink


def test_traits_are_found_for_users_who_declared_nothing_and_add_up_to_one(traits, shop):
    fitted, drink = traits
    values, chances = fitted.predict_proba(shop[120:])["drink"]
    assert values == ["coffee", "tea"]
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-6)
    assert np.mean(np.array(values)[chances.argmax(1)] == np.array(drink[120:])) > 0.95


def test_a_trait_is_said_where_the_value_was_right_often_enough_and_unknown_elsewhere():
    from training.calibration import certain_from

    chances = np.array([[p, 1 - p] for p in np.linspace(0.99, 0.5, 50)])
    truth = np.where(np.arange(50) < 30, 0, 1)  # right above .69, wrong below: 80 % right down to the 37th
    assert certain_from(chances, truth, 0.8) == pytest.approx(chances[36, 0])
    assert certain_from(chances, 1 - truth, 0.8) > 1


def test_a_trait_with_too_few_labels_is_left_out_by_name_with_the_reason(traits):
    assert traits[0].skipped == {"rare": "0 labels of 0 values with at least 5 labels each; a head needs 20 labels of two values"}


@pytest.fixture(scope="module")
def portrait(encoder, traits, shop, tmp_path_factory):
    from training.export import export_model
    from training.portrait import Portrait
    from training.portrait_config import PortraitConfig
    from training.propensities import fit_propensities
    from training.segments import fit_segments
    from training.served import SavedPredictor, number_inputs
    from training.spend import fit_spend

    random = np.random.default_rng(0)
    numbers = np.column_stack([random.poisson(3, (600, len(USER_FEATURES))), random.uniform(0, 9, 600)]).astype(np.float32)
    chance = 1 / (1 + np.exp(4 - numbers[:, 0]))  # the first number decides
    truth = np.column_stack([random.uniform(size=600) < chance, random.uniform(size=600) < chance, np.ones(600), np.ones(600)]).astype(int)
    vectors = encoder.vectors(shop)[random.integers(0, 160, 600)]
    config = PortraitConfig(propensity_epochs=30, batch=64)
    propensities = fit_propensities(vectors, numbers, truth, np.arange(600) < 150, config, seed=1)
    path = tmp_path_factory.mktemp("portrait")
    segments = fit_segments(numbers[:, :-1], seed=1)
    paid = np.where(random.uniform(size=600) < 0.5, 0.0, 10 * numbers[:, 0]) - (np.arange(600) == 0)  # the first one brings back
    spend = fit_spend(vectors, np.column_stack([numbers, numbers[:, 0]]), paid, np.arange(600) % config.spend_parts, config, seed=1)
    served = Portrait(encoder, traits[0], propensities, segments, spend)
    golden = raw(shop[:2]) | number_inputs(np.full((2, len(USER_FEATURES)), np.nan))
    export_model(served, served.serve, PORTRAIT, path, explain=served.explain, golden=golden, provenance={})
    return path, SavedPredictor(path), propensities, (vectors, numbers, truth), (spend, paid)


def test_the_exported_portrait_has_the_declared_signature(portrait):
    assert signature_of(portrait[0]) == declared(PORTRAIT.inputs, PORTRAIT.outputs)
    assert signature_of(portrait[0], "explain") == declared(PORTRAIT.explain_inputs, PORTRAIT.explain_outputs)


def test_the_exported_portrait_says_what_the_keras_heads_say(portrait, traits, encoder):
    from training.served import number_inputs
    from training.spend import pace

    histories = make_histories(ASKED)
    numbers = np.random.default_rng(1).poisson(3, (5, len(USER_FEATURES))).astype(np.float32)
    numbers[0, :4] = np.nan
    answer = portrait[1](raw(histories) | number_inputs(numbers))
    np.testing.assert_allclose(answer["vector"], encoder.vectors(histories, LATER_US), atol=1e-5)
    assert answer["trait_names"].tolist() == [["drink"]] * 5
    assert answer["trait_values"][0].tolist() == [["coffee", "tea"]]
    np.testing.assert_allclose(answer["trait_probabilities"][:, 0], traits[0].predict_proba(histories, LATER_US)["drink"][1], atol=1e-5)
    last = np.array([times[-1] if len(times) else 0 for times in histories.times_us])
    days = np.where(histories.lengths > 0, (LATER_US - last) / 86_400_000_000, np.nan)
    expected = portrait[2].predict(encoder.vectors(histories, LATER_US), np.column_stack([numbers, days]).astype(np.float32))
    names = ("purchase_probability_7d", "purchase_probability_30d", "churn_probability_7d", "churn_probability_30d")
    np.testing.assert_allclose(np.column_stack([answer[name] for name in names]), expected, atol=1e-5)
    speed = pace(histories.times_us, LATER_US, encoder.config.sequence_length)
    spend = portrait[4][0].predict(encoder.vectors(histories, LATER_US), np.column_stack([numbers, days, speed]).astype(np.float32))
    np.testing.assert_allclose(answer["expected_spend_90d"], spend, rtol=1e-4)


def test_interests_are_shares_by_falling_size_and_follow_the_history(portrait, shop):
    from training.served import number_inputs

    users = make_histories({"even": walk(0, 5), "odd": walk(1, 5), "none": []})
    answer = portrait[1](raw(users) | number_inputs(np.zeros((3, len(USER_FEATURES)))))
    assert answer["interest_categories"][:2].tolist() == [["even", "odd"], ["odd", "even"]]
    np.testing.assert_allclose(answer["interest_shares"].sum(1), 1, atol=1e-5)
    assert (answer["interest_shares"][:2, 0] > 0.8).all()
    assert answer["next_category"][:2].tolist() == ["even", "odd"]


def test_propensities_rank_as_planted_and_an_outcome_of_one_class_gets_its_base_rate(portrait):
    from training.metrics import auc, ece

    vectors, numbers, truth = portrait[3]
    chances = portrait[2].predict(vectors, numbers)
    assert auc(truth[:, 0] == 1, chances[:, 0]) > 0.75
    assert ece(truth[:150, 0], chances[:150, 0], bins=4) < 0.12
    np.testing.assert_allclose(chances[:, 2], 601 / 602, atol=1e-6)


def test_expected_spend_ranks_as_planted_and_keeps_the_level_of_what_was_paid(portrait):
    from training.metrics import amounts

    vectors, numbers, _ = portrait[3]
    spend, paid = portrait[4]
    got = amounts(paid, spend.predict(vectors, np.column_stack([numbers, numbers[:, 0]])).astype(float))
    assert got["total_ratio"] == pytest.approx(1, abs=0.1)
    assert got["gini"] > 0.3  # half of the users pay nothing, whoever they are


def test_a_portrait_without_a_spend_head_says_nan(encoder, traits):
    import tensorflow as tf

    from training.portrait import Portrait
    from training.served import number_inputs

    asked = raw(make_histories({"a": walk(0, 3)})) | number_inputs(np.zeros((1, len(USER_FEATURES))))
    assert np.isnan(
        Portrait(encoder, traits[0], None)
        .serve(**{name: tf.constant(values) for name, values in asked.items()})["expected_spend_90d"]
        .numpy()
    ).all()
