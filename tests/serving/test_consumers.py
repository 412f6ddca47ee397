"""The consumers on hand-written rows: what is asked of the models, which rules hold, and what is said when something is missing."""

from typing import Any

import numpy as np
import pytest

from serving import offers, portraits
from serving.campaign_request import CampaignRequest
from serving.errors import BadRequest, UnknownUser
from serving.model_inputs import history_inputs, to_us, user_inputs
from serving.shop_front import ItemCard
from tests.serving.fakes import AS_OF, FakeFront
from training.signatures import USER_FEATURES


def card(item_id: str, in_stock: bool = True) -> ItemCard:
    return ItemCard(item_id, f"Title {item_id}", "toys", None, 2.5, in_stock)


def row(items: list[str], types: list[str], **features: Any) -> dict[str, Any]:
    return {
        "event_item_ids": items,
        "event_types": types,
        "event_times_us": list(range(1, len(items) + 1)),
        "events_total": len(items),
        **features,
    }


@pytest.fixture
def shop() -> FakeFront:
    rows = {"ann": row(["a", "b", "c"], ["view", "purchase", "cart"]), "bob": row([], [])}
    items = {name: card(name) for name in "abcdef"} | {"d": card("d", in_stock=False)}
    return FakeFront(rows, items, ranking=list("dbfeca"))


def test_histories_are_right_padded_to_the_longest_of_the_batch() -> None:
    inputs = history_inputs([row(["a", "b"], ["view", "cart"]), {}, row(["c"], ["view"])], AS_OF)
    assert inputs["event_item_ids"].tolist() == [["a", "b"], ["", ""], ["c", ""]]
    assert inputs["event_types"].tolist() == [["view", "cart"], ["", ""], ["view", ""]]
    assert inputs["event_times_us"].tolist() == [[1, 2], [0, 0], [1, 0]]
    assert inputs["as_of_us"].tolist() == [1_709_251_200_000_000] * 3


def test_a_user_with_events_after_the_clock_is_asked_about_just_after_the_newest_since_models_read_what_was_before() -> None:
    live = row(["a", "b"], ["view", "cart"]) | {"event_times_us": np.array([1_709_251_200_000_001, 1_709_251_299_000_000])}
    assert history_inputs([live, {}], AS_OF)["as_of_us"].tolist() == [1_709_251_299_000_001, 1_709_251_200_000_000]


def test_unknown_numbers_are_nan_and_known_ones_pass_unchanged() -> None:
    inputs = user_inputs([{"events_7d": 3, "spend_30d": None}, {"spend_30d": 7.5}])
    assert set(inputs) == set(USER_FEATURES)
    np.testing.assert_array_equal(inputs["events_7d"], [3, np.nan])
    np.testing.assert_array_equal(inputs["spend_30d"], [np.nan, 7.5])
    assert inputs["spend_30d"].dtype == np.float32


def test_offers_are_ranked_by_margin_times_spend_less_cost(shop: FakeFront) -> None:
    answer = offers.offers("ann", margin=0.5, shop=shop)
    assert [(line.offer, line.expected_profit) for line in answer.effects] == [("coupon", 1.5), ("mail", 0.5)]
    assert answer.best == "coupon"
    model, inputs = shop.asked[-1]
    assert (model, inputs["x_channel"].tolist()) == ("uplift", [""])
    assert np.isnan(inputs["x_recency"]).all()


def test_no_offer_is_best_where_each_loses_money(shop: FakeFront) -> None:
    shop.spend_uplift = np.array([[0.5, -1.0]])
    assert offers.offers("ann", margin=0.5, shop=shop).best is None


def test_portrait_and_offers_of_an_unknown_user_are_refused_with_the_way_out(shop: FakeFront) -> None:
    for ask in (portraits.show, offers.offers):
        with pytest.raises(UnknownUser, match=r"a user that the feature store knows. Received 'nobody'. Load the user's records"):
            ask("nobody", shop=shop)


def test_trait_epoch_and_recent_events_are_newest_first(shop: FakeFront) -> None:
    shop.away = "away"
    portrait = portraits.show("ann", shop=shop, recent=2)
    assert [(to_us(event.occurred_at), event.item_id, event.title) for event in portrait.recent] == [
        (3, "c", "Title c"),
        (2, "b", "Title b"),
    ]
    assert (portrait.inferred, portrait.note) == (None, "away")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "../x", "must be letters, digits"),
        ("budget", -1.0, "`budget` must be zero or more. Received -1.0"),
        ("margin", 0.0, "`margin` must be above 0 and at most 1. Received 0.0"),
        ("holdout", 1.0, "`holdout` must be from 0 to below 1. Received 1.0"),
    ],
)
def test_a_campaign_that_breaks_a_rule_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        CampaignRequest(**({"name": "spring", "budget": 1.0} | {field: value}))
