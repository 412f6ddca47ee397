"""The contract, as read by every other file of the feature repository."""

from pathlib import Path

import pytest

from feature_repo import contract
from feature_repo.contract import HISTORY, mart, service, service_entity, views
from training.signatures import ORDER_FEATURES, SERVED_MODELS


def test_views_are_the_marts_with_an_entity_and_the_items_vectors() -> None:
    assert {name: (view.entity, view.key) for name, view in views().items()} == {
        "user_features": ("user", "user_id"),
        "user_sequences": ("user", "user_id"),
        "user_daily": ("user", "user_id"),
        "user_portraits": ("user", "user_id"),
        "credit_behaviour": ("user", "user_id"),
        "item_features": ("item", "item_id"),
        "item_vectors": ("item", "item_id"),
        "instrument_orders": ("instrument", "instrument_id"),
    }
    assert [column.name for column in views()["user_sequences"].features][:3] == list(HISTORY)


def test_the_recommender_reads_the_history_alone() -> None:
    assert service("recommender_v1") == {"user_sequences": ("event_item_ids", "event_types", "event_times_us")}


def test_heads_read_the_history_and_every_numeric_user_feature() -> None:
    chosen = service("portrait_v1")
    assert chosen == service("uplift_v1")
    assert chosen["user_sequences"] == HISTORY
    assert {"events_7d", "spend_total", "rating_mean"} <= set(chosen["user_features"])
    assert not {"country", "last_event_at", "top_category_shares", "created_at"} & set(chosen["user_features"])


def test_every_served_model_finds_its_inputs_in_its_service() -> None:
    asked_only = {"as_of_us", "exclude_item_ids", "k", "amount"}
    for model in (model for model in SERVED_MODELS.values() if model.name != "fraud"):
        offered = {feature for features in service(model.feature_service).values() for feature in features}
        assert {tensor.name for tensor in model.inputs} - asked_only <= offered, model.name


def test_the_fraud_model_takes_every_number_of_an_order_and_its_service_has_what_they_are_counted_from() -> None:
    assert list(ORDER_FEATURES) == [column.name for column in mart("order_features").columns if column.kind == "float"]
    assert service("fraud_v1") == {"instrument_orders": tuple(column.name for column in mart("instrument_orders").features)}


def test_the_page_gets_everything_there_is() -> None:
    assert {view: len(features) for view, features in service("user_v1").items()} == {
        "user_features": 29,
        "user_sequences": 5,
        "user_daily": 9,
    }
    assert service("portraits_v1") == {"user_portraits": ("model_version", "vector", "portrait")}
    assert {view: len(features) for view, features in service("item_v1").items()} == {"item_features": 20, "item_vectors": 2}
    assert (service_entity("user_v1"), service_entity("item_v1")) == ("user", "item")


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"must be one of \['fraud_v1', .*\]. Received 'risk_v9'"):
        service("risk_v9")
    with pytest.raises(KeyError, match=r"A mart must be one of \['campaign_outcomes', .*Received 'orders'"):
        mart("orders")


def test_a_type_without_a_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    column = "{name: user_id, data_type: uuid, description: ''}"
    (tmp_path / "marts.yml").write_text(f"models:\n- {{name: odd, description: '', meta: {{export: t}}, columns: [{column}]}}\n")
    monkeypatch.setattr(contract, "CONTRACT", tmp_path / "marts.yml")
    contract.marts.cache_clear()
    with pytest.raises(ValueError, match=r"data_type must be one of .*Received \['uuid'\] in odd"):
        contract.marts()
    contract.marts.cache_clear()
