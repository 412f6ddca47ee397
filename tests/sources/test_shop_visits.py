"""The simulated shop's rhythm, funnels, sequences, popularity, and who comes and goes."""

from datetime import timedelta

import pandas as pd

from tests.sources.conftest import Shop


def test_visits_narrow_from_views_to_returns_in_this_order(clean_shop: Shop):
    events = clean_shop.table("events")
    share = events["event_type"].value_counts(normalize=True)
    assert share["view"] > 0.7
    assert 0.08 < share["cart"] < 0.15
    assert 0.4 < share["purchase"] / share["cart"] < 0.65
    assert 0.03 < share["return"] / share["purchase"] < 0.10
    assert 0.1 < share["rate"] / share["purchase"] < 0.3

    first = {kind: rows.groupby(["session_id", "item_id"])["occurred_at"].min() for kind, rows in events.groupby("event_type")}
    settled = events["received_at"] < "2024-03-29"  # later, an earlier step may still be on its way
    for earlier, later in (("view", "cart"), ("view", "favourite"), ("cart", "purchase")):
        then = events[(events["event_type"] == later) & settled].set_index(["session_id", "item_id"])["occurred_at"]
        before = first[earlier].reindex(then.index)
        assert (before.isna().sum(), (before >= then).sum()) <= (8, 0), (earlier, later)  # an offer may take the half of a visit away
    bought = events[events["event_type"] == "purchase"]
    assert bought[["order_id", "quantity", "unit_price"]].notna().all().all()
    paid = bought.drop_duplicates(["order_id", "item_id"]).set_index(["order_id", "item_id"])["occurred_at"]
    returned = events[events["event_type"] == "return"].set_index(["order_id", "item_id"])["occurred_at"]
    assert (returned - paid.reindex(returned.index)).between(timedelta(days=3), timedelta(days=20)).mean() > 0.99


def test_weekends_are_busier(clean_shop: Shop):
    by_weekday = clean_shop.table("events")["occurred_at"].dt.dayofweek.value_counts(normalize=True)
    assert by_weekday[[5, 6]].min() > 1.2 * by_weekday[[0, 1, 2, 3]].max()


def test_pay_days_and_the_days_before_valentines_are_busier_than_the_same_weekdays_around_them(clean_shop: Shop):
    events = clean_shop.table("events")
    views = events[events["event_type"] == "view"]["occurred_at"].dt.normalize().value_counts()

    def compared(*days: str) -> float:
        week = timedelta(days=7)
        chosen = pd.to_datetime(list(days))
        return views[chosen].sum() / (views[chosen - week].sum() / 2 + views[chosen + week].sum() / 2)

    assert 1.2 < compared("2024-01-26", "2024-01-27", "2024-01-28") < 1.5
    assert 1.2 < compared("2024-02-26", "2024-02-27", "2024-02-28") < 1.5
    assert 1.3 < compared("2024-02-12", "2024-02-13") < 1.7
    assert 0.9 < compared("2024-01-16", "2024-01-17") < 1.1


def test_evenings_are_busier_than_nights(clean_shop: Shop):
    by_hour = clean_shop.table("events")["occurred_at"].dt.hour.value_counts(normalize=True)
    assert by_hour[[19, 20, 21]].min() > 2 * by_hour[[1, 2, 3]].max()


def test_popularity_has_a_long_tail(clean_shop: Shop):
    shares = clean_shop.table("events")["item_id"].value_counts(normalize=True)
    assert shares.iloc[:400].sum() > 0.45  # a fifth of the items
    assert 0.05 < shares.iloc[:20].sum() < 0.2  # one in a hundred
    assert 0.1 < shares.iloc[1000:].sum() < 0.3  # half of them
    assert len(shares) > 1950


def test_the_item_before_tells_far_more_than_popularity(clean_shop: Shop):
    views = clean_shop.known_events.query("event_type == 'view'")
    pairs = views.assign(before=views.groupby("user_id")["item_id"].shift()).dropna(subset=["before"])
    last = pairs.groupby("user_id").tail(1)
    past = pairs.drop(last.index)
    counts = past.groupby(["before", "item_id"]).size().reset_index(name="n").sort_values(["before", "n"], ascending=[True, False])
    followers = counts.groupby("before").head(10).groupby("before")["item_id"].agg(set)
    hits = [item in followers.get(before, ()) for before, item in zip(last["before"], last["item_id"], strict=True)]
    popular = set(past["item_id"].value_counts().index[:10])
    assert sum(hits) / len(hits) > 5 * last["item_id"].isin(popular).mean()


def test_nothing_happens_before_a_user_registers_or_an_item_is_listed(clean_shop: Shop):
    events, known = clean_shop.table("events"), clean_shop.known_events
    registered = clean_shop.table("users").set_index("user_id")["registered_at"]
    assert (known["occurred_at"] >= known["user_id"].map(registered)).all()
    assert (events["occurred_at"] >= events["item_id"].map(clean_shop.item("listed_at"))).all()


def test_new_users_and_new_items_arrive_every_week(clean_shop: Shop):
    start = pd.Timestamp(2024, 1, 2)
    for table, column, key, least in (("users", "registered_at", "user_id", 80), ("items", "listed_at", "item_id", 8)):
        rows = clean_shop.table(table)
        new = rows[rows[column] >= start]
        weeks = new[column].sub(start).dt.days.floordiv(7).value_counts()[list(range(12))]
        assert weeks.min() >= least
        seen = clean_shop.table("events").groupby(key)["occurred_at"].min()
        early = new[new[column] < start + timedelta(days=60)]
        assert early[key].isin(seen.index).mean() > 0.6
        assert rows.set_index(key).loc[new[key], "ds"].equals(new.set_index(key)[column].dt.date.rename("ds"))


def test_guests_look_and_buy_without_a_user(clean_shop: Shop):
    events = clean_shop.table("events")
    guests = events[events["user_id"].isna()]
    assert 0.05 < len(guests) / len(events) < 0.08
    assert {"view", "cart", "purchase"} <= set(guests["event_type"])
    orders = clean_shop.table("orders").set_index("order_id")["user_id"]
    assert orders[guests.loc[guests["event_type"] == "purchase", "order_id"].unique()].isna().all()


def test_bots_burst_through_hundreds_of_views_and_only_the_truth_says_who_they_are(clean_shop: Shop):
    views = clean_shop.known_events.query("event_type == 'view'")
    gap = views.groupby(["user_id", "session_id"])["occurred_at"].agg(["size", "min", "max"])
    bursts = gap[(gap["size"] > 50) & ((gap["max"] - gap["min"]) / gap["size"] < timedelta(seconds=3))]
    assert set(bursts.index.get_level_values("user_id")) == set(clean_shop.truth("bots")["user_id"])
    assert len(clean_shop.truth("bots")) == 10
    assert not [name for table in clean_shop.delivery.tables for name in clean_shop.table(table) if "bot" in name]


def test_orders_add_up_the_purchases(clean_shop: Shop):
    bought = clean_shop.table("events").query("event_type == 'purchase'")
    orders = clean_shop.table("orders").set_index("order_id")
    settled = orders[orders["placed_at"] < "2024-03-29"]
    sums = (bought["quantity"] * bought["unit_price"]).groupby(bought["order_id"]).sum()
    assert set(bought["order_id"]) <= set(orders.index)
    assert (sums[settled.index] - settled["amount"]).abs().max() < 0.005
    late = bought.groupby("order_id")["occurred_at"].max()
    assert (late[settled.index] == settled["placed_at"]).all()
