"""One block of the simulated shop's customers, from people to landing files: blocks share the catalogue and nothing else.

Every part of a block draws from its own stream of random numbers, which depend on the shop's seed, the block and the part alone. So blocks
can be simulated in any order and by any number of processes, and dirt changes nothing of the clean rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from sources.files import landing_table, merge_counts, split_days, write_parquet
from sources.shop_calendar import DAY, as_days, as_times
from sources.shop_campaigns import CAMPAIGNS, campaign_truth, exposures_table, run_campaign
from sources.shop_catalogue import BRANDS_A_TOP, STYLES, TOPS, Catalogue, attributes_table, brand_names, items_table, make_catalogue
from sources.shop_credit import applications_table, credit_truth, make_applications
from sources.shop_dirt import SHARE_LATE, Delivered, spoil
from sources.shop_fraud import (
    Suspects,
    bot_events,
    chargebacks_table,
    choose_suspects,
    fraud_events,
    fraud_truth,
    make_orders,
    orders_table,
)
from sources.shop_funnel import aftermath, next_session, reorders, simulate_visits
from sources.shop_ids import BLOCK_NUMBERS, item_ids, numbered, user_ids
from sources.shop_people import AGE_BANDS, CITY_TIER, GENDERS, TIERS, People, make_people, taste_shares, traits_table, users_table
from sources.shop_reviews import reviews_table
from sources.shop_visits import plan_visits

EVENT_TYPES = pa.array(["view", "favourite", "cart", "purchase", "return", "rate"])
TASTE_EVERY_DAYS = 30
_PARTS = ("people", "suspects", "visits", "orders", "campaigns", "aftermath", "reviews", "credit", "tables", "delays", "dirt")

Counts = dict[str, tuple[int, date, date]]


@dataclass(frozen=True)
class World:
    """What all blocks share. `start` and `end` are midnights, microseconds since 1970 UTC."""

    seed: int
    start: int
    end: int
    users: int
    blocks: int
    events_per_user: int
    dirt: float
    catalogue: Catalogue
    brands: list[str]

    def first_user(self, block: int) -> int:
        return self.users * block // self.blocks


def make_world(seed: int, start: int, end: int, users: int, blocks: int, items: int, events_per_user: int, dirt: float) -> World:
    """The shop of `seed` without its customers."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    catalogue = make_catalogue(rng, items, start, end)
    return World(seed, start, end, users, blocks, events_per_user, dirt, catalogue, brand_names(rng))


def write_catalogue(world: World, staged: Path) -> tuple[Counts, dict[str, dict[str, int]]]:
    """Writes items and their attributes, and the truth about them, below `staged`; yields counts as `write_block` does."""
    rng = np.random.default_rng(np.random.SeedSequence(world.seed, spawn_key=(0, 1)))
    items = items_table(world.catalogue, world.brands, world.start)
    truth = {"item_id": items["item_id"], "title": items["title"], "popularity": world.catalogue.popularity}
    write_parquet(pa.table(truth), staged / "truth" / "items" / "part-0.parquet")
    tables = {"items": items, "item_attributes": attributes_table(rng, world.catalogue, world.start)}
    return _write(world, 0, rng, tables, staged)


def write_block(world: World, staged: Path, block: int) -> tuple[Counts, dict[str, dict[str, int]]]:
    """Simulates a block and writes its landing files and its truth below `staged`.

    Yields (rows, first day, last day) by table, and rows of dirt by table and kind.
    """
    rngs = _rngs(world.seed, block)
    tables, truth = _simulated(world, block, rngs)
    for name, rows in truth.items():
        write_parquet(rows, staged / "truth" / name / f"part-{block}.parquet")
    return _write(world, block, rngs["dirt"], tables, staged)


def settle(world: World, block: int, rngs: dict[str, np.random.Generator]) -> tuple[People, Suspects]:
    """The block's customers, and which of them are not what they seem."""
    first = world.first_user(block)
    people = make_people(rngs["people"], first, world.first_user(block + 1) - first, world.start, world.end)
    return choose_suspects(rngs["suspects"], people, world.start, world.end)


def people_of(world: World, block: int) -> People:
    """The block's customers once more, without what they do."""
    return settle(world, block, _rngs(world.seed, block))[0]


def _rngs(seed: int, block: int) -> dict[str, np.random.Generator]:
    """A stream of random numbers for every part of a block."""
    seeds = np.random.SeedSequence(seed, spawn_key=(block + 1,)).spawn(len(_PARTS))
    return {part: np.random.default_rng(own) for part, own in zip(_PARTS, seeds, strict=True)}


def _simulated(world: World, block: int, rngs: dict[str, np.random.Generator]) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """Landing tables (with `ds`) and the truth of a block."""
    first, start, end, catalogue = world.first_user(block), world.start, world.end, world.catalogue
    people, suspects = settle(world, block, rngs)

    visits = plan_visits(rngs["visits"], people, start, end, world.events_per_user * len(people))
    events = simulate_visits(rngs["visits"], visits, catalogue, people, start, end)
    events = np.concatenate([events, reorders(rngs["visits"], events, catalogue, end)])
    first_fraud = next_session(events)
    frauds, kinds = fraud_events(rngs["suspects"], suspects, people, catalogue, start, end, first_fraud)
    bots = bot_events(rngs["suspects"], suspects.bots, catalogue, start, end, first_fraud + len(kinds))
    events = np.concatenate([events, frauds, bots])
    campaigns = []
    for plan in CAMPAIGNS:
        may_choose = people.agreed & ~suspects.excluded
        events, campaign = run_campaign(rngs["campaigns"], plan, events, catalogue, people, may_choose, start, end)
        campaigns.append(campaign)
    events = np.concatenate([events, aftermath(rngs["aftermath"], events, catalogue, people, end)])

    orders = make_orders(rngs["orders"], events, suspects, first_fraud, kinds)
    applications = make_applications(rngs["credit"], events, people, start, end)
    tables = {
        "users": users_table(rngs["tables"], people, start),
        "user_traits": traits_table(rngs["tables"], people, start),
        "events": events_table(rngs["delays"], events, people, block, end, world.dirt),
        "reviews": reviews_table(rngs["reviews"], events, catalogue, world.brands, people, block, end),
        "campaign_exposures": pa.concat_tables([exposures_table(campaign, people) for campaign in campaigns]),
        "credit_applications": applications_table(applications, people, block, end),
        "orders": orders_table(rngs["orders"], orders, people, block, end),
        "chargebacks": chargebacks_table(orders, block, end),
    }
    truth = {
        "users": _users_truth(people, world.brands),
        "tastes": _tastes_truth(people, start, end),
        "campaign": pa.concat_tables([campaign_truth(campaign, people) for campaign in campaigns]),
        "credit": credit_truth(applications, people, block),
        "fraud": fraud_truth(orders, people, block),
        "bots": pa.table({"user_id": user_ids(first + np.sort(suspects.bots))}),
    }
    return tables, truth


def events_table(rng: np.random.Generator, events: np.ndarray, people: People, block: int, end: int, dirt: float) -> pa.Table:
    """The landing table `events`, by the day they are received and then by time; what is received after `end` is not delivered."""
    events = events[np.argsort(events["at"], kind="stable")]
    delay = (rng.standard_exponential(len(events), np.float32) * 8_000_000).astype(np.int64) + 50_000
    is_late = rng.random(len(events), np.float32) < min(SHARE_LATE * dirt, 0.2)
    received = events["at"] + np.where(is_late, rng.integers(DAY, 2 * DAY, len(events)), delay)
    order = np.argsort((received // DAY).astype(np.uint16), kind="stable")
    order = order[received[order] < end]
    events, received = events[order], received[order]
    base = block * BLOCK_NUMBERS
    columns = {
        "event_id": numbered("e", base + order),
        "user_id": user_ids(np.where(events["guest"], -1, people.first + events["user"])),
        "item_id": item_ids(events["item"]),
        "event_type": EVENT_TYPES.take(pa.array(events["type"])),
        "occurred_at": as_times(events["at"]),
        "received_at": as_times(received),
        "session_id": numbered("s", np.where(events["session"] < 0, -1, base + events["session"])),
        "order_id": numbered("o", np.where(events["order"] < 0, -1, base + events["order"])),
        "quantity": _told(events["quantity"]),
        "unit_price": _told(events["cents"], 100),
        "rating": _told(events["rating"]),
    }
    return landing_table("events", columns, as_days(received))


def _told(numbers: np.ndarray, unit: int = 1) -> pa.Array:
    """Numbers in units, null for 0."""
    return pa.array(numbers / float(unit), mask=numbers == 0)


def _users_truth(people: People, brands: list[str]) -> pa.Table:
    """Traits, what is liked best (a brand in each top category, a style, a price level), and how people behave."""
    best = people.brand_taste.reshape(len(people), -1, BRANDS_A_TOP).argmax(axis=2) + np.arange(len(TOPS)) * BRANDS_A_TOP
    liked = pa.array(brands).take(pa.array(best.ravel()))
    columns = {
        "user_id": user_ids(people.numbers),
        "gender": GENDERS[people.gender],
        "age_band": AGE_BANDS[people.age],
        "city_tier": TIERS[CITY_TIER[people.city]],
        "visit_rate": people.visit_rate,
        "brands": pa.FixedSizeListArray.from_arrays(liked, len(TOPS)).cast(pa.list_(pa.string())),
        "style": pa.array(STYLES).take(pa.array(people.style_taste.argmax(axis=1))),
        "price_taste": people.price_taste,
        "impulse": people.impulse,
        "changes_at": pa.array(as_times(people.changes_at), mask=~people.is_abrupt),
    }
    return pa.table(columns)


def _tastes_truth(people: People, start: int, end: int) -> pa.Table:
    """Shares of the top categories (in the order of the catalogue's tree) at `start`, every 30 days, and at `end`."""
    times = np.array([*range(start, end, TASTE_EVERY_DAYS * DAY), end])
    user, at = np.repeat(np.arange(len(people)), len(times)), np.tile(times, len(people))
    shares = taste_shares(people, user, at, start, end)
    values = pa.FixedSizeListArray.from_arrays(pa.array(shares.ravel()), shares.shape[1])
    return pa.table({"user_id": user_ids(people.first + user), "at": as_times(at), "taste": values.cast(pa.list_(pa.float64()))})


def _write(
    world: World, block: int, rng: np.random.Generator, tables: dict[str, pa.Table], staged: Path
) -> tuple[Counts, dict[str, dict[str, int]]]:
    counts, dirt = [], {}
    for name, clean in tables.items():
        delivered = spoil(rng, name, clean, world.dirt, block, at_least_one=block == 0)
        dirt[name] = delivered.counts
        for path, rows in _files(delivered, block):
            write_parquet(rows, staged / "landing" / name / path)
            day = date.fromisoformat(path.split("/")[0].removeprefix("ds="))
            counts.append({name: (rows.num_rows, day, day)})
    return merge_counts(counts), dirt


def _files(delivered: Delivered, block: int) -> Iterator[tuple[str, pa.Table]]:
    """Files of one table: typed rows, and beside them rows of text and of bytes, where there are any."""
    for suffix, parts in (("", delivered.typed), ("-text", delivered.text), ("-bytes", delivered.raw)):
        days: dict[date, list[pa.Table]] = {}
        for part in parts:
            for day, rows in split_days(part):
                days.setdefault(day, []).append(rows)
        for day in sorted(days):
            yield f"ds={day}/part-{block}{suffix}.parquet", pa.concat_tables(days[day])
