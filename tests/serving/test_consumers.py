"""The consumers on hand-written rows: what is asked of the models, which rules hold, and what is said when something is missing."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving import offers, portraits, shop_front
from serving.errors import BadRequest, NotServed, UnknownUser
from serving.model_inputs import history_inputs, to_us, user_inputs
from serving.recommend import recommend
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


def test_a_user_with_events_after_the_clock_is_asked_about_as_of_the_newest_of_them() -> None:
    live = row(["a", "b"], ["view", "cart"]) | {"event_times_us": np.array([1_709_251_200_000_001, 1_709_251_299_000_000])}
    assert history_inputs([live, {}], AS_OF)["as_of_us"].tolist() == [1_709_251_299_000_000, 1_709_251_200_000_000]


def test_unknown_numbers_are_nan_and_known_ones_pass_unchanged() -> None:
    inputs = user_inputs([{"events_7d": 3, "spend_30d": None}, {"spend_30d": 7.5}])
    assert set(inputs) == set(USER_FEATURES)
    np.testing.assert_array_equal(inputs["events_7d"], [3, np.nan])
    np.testing.assert_array_equal(inputs["spend_30d"], [np.nan, 7.5])
    assert inputs["spend_30d"].dtype == np.float32


def test_bought_and_out_of_stock_items_are_not_recommended(shop: FakeFront) -> None:
    answer = recommend("ann", 3, shop=shop)
    assert [place.card.item_id for place in answer.items] == ["f", "e", "c"]
    assert [place.rank for place in answer.items] == [1, 2, 3]
    assert (answer.source, answer.model_version, answer.note) == ("model", 3, None)
    assert shop.asked[0][1]["exclude_item_ids"].tolist() == [["b"]]


def test_a_list_is_shorter_than_k_only_when_the_catalogue_ends(shop: FakeFront) -> None:
    assert [place.card.item_id for place in recommend("ann", 50, shop=shop).items] == ["f", "e", "c", "a"]


def test_more_is_asked_while_stock_rules_leave_too_few() -> None:
    items = {f"i{n:03}": card(f"i{n:03}", in_stock=n >= 40) for n in range(60)}
    shop = FakeFront({"ann": row(["x"], ["view"])}, items, ranking=sorted(items))
    answer = recommend("ann", 5, shop=shop)
    assert [place.card.item_id for place in answer.items] == [f"i{n:03}" for n in range(40, 45)]
    assert len(shop.asked) > 1


def test_an_unknown_user_gets_popular_items_and_is_told_so(shop: FakeFront) -> None:
    for user in ("nobody", "bob"):
        answer = recommend(user, 3, shop=shop)
        assert [place.card.item_id for place in answer.items] == ["a", "b", "c"]
        assert answer.source == "popularity"
        assert answer.note == "no history of this user is known: popular items instead"


def test_when_the_model_is_away_popular_items_come_with_the_reason(shop: FakeFront) -> None:
    shop.away = "The model server does not answer."
    answer = recommend("ann", 3, shop=shop)
    assert [place.card.item_id for place in answer.items] == ["a", "c", "e"]
    assert answer.note == "popular items instead: The model server does not answer."


@pytest.mark.parametrize("k", [0, -1, 201])
def test_k_outside_its_range_is_refused(shop: FakeFront, k: int) -> None:
    with pytest.raises(BadRequest, match=rf"`k` must be from 1 to 200. Received {k}."):
        recommend("ann", k, shop=shop)


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
        offers.CampaignRequest(**({"name": "spring", "budget": 1.0} | {field: value}))


def test_item_cards_are_read_once_while_the_clock_is_fresh(shop: FakeFront, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (house / "offline" / "user_features" / "day=2024-03-01").mkdir(parents=True)
    (house / "offline" / "item_features" / "day=2024-03-02").mkdir(parents=True)
    reads: list[list[str]] = []
    monkeypatch.setattr(
        shop_front, "OnlineFeatures", lambda: SimpleNamespace(read=lambda _, ids: reads.append(ids) or [{"title": i} for i in ids])
    )
    front = shop_front.ShopFront()
    assert front.clock().isoformat() == "2024-03-02T00:00:00"
    assert [card.title for card in front.cards(["b", "a", "b"])] == ["b", "a", "b"]
    front.cards(["a", "c"])
    assert reads == [["b", "a"], ["c"]]
    monkeypatch.setattr(shop_front, "FRESH_SECONDS", -1.0)
    front._fresh_until = 0.0
    front.clock()
    front.cards(["a"])
    assert reads[-1] == ["a"]


def test_without_published_features_the_way_out_is_named(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop_front, "OnlineFeatures", lambda: None)
    with pytest.raises(NotServed, match=r"No features are published yet. Run the `ingest` DAG"):
        shop_front.ShopFront().clock()


def test_why_a_model_is_not_served_is_the_skip_else_the_verdict_else_the_way_out(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop_front, "OnlineFeatures", lambda: None)
    front = shop_front.ShopFront()
    run = house / "candidates" / "recommender" / "run"
    run.mkdir(parents=True)
    assert front._why_missing("recommender") == "none was published. Run the `train` DAG, then `deploy`."
    (run / "verdict.json").write_text('{"promoted": false, "reason": "NDCG@10 .1 is not above popularity .2."}')
    assert front._why_missing("recommender") == "the gate did not let its candidate through. NDCG@10 .1 is not above popularity .2."
    (run.parent / "skipped.json").write_text('{"reason": "no events"}')
    assert front._why_missing("recommender") == "no events"
