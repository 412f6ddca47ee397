"""What somebody who knows the simulated shop's truth would answer to the questions that models are asked: a ceiling for every model of it.

The catalogue and the customers are made once more from the shop's seed, and chances are computed from what they were drawn with; nothing
of what customers then did is looked at, beyond the history that the question gives.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sources.shop import ShopOptions, stream, world_of
from sources.shop_block import World, people_of
from sources.shop_calendar import DAY, busy_hours
from sources.shop_campaigns import EAGER, OUTCOME_DAYS
from sources.shop_catalogue import CONSUMABLE_TOPS
from sources.shop_choices import next_new_chances, pick_chances, step_chances, wanted_chances
from sources.shop_funnel import (
    RATED_AFTER,
    REORDERED_AFTER,
    RETURNED_AFTER,
    SHARE_RATED,
    SHARE_REORDERED,
    cart_chance,
    pay_chance,
    return_chance,
)
from sources.shop_people import (
    ABRUPT_NOISE,
    AGE_BANDS,
    AGE_SHARES,
    AGE_TASTE,
    CITY_SHARES,
    CITY_TIER,
    GENDER_TASTE,
    GENDERS,
    LEAF_NOISE,
    PRICE_NOISE,
    SHARE_MALE,
    TIER_TASTE,
    TIERS,
    TOP_NOISE,
    TOPS,
    People,
    price_middle,
)
from sources.shop_visits import ENDS, MAX_VIEWS, SHARE_GUEST, appeal, expected_visits

_BLOCK = 512  # rows at once, which bounds memory
_SMALLEST = 1e-7  # a share of taste below this is rounding


def true_credit_risk(seed: int, options: dict[str, object]) -> pd.DataFrame:
    """The probability of default of each application of that shop: `application_id`, `default_probability`.

    The shop is simulated once more, since the risk hangs on what was bought before.
    """
    with tempfile.TemporaryDirectory(prefix="portrait-oracle-") as folder:
        stream(seed, options, Path(folder) / "landing", set())
        return pd.read_parquet(Path(folder) / "truth" / "credit.parquet", columns=["application_id", "default_probability"])


@dataclass(frozen=True)
class Asked:
    """Customers asked at a time each, `(rows,)`, with the events known by then, a list of arrays a column; times in microseconds."""

    user_ids: np.ndarray
    at_us: np.ndarray
    item_ids: Sequence[np.ndarray]
    event_types: Sequence[np.ndarray]
    times_us: Sequence[np.ndarray]


@dataclass(frozen=True)
class ShopOracle:
    """The truth of one shop. `campaigns` is the truth about its campaigns, empty where nobody asks for effects."""

    world: World
    campaigns: pd.DataFrame = field(default_factory=pd.DataFrame)
    _people: dict[int, People] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int, options: dict[str, object]) -> "ShopOracle":
        return cls(world_of(seed, ShopOptions.of(options)))

    @classmethod
    def beside(cls, truth_dir: Path) -> "ShopOracle":
        """The shop whose truth lies in `truth_dir`."""
        made = json.loads((truth_dir / "shop.json").read_text())
        oracle = cls.of(made.pop("seed"), made)
        return cls(oracle.world, pd.read_parquet(truth_dir / "campaign.parquet"))

    def knows(self, user_ids: np.ndarray) -> np.ndarray:
        """Whether each is a customer of this shop, `(rows,)`."""
        numbers = _numbers(user_ids, "u")
        return (numbers >= 0) & (numbers < self.world.users)

    def next_items(self, asked: Asked, item_ids: np.ndarray) -> np.ndarray:
        """How likely each of `item_ids` is to be the next that is new to the customer, `(rows, items)`; 0 for others' items."""
        places = self._item_places(item_ids)

        def one(people: People, user: np.ndarray, rows: np.ndarray) -> np.ndarray:
            is_seen = np.zeros((len(rows), len(self.world.catalogue.leaf) + 1), bool)
            for place, row in enumerate(rows):
                is_seen[place, self._item_places(asked.item_ids[row])] = True
            chances = next_new_chances(
                self.world.catalogue, people, user, asked.at_us[rows], is_seen[:, :-1], self.world.start, self.world.end
            )
            return np.pad(chances, [(0, 0), (0, 1)])[:, places]

        return self._by_block(asked.user_ids, len(item_ids), one)

    def trait_chances(self, user_ids: np.ndarray, trait: str, values: Sequence[str]) -> np.ndarray:
        """How likely each value of `gender`, `age_band` or `city_tier` is for somebody with the customer's tastes, `(rows, values)`.

        What a customer does depends on the traits through the tastes alone, so nobody can infer more from behaviour. Top-level tastes are
        normal around what the traits give, known up to a constant; price tastes are normal around theirs.
        """
        known = [list(GENDERS), list(AGE_BANDS), list(TIERS)]
        axis = ["gender", "age_band", "city_tier"].index(trait)

        def one(people: People, user: np.ndarray, _rows: np.ndarray) -> np.ndarray:
            joint = _trait_posterior(people, user)
            return joint.sum(axis=tuple({1, 2, 3} - {axis + 1}))[:, [known[axis].index(value) for value in values]]

        chances = self._by_block(user_ids, len(values), one) + _SMALLEST
        return chances / chances.sum(axis=1, keepdims=True)

    def outcomes(self, asked: Asked) -> np.ndarray:
        """Chances of a purchase within 7 and 30 days, and of no event at all within 7 and 30, `(rows, 4)`."""

        def one(people: People, user: np.ndarray, rows: np.ndarray) -> np.ndarray:
            buys = self._purchase_chance(people, user, asked.at_us[rows])
            found = []
            for days in (7, 30):
                visits = self._visits(people, user, asked.at_us[rows], days)
                again, later = self._follow_ups(people, user, asked, rows, days)
                found.append((1 - np.exp(-visits * buys) * again, np.exp(-visits) * again * later))
            return np.stack([found[0][0], found[1][0], found[0][1], found[1][1]], axis=1)

        return self._by_block(asked.user_ids, 4, one)

    def effects(self, asked: Asked, campaign_ids: np.ndarray, offers: Sequence[str], outcome: str) -> np.ndarray:
        """What each offer adds to the chance that the customer `visited` or `converted`, `(rows, offers)`.

        An offer that the customer's campaign did not have is taken to add what the others did on average.
        """
        columns = [f"adds_{offer}" for offer in offers]
        keys = pd.MultiIndex.from_arrays([campaign_ids, asked.user_ids])
        true = self.campaigns.set_index(["campaign_id", "user_id"]).reindex(keys)
        adds = true[columns].to_numpy(float)
        adds = np.where(np.isnan(adds), np.nanmean(adds, axis=1, keepdims=True), adds)
        takes = true["takes"].to_numpy()[:, None]

        def one(people: People, user: np.ndarray, rows: np.ndarray) -> np.ndarray:
            visits = self._visits(people, user, asked.at_us[rows], OUTCOME_DAYS)
            again, _ = self._follow_ups(people, user, asked, rows, OUTCOME_DAYS)
            if outcome == "visited":
                base, added = 1 - np.exp(-visits) * again, adds[rows]
            else:
                base = 1 - np.exp(-visits * self._purchase_chance(people, user, asked.at_us[rows])) * again
                added = adds[rows] * self._purchase_chance(people, user, asked.at_us[rows], EAGER)[:, None]
            return 1 - (1 - added) * (1 - base[:, None] * (1 - takes[rows])) - base[:, None]

        return self._by_block(asked.user_ids, len(offers), one)

    def _by_block(self, user_ids: np.ndarray, width: int, one: Callable[[People, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """`one(people, places among them, rows)` for some rows at a time, `(rows, width)`; zeros for those who are not of this shop."""
        numbers, found = _numbers(user_ids, "u"), np.zeros((len(user_ids), width))
        firsts = np.array([self.world.first_user(block) for block in range(self.world.blocks)])
        block_of = np.searchsorted(firsts, numbers, side="right") - 1
        block_of[~self.knows(user_ids)] = -1
        for block in np.unique(block_of[block_of >= 0]):
            if block not in self._people:
                self._people[block] = people_of(self.world, int(block))
            own = np.flatnonzero(block_of == block)
            for rows in np.array_split(own, -(-len(own) // _BLOCK)):
                found[rows] = one(self._people[block], numbers[rows] - firsts[block], rows)
        return found

    def _item_places(self, item_ids: np.ndarray) -> np.ndarray:
        """Numbers of items; of what is no item of this shop, the number behind the last."""
        numbers, items = _numbers(item_ids, "i"), len(self.world.catalogue.leaf)
        return np.where((numbers >= 0) & (numbers < items), numbers, items)

    @cached_property
    def _calendar(self) -> tuple[np.ndarray, np.ndarray]:
        return busy_hours(self.world.start, self.world.end)

    def _visits(self, people: People, user: np.ndarray, at: np.ndarray, days: int) -> np.ndarray:
        """Visits expected within `days` that are not a guest's, `(rows,)`."""
        block_users = len(people)
        whole = expected_visits(people, self.world.start, self.world.events_per_user * block_users)[user] * (1 - SHARE_GUEST)
        edges, busy = self._calendar
        first, last = np.maximum(people.registered_at[user], self.world.start), people.left_at[user]
        low, high, since, until = (
            np.interp(time, edges, busy) for time in (first, last, np.clip(at, first, last), np.clip(at + days * DAY, first, last))
        )
        return whole * np.divide(until - since, high - low, out=np.zeros(len(user)), where=high > low)

    def _purchase_chance(self, people: People, user: np.ndarray, at: np.ndarray, eager: float = 0.0) -> np.ndarray:
        """How likely a visit is to end in a purchase, `(rows,)`: every item looked at as likely to be wanted as the average one."""
        catalogue = self.world.catalogue
        picks, wanted = pick_chances(catalogue, people, user, at), wanted_chances(people, user, at, self.world.start, self.world.end)
        is_listed = catalogue.listed_at[None] <= at[:, None]
        liking = appeal(np.arange(len(catalogue.leaf))[None], user[:, None], catalogue, people)
        carts = cart_chance(liking, people.buying[user][:, None], eager)
        here, none = wanted[:, catalogue.leaf] * picks, np.zeros(len(user))
        not_yet, goes_on = np.ones(len(user)), 1.0  # no cart so far; the visit is that long
        for step in range(MAX_VIEWS):
            not_yet = not_yet * (1 - (here * carts).sum(axis=1))
            ends = ENDS if step < MAX_VIEWS - 1 else 1.0
            none += goes_on * ends * not_yet
            goes_on *= 1 - ends
            here = step_chances(catalogue, picks, wanted, is_listed, here)
        return (1 - none) * pay_chance(people.buying[user], eager)

    def _follow_ups(self, people: People, user: np.ndarray, asked: Asked, rows: np.ndarray, days: int) -> tuple[np.ndarray, np.ndarray]:
        """Chances that of the purchases known none is repeated within `days`, and that none is rated or sent back, `(rows,)` each."""
        catalogue, again, later = self.world.catalogue, np.ones(len(rows)), np.ones(len(rows))
        for place, row in enumerate(rows):
            items, times = self._item_places(asked.item_ids[row]), np.asarray(asked.times_us[row])
            is_bought = (np.asarray(asked.event_types[row], object) == "purchase") & (items < len(catalogue.leaf))
            items, age = items[is_bought].astype(np.int64), (asked.at_us[row] - times[is_bought]) / DAY
            tops, suits = catalogue.top[items], appeal(items, user[place], catalogue, people)
            falls = {after: _share_between(age, days, after) for after in (REORDERED_AFTER, RATED_AFTER, RETURNED_AFTER)}
            again[place] = np.prod(1 - SHARE_REORDERED * np.isin(tops, CONSUMABLE_TOPS) * falls[REORDERED_AFTER])
            returns = return_chance(tops, people.impulse[user[place]], suits) * falls[RETURNED_AFTER]
            later[place] = np.prod((1 - SHARE_RATED * falls[RATED_AFTER]) * (1 - returns))
        return again, later


def _share_between(age: np.ndarray, days: int, after: tuple[int, int]) -> np.ndarray:
    """How much of what comes `after` so many days, evenly, falls into the next `days` of purchases of that `age` in days."""
    low, high = np.clip(age, *after), np.clip(age + days, *after)
    return (high - low) / (after[1] - after[0])


def _trait_posterior(people: People, user: np.ndarray) -> np.ndarray:
    """Chances of gender, age band and city tier together, given the tastes, `(rows, 2, 5, 3)`."""
    middle = GENDER_TASTE[:, None, None] + AGE_TASTE[None, :, None] + TIER_TASTE[None, None]  # (2, 5, 3, tops)
    leaves_a_top = people.leaf_chances.shape[2] // len(TOPS)
    shares = np.maximum(np.diff(people.leaf_chances[:, user].astype(float), axis=2, prepend=0), _SMALLEST)
    tops = np.log(shares).reshape(2, len(user), len(TOPS), leaves_a_top).mean(axis=3)
    logs = np.log(np.array([1 - SHARE_MALE, SHARE_MALE]))[:, None, None] + np.log(AGE_SHARES)[:, None]
    logs = logs + np.log(np.bincount(CITY_TIER, weights=CITY_SHARES))
    logs = np.broadcast_to(logs, (len(user), *logs.shape)).copy()
    for taste, noise, counts in ((tops[0], TOP_NOISE, np.ones(len(user))), (tops[1], ABRUPT_NOISE, people.is_abrupt[user])):
        apart = taste[:, None, None, None] - middle
        apart -= apart.mean(axis=-1, keepdims=True)  # the constant that shares do not tell
        logs -= counts[:, None, None, None] * (apart**2).sum(axis=-1) / (2 * (noise**2 + LEAF_NOISE**2 / leaves_a_top))
    ages, tiers = np.meshgrid(np.arange(len(AGE_BANDS)), np.arange(len(TIERS)), indexing="ij")
    miss = people.price_taste[user][:, None, None] - price_middle(ages, tiers)
    logs -= (miss**2 / (2 * PRICE_NOISE**2))[:, None]
    chances = np.exp(logs - logs.max(axis=(1, 2, 3), keepdims=True))
    return chances / chances.sum(axis=(1, 2, 3), keepdims=True)


def _numbers(ids: np.ndarray, letter: str) -> np.ndarray:
    """The numbers in ids such as u000012, -1 for what is no such id, `(rows,)`."""
    digits = [str(text)[1:] if str(text)[:1] == letter else "" for text in ids]
    return np.array([int(text) if text.isascii() and text.isdigit() else -1 for text in digits], np.int64)
