"""What the simulated shop's customers like, how it changes, and what can be read of it from the records."""

import numpy as np
import pandas as pd
import pytest

from sources.shop_catalogue import TOPS
from sources.shop_reviews import PHRASES
from tests.sources.conftest import Shop


def test_tastes_follow_traits(clean_shop: Shop):
    users = clean_shop.truth("users").set_index("user_id")
    events = clean_shop.known_events

    def shares(trait: str) -> pd.DataFrame:
        return pd.crosstab(events["user_id"].map(users[trait]), events["top"], normalize="index")

    assert shares("gender").loc["female", "Women"] > 3 * shares("gender").loc["male", "Women"]
    assert shares("gender").loc["male", "Men"] > 3 * shares("gender").loc["female", "Men"]
    assert shares("age_band").loc["35-44", "Children"] > 3 * shares("age_band").loc["18-24", "Children"]
    assert shares("age_band").loc["55+", "Groceries"] > 3 * shares("age_band").loc["18-24", "Groceries"]
    assert shares("city_tier").loc["1", "Electronics"] > 2 * shares("city_tier").loc["3", "Electronics"]
    assert shares("city_tier").loc["3", "Home"] > 2 * shares("city_tier").loc["1", "Home"]


def test_two_in_five_declare_their_traits_and_tell_the_truth(clean_shop: Shop):
    declared = clean_shop.table("user_traits").pivot(index="user_id", columns="trait", values="value")
    assert list(declared) == ["age_band", "city_tier", "gender"]
    assert 0.38 < len(declared) / 5000 < 0.42
    true = clean_shop.truth("users").set_index("user_id").loc[declared.index, list(declared)]
    assert (declared == true).all().all()


def test_events_are_drawn_from_the_tastes_of_the_truth(clean_shop: Shop):
    """The shares of top categories in many views are near the customer's taste in the middle of the window, and not near another's."""
    views = clean_shop.known_events.query("event_type == 'view'")
    counts = pd.crosstab(views["user_id"], views["top"])[list(TOPS)]
    counts = counts[(counts.sum(axis=1) >= 60) & ~counts.index.isin(clean_shop.truth("bots")["user_id"])]
    middle = clean_shop.truth("tastes").query("at == '2024-02-01'").set_index("user_id")["taste"].loc[counts.index]
    shares, taste = counts.div(counts.sum(axis=1), axis=0).to_numpy(), np.stack(middle.to_list())
    own = np.abs(shares - taste).sum(axis=1).mean() / 2
    another = np.abs(shares - np.roll(taste, 1, axis=0)).sum(axis=1).mean() / 2
    assert np.allclose(taste.sum(axis=1), 1)
    assert own < 0.25 < 0.4 < another


def test_an_abrupt_change_of_taste_shows_where_it_happens_and_a_slow_drift_little_by_little(clean_shop: Shop):
    users = clean_shop.truth("users").set_index("user_id")
    views = clean_shop.known_events.query("event_type == 'view'")
    views = views[~views["user_id"].isin(clean_shop.truth("bots")["user_id"])]
    middle = pd.Timestamp(2024, 2, 16)
    turn = views["user_id"].map(users["changes_at"]).fillna(middle)
    counts = {
        is_later: pd.crosstab(part["user_id"], part["top"]).reindex(columns=list(TOPS), fill_value=0)
        for is_later, part in views.groupby(views["occurred_at"] >= turn)
    }
    both = counts[False].index[counts[False].sum(axis=1) >= 25].intersection(counts[True].index[counts[True].sum(axis=1) >= 25])
    shares = [counts[is_later].loc[both].pipe(lambda part: part.div(part.sum(axis=1), axis=0)) for is_later in (False, True)]
    moved = (shares[0] - shares[1]).abs().sum(axis=1) / 2
    is_abrupt = users.loc[both, "changes_at"].notna()
    assert 0.17 < users["changes_at"].notna().mean() < 0.23
    assert min(is_abrupt.sum(), (~is_abrupt).sum()) > 60
    assert moved[is_abrupt].mean() > moved[~is_abrupt].mean() + 0.15
    assert _log_likelihood(clean_shop, views, users) > 0.02


def _log_likelihood(shop: Shop, views: pd.DataFrame, users: pd.DataFrame) -> float:
    """By how much, a view, the last taste explains slow drifters' last month better than the first taste does."""
    late = views[(views["occurred_at"] >= "2024-03-01") & views["user_id"].map(users["changes_at"]).isna()]
    place = late["top"].map({top: number for number, top in enumerate(TOPS)}).to_numpy()
    tastes = shop.truth("tastes").pivot(index="user_id", columns="at", values="taste").loc[late["user_id"]]
    first, last = (np.stack(tastes[at].to_list())[np.arange(len(late)), place] for at in (tastes.columns[0], tastes.columns[-1]))
    return float((np.log(last) - np.log(first)).mean())


@pytest.mark.parametrize("what", ["brand", "style"])
def test_customers_keep_to_their_brands_and_to_words_of_titles(clean_shop: Shop, what: str):
    """What a customer likes best is looked at more than what a random customer likes best, and put into the cart far more."""
    items = clean_shop.table("items").set_index("item_id")
    words = items["brand"] if what == "brand" else items.apply(lambda item: item["title"].removeprefix(item["brand"]).split()[0], axis=1)
    users = clean_shop.truth("users").set_index("user_id")
    likes = np.stack(users["brands"].to_list()) if what == "brand" else np.repeat(users[["style"]].to_numpy(), len(TOPS), axis=1)
    events = clean_shop.known_events
    user, top = users.index.get_indexer(events["user_id"]), pd.Index(TOPS).get_indexer(events["top"])
    word = events["item_id"].map(words).to_numpy()
    own, another = likes[user, top] == word, likes[(user + 1) % len(users), top] == word

    def ratio(kind: str) -> float:
        chosen = (events["event_type"] == kind).to_numpy()
        return own[chosen].mean() / another[chosen].mean()

    assert ratio("view") > 1.1
    assert ratio("cart") > 1.5


def test_customers_look_at_prices_they_like(clean_shop: Shop):
    views = clean_shop.known_events.query("event_type == 'view'")
    price = np.log(views["item_id"].map(clean_shop.item("price")))
    level = (price - price.groupby(views["top"]).transform("mean")).groupby(views["user_id"]).agg(["mean", "size"])
    level = level[level["size"] >= 30]["mean"]
    liked = clean_shop.truth("users").set_index("user_id").loc[level.index, "price_taste"]
    assert np.corrcoef(level, liked)[0, 1] > 0.35


def test_titles_and_descriptions_carry_category_brand_and_style(clean_shop: Shop):
    items = clean_shop.table("items").to_dict("records")
    assert all(item["brand"] in item["title"] and item["category"].split(" > ")[2] in item["title"] for item in items)
    assert all(item["category"].count(" > ") == 2 and item["brand"] in item["description"] for item in items)
    assert len({item["category"].split(" > ")[0] for item in items}) == 8
    styles = clean_shop.table("item_attributes").query("attribute == 'style'").set_index("item_id")["value"]
    assert all(f"{item['brand']} {styles[item['item_id']]} " in item["title"] for item in items)
    assert (clean_shop.truth("items").set_index("item_id")["title"] == clean_shop.item("title").sort_index()).all()


def test_words_of_reviews_say_how_well_the_item_suited(clean_shop: Shop):
    reviews = clean_shop.table("reviews")
    text = reviews["text"].str.lower()
    found = {level: reviews[text.str.contains("|".join(phrases))] for level, phrases in ((0, PHRASES[0]), (4, PHRASES[4]))}
    assert min(len(rows) for rows in found.values()) > 40
    assert found[4]["rating"].mean() > found[0]["rating"].mean() + 1.5
    level = np.log(reviews["item_id"].map(clean_shop.item("price")))
    top = reviews["item_id"].map(clean_shop.item("category")).str.split(" > ").str[0]
    all_top = clean_shop.item("category").str.split(" > ").str[0]
    level -= top.map(np.log(clean_shop.item("price")).groupby(all_top).mean())
    miss = (level - reviews["user_id"].map(clean_shop.truth("users").set_index("user_id")["price_taste"])).abs()
    assert miss[found[0].index].mean() > miss[found[4].index].mean() + 0.1
    assert reviews["item_id"].map(clean_shop.item("brand")).combine(reviews["text"], lambda brand, words: brand in words).all()


def test_reviews_are_written_by_customers_who_rated_what_they_had_bought(clean_shop: Shop):
    events = clean_shop.known_events
    rated = events[events["event_type"] == "rate"].set_index(["user_id", "item_id"])["occurred_at"]
    bought = set(events.loc[events["event_type"] == "purchase", ["user_id", "item_id"]].itertuples(index=False, name=None))
    assert set(rated.index) <= bought
    assert events.loc[events["event_type"] == "rate", "rating"].isin([1, 2, 3, 4, 5]).all()
    reviews = clean_shop.table("reviews")
    assert 0.45 < len(reviews) / len(rated) < 0.55
    assert set(reviews[["user_id", "item_id"]].itertuples(index=False, name=None)) <= set(rated.index)
