"""Recommendations on hand-written rows: which items may be shown, in which order, why, and what is said when something is missing."""

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import BadRequest, NotServed
from serving.item_table import ItemCard
from serving.model_inputs import to_us
from serving.recommend import Recommendations, SessionEvent, recommend, recommend_session
from serving.rules import Rules
from tests.serving.fakes import AS_OF, FakeFront

DAY_US = 86_400_000_000


def card(item_id: str, in_stock: bool = True, category: str | None = "toys", price: float | None = 2.5) -> ItemCard:
    return ItemCard(item_id, f"Title {item_id}", category, None, price, in_stock)


def row(items: list[str], types: list[str], **features: Any) -> dict[str, Any]:
    return {"event_item_ids": items, "event_types": types, "event_times_us": list(range(1, len(items) + 1)), **features}


def listed(answer: Recommendations) -> list[str]:
    return [place.card.item_id for place in answer.items]


@pytest.fixture
def shop() -> FakeFront:
    rows = {"ann": row(["a", "b", "c"], ["view", "purchase", "cart"]), "bob": row([], [])}
    items = {name: card(name) for name in "abcdef"} | {"d": card("d", in_stock=False)}
    return FakeFront(rows, items, ranking=list("dbfeca"))


def in_rows(count: int = 40, categories: int = 4) -> FakeFront:
    """Items i000, i001, ... ranked so by the model, categories in turn; `ann` has looked at one thing."""
    items = {f"i{n:03}": card(f"i{n:03}", category=f"top{n % categories} > low", price=float(n)) for n in range(count)}
    return FakeFront({"ann": row(["x"], ["view"])}, items, ranking=sorted(items))


def test_bought_and_out_of_stock_items_are_not_recommended(shop: FakeFront) -> None:
    answer = recommend("ann", 3, shop=shop)
    assert listed(answer) == ["f", "e", "c"]
    assert [place.rank for place in answer.items] == [1, 2, 3]
    assert (answer.source, answer.model_version, answer.note) == ("model", 3, None)
    assert shop.asked[0][1]["exclude_item_ids"].tolist() == [["b"]]


def test_a_had_rule_holds_for_its_event_type_and_its_days(shop: FakeFront) -> None:
    times = [to_us(AS_OF) - age * DAY_US for age in (20, 8, 6)]
    shop.rows["ann"] |= {"event_types": ["purchase", "view", "view"], "event_times_us": times}
    shop.rules_in_force = Rules(had={"view": 7, "purchase": math.inf})
    assert listed(recommend("ann", 9, shop=shop)) == ["b", "f", "e"]  # a was bought, c seen this week, b before, d is out of stock
    shop.rules_in_force = Rules(had={"view": 5})
    assert listed(recommend("ann", 9, shop=shop)) == ["b", "f", "e", "c", "a"]


def test_a_list_is_shorter_than_k_only_when_the_catalogue_ends(shop: FakeFront) -> None:
    assert listed(recommend("ann", 50, shop=shop)) == ["f", "e", "c", "a"]


def test_more_is_asked_while_the_rules_leave_too_few() -> None:
    shop = in_rows(400)
    shop.rules_in_force = Rules(candidates=10)
    for n in range(300):
        shop.items[f"i{n:03}"] = card(f"i{n:03}", in_stock=False)
    assert listed(recommend("ann", 5, shop=shop)) == [f"i{n:03}" for n in range(300, 305)]
    assert len(shop.asked) == 2


def test_where_the_model_knows_too_few_items_popular_ones_fill_the_list_and_are_told_apart(shop: FakeFront) -> None:
    shop.ranking = ["f", "e"]
    answer = recommend("ann", 4, shop=shop)
    assert [(place.card.item_id, place.reason, place.score) for place in answer.items] == [
        ("f", "ranked", 4.0),
        ("e", "ranked", 3.0),
        ("a", "popular", None),
        ("c", "popular", None),
    ]


def test_an_item_that_the_shop_did_not_deliver_is_shown_by_its_id_unless_a_rule_must_know_it(shop: FakeFront) -> None:
    shop.ranking, shop.scores = ["new", "f"], {"new": 2.0, "f": 1.0}
    assert recommend("ann", 1, shop=shop).items[0].card == ItemCard("new", None, None, None, None, True)
    assert listed(recommend("ann", 1, shop=shop, overrides={"price_max": 9.0})) == ["f"]
    assert listed(recommend("ann", 1, shop=shop, overrides={"blocked": ["new"]})) == ["f"]


def test_category_price_and_blocked_rules_can_be_set_by_a_request() -> None:
    shop = in_rows()
    shop.rules_in_force = Rules(blocked=("i000",))
    assert listed(recommend("ann", 2, shop=shop, overrides={"categories": ["top0"]})) == ["i004", "i008"]
    assert listed(recommend("ann", 2, shop=shop, overrides={"categories": ["top0 > low"], "blocked": ["i004"]})) == ["i008", "i012"]
    assert listed(recommend("ann", 2, shop=shop, overrides={"categories": ["top"]})) == []
    assert listed(recommend("ann", 2, shop=shop, overrides={"without_categories": ["top1", "top2"]})) == ["i003", "i004"]
    assert listed(recommend("ann", 3, shop=shop, overrides={"price_min": 7.0, "price_max": 8.0})) == ["i007", "i008"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"in_stock": False}, r"A request may override \['categories'.*Received \['in_stock'\]"),
        ({"price_min": 3.0, "price_max": 2.0}, "`price_max` must be at least `price_min`, which is 3, Received|`price_max` must be"),
        ({"diversity": 1.0}, "`diversity` must be from 0 to below 1. Received 1.0."),
        ({"categories": "toys"}, "`categories` must be a list of texts. Received 'toys'."),
        ({"price_min": "cheap"}, "'>=' not supported"),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused(shop: FakeFront, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        recommend("ann", 3, shop=shop, overrides=overrides)


@pytest.mark.parametrize("k", [0, -1, 201])
def test_k_outside_its_range_is_refused(shop: FakeFront, k: int) -> None:
    with pytest.raises(BadRequest, match=rf"`k` must be from 1 to 200. Received {k}."):
        recommend("ann", k, shop=shop)


def test_an_unknown_user_gets_popular_items_and_is_told_so(shop: FakeFront) -> None:
    for user in ("nobody", "bob"):
        answer = recommend(user, 3, shop=shop)
        assert listed(answer) == ["a", "b", "c"]
        assert (answer.source, answer.note) == ("popularity", "no history of this user is known: popular items instead")
        assert [(place.reason, place.score, place.propensity) for place in answer.items] == [("popular", None, 1.0)] * 3
    assert not shop.asked


def test_when_the_model_is_away_popular_items_come_with_the_reason_by_the_same_rules(shop: FakeFront) -> None:
    shop.away = "The model server does not answer."
    answer = recommend("ann", 3, shop=shop)
    assert listed(answer) == ["a", "c", "e"]
    assert answer.note == "popular items instead: The model server does not answer."
    assert listed(recommend("ann", 3, shop=shop, overrides={"blocked": ["c"]})) == ["a", "e", "f"]


def test_when_the_feature_store_is_away_popular_items_come_with_the_reason(shop: FakeFront, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(service: str, user_id: str) -> dict[str, Any]:
        raise NotServed("The feature store does not answer (OSError).")

    monkeypatch.setattr(shop, "user_row", away)
    answer = recommend("ann", 2, shop=shop)
    assert (listed(answer), answer.source) == (["a", "b"], "popularity")
    assert answer.note == "popular items instead: The feature store does not answer (OSError)."


def test_a_model_whose_scores_are_no_numbers_is_not_believed(shop: FakeFront) -> None:
    shop.scores["f"] = math.nan
    answer = recommend("ann", 2, shop=shop)
    assert (listed(answer), answer.source) == (["a", "c"], "popularity")
    assert "scores that are no numbers" in str(answer.note)


def test_a_visitor_is_known_by_the_visit_alone(shop: FakeFront) -> None:
    at = datetime(2024, 3, 1, 9, tzinfo=UTC)
    events = [SessionEvent("a"), SessionEvent("f", "purchase", at), SessionEvent("c", "cart")]
    answer = recommend_session(events, 2, shop=shop)
    assert (answer.user_id, answer.source, listed(answer)) == ("", "model", ["b", "e"])
    asked = shop.asked[0][1]
    assert asked["event_item_ids"].tolist() == [["a", "f", "c"]]
    assert asked["event_types"].tolist() == [["view", "purchase", "cart"]]
    assert asked["event_times_us"].tolist() == [[to_us(at) - 1, to_us(at), to_us(at)]]
    assert asked["as_of_us"].tolist() == [to_us(at) + 1]
    assert recommend_session([], 2, shop=shop).source == "popularity"
    with pytest.raises(BadRequest, match=r"A session may have 200 events. Received 201"):
        recommend_session([SessionEvent("a")] * 201, shop=shop)


def test_reasons_name_the_past_events_behind_each_item(shop: FakeFront) -> None:
    (place,) = recommend("ann", 1, shop=shop, reasons=True).items
    assert [(b.item_id, b.title, b.event_type, b.effect) for b in place.because] == [("a", "Title a", "view", 0.5)]
    assert place.because[0].occurred_at == datetime(1970, 1, 1) + timedelta(microseconds=1)  # noqa: DTZ001
    assert (shop.chosen["user_id"], shop.chosen["signature"]) == ("ann", "explain")
    assert recommend("ann", 1, shop=shop).items[0].because == ()


def test_every_place_says_what_a_decision_log_needs_and_a_retry_says_the_same(shop: FakeFront) -> None:
    first, again, other = (recommend("ann", 3, shop=shop, request_id=name) for name in ("r1", "r1", "r2"))
    assert first == again
    assert (first.request_id, first.candidates, first.label) == ("r1", 4, None)
    assert [score for _, score in first.considered] == sorted((score for _, score in first.considered), reverse=True)
    assert not {item for item, _ in first.considered} & {place.card.item_id for place in first.items}
    assert other.request_id == "r2"
    assert recommend("ann", 1, shop=shop).request_id != recommend("ann", 1, shop=shop).request_id


def test_debugging_shows_every_stage_with_what_it_removed_by_which_rule(shop: FakeFront) -> None:
    shop.rules_in_force = replace(shop.rules_in_force, blocked=("e",), promoted=("a",), promoted_share=0.5)
    retrieve, kept, ranked, placed = recommend("ann", 2, shop=shop, debug=True).stages or ()
    assert (retrieve.name, [item for item, _ in retrieve.items], retrieve.removed) == ("retrieve", list("dfeca"), {"had: purchase": ("b",)})
    assert (kept.items, kept.removed) == ((("f", 4.0), ("c", 2.0), ("a", 1.0)), {"out of stock": ("d",), "blocked": ("e",)})
    assert (ranked.name, ranked.count, placed.name, placed.items) == ("rank", 3, "re-rank", (("f", 4.0), ("a", 1.0)))
    assert recommend("ann", 2, shop=shop).stages is None


def test_promoted_items_get_their_share_of_places_where_they_pass_the_rules() -> None:
    shop = in_rows()
    shop.rules_in_force = Rules(promoted=("i030", "i020", "gone", "i035"), promoted_share=0.3, price_max=34.0)
    places = recommend("ann", 10, shop=shop).items
    assert [(place.rank, place.card.item_id) for place in places if place.reason == "promoted"] == [(4, "i020"), (7, "i030")]
    assert listed(recommend("ann", 3, shop=shop)) == ["i000", "i001", "i002"]  # a third of a place is none


def test_a_category_cap_holds_while_other_categories_have_items() -> None:
    shop = in_rows(40, categories=4)
    capped = recommend("ann", 8, shop=shop, overrides={"category_cap": 2, "without_categories": []})
    assert Counter(place.card.category for place in capped.items) == {f"top{n} > low": 2 for n in range(4)}
    short = recommend("ann", 9, shop=shop, overrides={"category_cap": 2})
    assert listed(short) == [f"i{n:03}" for n in range(9)]  # the ninth has no room below the cap, and a list is not cut short


def test_the_cap_looks_beyond_the_first_candidates() -> None:
    shop = in_rows(200, categories=1)
    shop.items |= {"i150": card("i150", category="rare")}
    shop.rules_in_force = Rules(category_cap=1, candidates=10)
    assert listed(recommend("ann", 2, shop=shop)) == ["i000", "i150"]


names = st.sampled_from([f"i{n:02}" for n in range(24)])
catalogues = st.lists(
    st.tuples(names, st.booleans(), st.sampled_from([None, "a", "a > b", "c"]), st.sampled_from([None, 1.0, 2.0, 3.0])),
    max_size=24,
    unique_by=lambda item: item[0],
)
some_rules = st.builds(
    Rules,
    in_stock=st.booleans(),
    categories=st.sampled_from([(), ("a",), ("a > b", "c")]),
    without_categories=st.sampled_from([(), ("c",)]),
    price_min=st.sampled_from([0.0, 2.0]),
    price_max=st.sampled_from([math.inf, 2.0]),
    blocked=st.lists(names, max_size=3).map(tuple),
    had=st.sampled_from([{}, {"purchase": math.inf}]),
    promoted=st.lists(names, max_size=3, unique=True).map(tuple),
    promoted_share=st.sampled_from([0.0, 0.2, 1.0]),
    diversity=st.sampled_from([0.0, 0.5]),
    category_cap=st.integers(0, 3),
    exploration_share=st.sampled_from([0.0, 0.3, 1.0]),
    exploration_pool=st.integers(1, 5),
    candidates=st.integers(1, 30),
)


def may_be_shown(item: tuple, rules: Rules, bought: list[str]) -> bool:
    """The filters once more, as a person would say them."""
    name, in_stock, category, price = item
    paths = {None: [], "a": ["a"], "a > b": ["a", "a > b"], "c": ["c"]}[category]
    return not (
        (rules.in_stock and not in_stock)
        or name in rules.blocked
        or (rules.categories and not set(paths) & set(rules.categories))
        or set(paths) & set(rules.without_categories)
        or ((rules.price_min > 0 or rules.price_max < math.inf) and (price is None or not rules.price_min <= price <= rules.price_max))
        or (rules.had and name in bought)
    )


@settings(max_examples=300, deadline=None)
@given(catalogues, some_rules, st.data(), st.integers(1, 12), st.booleans())
def test_a_list_has_k_places_or_all_that_may_be_shown_and_nothing_else(
    catalogue: list[tuple], rules: Rules, data: st.DataObject, k: int, is_away: bool
) -> None:
    ranking = data.draw(st.permutations([item[0] for item in catalogue]))
    ranking = ranking[: data.draw(st.integers(0, len(ranking)))]  # the model does not know the newest items
    bought = data.draw(st.lists(names, max_size=4, unique=True))
    items = {name: card(name, in_stock, category, price) for name, in_stock, category, price in catalogue}
    shop = FakeFront({"ann": row(["z", *bought], ["view"] + ["purchase"] * len(bought))}, items, ranking, "away" if is_away else None)
    shop.rules_in_force = rules
    shop.vectors = {name: [1.0, float(place)] for place, name in enumerate(items)}
    answer = recommend("ann", k, shop=shop, request_id="r", debug=True)
    shown = listed(answer)
    allowed = [item[0] for item in catalogue if may_be_shown(item, rules, bought)]
    assert len(shown) == min(k, len(allowed))
    assert len(set(shown)) == len(shown)
    assert set(shown) <= set(allowed)
    assert all(0 < place.propensity <= 1 for place in answer.items)
    if rules.category_cap:
        tops = {item[0]: (item[2] or "").split(" >")[0] for item in catalogue}
        room = sum(min(rules.category_cap, sum(tops[name] == top for name in allowed)) for top in ("a", "c"))
        room += sum(tops[name] == "" for name in allowed)
        if room >= len(shown):
            assert max(Counter(tops[name] for name in shown if tops[name]).values(), default=0) <= rules.category_cap


def test_explored_places_are_drawn_with_the_chance_that_they_say() -> None:
    shop = in_rows(8)
    shop.scores = dict(zip(shop.ranking, [9.0, 8.5, 2.0, 1.5, 1.0, 0.5, 0.0, -5.0], strict=True))
    shop.rules_in_force = Rules(exploration_share=0.5, exploration_pool=4, temperature=2.0)
    weights = {item: math.exp(shop.scores[item] / 2.0) for item in shop.ranking}
    draws: Counter[tuple[str, ...]] = Counter()
    said: dict[tuple[str, ...], float] = {}
    for number in range(4000):
        places = recommend("ann", 4, shop=shop, request_id=f"request {number}").items
        assert [place.reason for place in places] == ["ranked", "ranked", "explored", "explored"]
        pair = tuple(place.card.item_id for place in places[2:])
        draws[pair] += 1
        said[pair] = places[2].propensity * places[3].propensity
        first_pool = shop.ranking[2:6]
        assert places[2].propensity == pytest.approx(weights[pair[0]] / sum(weights[item] for item in first_pool))
        second_pool = [item for item in shop.ranking[2:] if item != pair[0]][:4]
        assert places[3].propensity == pytest.approx(weights[pair[1]] / sum(weights[item] for item in second_pool))
    assert sum(said.values()) == pytest.approx(1.0)  # every pair came, and their chances are all there is
    deviations = [(draws[pair] - 4000 * chance) ** 2 / (4000 * chance) for pair, chance in said.items()]
    assert sum(deviations) < 40  # chi-square of 15 degrees of freedom: 1 in 2,000 by chance, and the draws are seeded


def test_a_retry_draws_the_same_list() -> None:
    shop = in_rows(30)
    shop.rules_in_force = Rules(exploration_share=1.0)
    lists = {tuple(listed(recommend("ann", 5, shop=shop, request_id=name))) for name in ("r1", "r1", "r2")}
    assert len(lists) == 2
    np.testing.assert_array_less(0.0, [place.propensity for place in recommend("ann", 5, shop=shop, request_id="r1").items])
