"""Similar items on hand-written vectors."""

import pytest

from serving.errors import UnknownItem
from serving.item_table import ItemCard
from serving.rules import Rules
from serving.similar import similar
from tests.serving.fakes import FakeFront

CATEGORIES = {"a": "toys > cars", "b": "toys > cars", "c": "books", "d": "books", "e": "toys > dolls", "f": "books"}


@pytest.fixture
def shop() -> FakeFront:
    items = {name: ItemCard(name, None, category, None, 1.0, name != "d") for name, category in CATEGORIES.items()}
    shop = FakeFront({}, items, [])
    shop.vectors = {"a": [1.0, 0.0], "b": [1.0, 1.0], "c": [2.0, 0.1], "d": [1.0, 0.0]}
    return shop


def test_the_nearest_by_cosine_come_first_then_popular_ones_of_the_same_top_level_category(shop: FakeFront) -> None:
    answer = similar("a", 4, shop=shop)
    assert [(place.rank, place.card.item_id) for place in answer.items] == [(1, "c"), (2, "b"), (3, "e"), (4, "f")]
    assert [place.similarity for place in answer.items] == [pytest.approx(0.99875, abs=1e-5), pytest.approx(0.70711, abs=1e-5), None, None]
    assert (answer.source, answer.note, answer.vector_version) == ("vectors", None, "v1")


def test_the_shops_filters_hold(shop: FakeFront) -> None:
    shop.rules_in_force = Rules(blocked=("c",))
    assert [place.card.item_id for place in similar("a", 9, shop=shop).items] == ["b", "e", "f"]  # d is out of stock


def test_an_item_of_which_nothing_is_known_gets_popular_ones_of_its_category(shop: FakeFront) -> None:
    answer = similar("e", 3, shop=shop)
    assert ([place.card.item_id for place in answer.items], answer.source) == (["a", "b", "c"], "popularity")
    assert answer.note == "nothing is known of this item to compare: popular items of its category instead"


def test_an_item_that_the_shop_never_delivered_is_refused(shop: FakeFront) -> None:
    with pytest.raises(UnknownItem, match=r"needs one that the shop delivered. Received 'zz'"):
        similar("zz", shop=shop)
