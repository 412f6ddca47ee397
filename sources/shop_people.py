"""The customers of the simulated shop: who they are, what they like, how that changes, and how often they come.

A taste is a distribution over the catalogue's narrow categories. It moves from a first to a last one: at time `t` a customer draws from
the last with probability `turned(t)`. For most that share grows evenly over the window (slow drift, to a taste not far from the first);
for some it jumps from 0 to 1 on one day (abrupt change, to a taste of its own).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sources.files import landing_table
from sources.shop_calendar import DAY, as_days, as_times
from sources.shop_catalogue import BRANDS_A_TOP, LEAF_TOP, PATHS, STYLES, TOPS
from sources.shop_ids import user_ids

GENDERS = np.array(["female", "male"])
AGE_BANDS = np.array(["18-24", "25-34", "35-44", "45-54", "55+"])
CITIES = np.array(["London", "Paris", "Berlin", "Madrid", "Leeds", "Lyon", "Hamburg", "Bristol", "Sète", "Ronda", "Whitby", "Husum"])
COUNTRIES = np.array(["United Kingdom", "France", "Germany", "Spain"])[[0, 1, 2, 3, 0, 1, 2, 0, 1, 3, 0, 2]]  # of each city
TIERS = np.array(["1", "2", "3"])
CITY_TIER = np.repeat([0, 1, 2], 4)  # capitals, large towns, small towns
CHANNELS = np.array(["web", "phone", "app"])
SHARE_ABRUPT = 0.2
SHARE_DECLARED = 0.4
SHARE_MALE = 0.47
AGE_SHARES = (0.17, 0.27, 0.23, 0.18, 0.15)
CITY_SHARES = (0.15, 0.1, 0.1, 0.05, 0.12, 0.06, 0.09, 0.08, 0.06, 0.05, 0.07, 0.07)
#: Standard deviations of a customer's own taste: for top categories, of an abrupt change there, for narrow categories, for price levels.
TOP_NOISE, ABRUPT_NOISE, LEAF_NOISE, PRICE_NOISE = 0.8, 1.6, 1.3, 0.35

# added to the log taste for each top category (TOPS): Women, Men, Electronics, Home, Beauty, Sports, Children, Groceries
GENDER_TASTE = np.array([[1.3, -1.0, -0.5, 0.3, 1.1, -0.2, 0.3, 0.1], [-1.5, 1.2, 0.8, -0.1, -1.2, 0.4, -0.2, 0.0]])
AGE_TASTE = np.array(
    [
        [0.8, 0.7, 1.3, -1.3, 0.8, 0.5, -1.8, -0.8],
        [0.5, 0.4, 0.6, 0.1, 0.4, 0.5, 0.2, -0.2],
        [-0.1, -0.1, 0.0, 0.5, 0.0, 0.1, 1.7, 0.2],
        [-0.2, -0.1, -0.4, 0.9, -0.1, -0.2, 0.1, 0.6],
        [-0.6, -0.5, -1.2, 1.3, -0.4, -1.0, -0.4, 1.4],
    ]
)
TIER_TASTE = np.array(
    [[0.7, 0.4, 0.8, -0.9, 0.5, -0.7, -0.4, -1.1], [0.0] * 8, [-0.7, -0.4, -0.8, 1.0, -0.5, 0.9, 0.5, 1.1]],
)


@dataclass(frozen=True)
class People:
    """Customers of one block by their place in it, arrays of shape `(users,)` unless said; times are microseconds since 1970 UTC."""

    first: int  # number, in the whole shop, of the first of them
    gender: np.ndarray
    age: np.ndarray
    city: np.ndarray
    registered_at: np.ndarray
    left_at: np.ndarray  # no visit from here on
    visit_rate: np.ndarray  # relative; 0 is a customer who never comes
    leaf_chances: np.ndarray  # (2, users, leaves): cumulative taste, the first and the last one
    is_abrupt: np.ndarray
    changes_at: np.ndarray  # of an abrupt change
    brand_taste: np.ndarray  # (users, brands)
    style_taste: np.ndarray  # (users, styles)
    price_taste: np.ndarray  # the price level liked best
    buying: np.ndarray  # added to the log odds of putting into the cart and of paying
    impulse: np.ndarray  # comes by night, sends back, and pays debts late
    channel: np.ndarray  # how they mostly come, number in CHANNELS
    agreed: np.ndarray  # may be sent offers

    def __len__(self) -> int:
        return len(self.gender)

    @property
    def numbers(self) -> np.ndarray:
        return self.first + np.arange(len(self))

    def turned(self, user: np.ndarray, at: np.ndarray, start: int, end: int) -> np.ndarray:
        """Share of the last taste at the times `at`, of the shape of `user` and `at`."""
        return np.where(self.is_abrupt[user], at >= self.changes_at[user], np.clip((at - start) / (end - start), 0, 1))


def make_people(rng: np.random.Generator, first: int, users: int, start: int, end: int) -> People:
    """`users` customers, 60 % of them registered in the two years before `start`; a fifth changes abruptly, 6 % never come."""
    gender = (rng.random(users) < SHARE_MALE).astype(int)
    age = rng.choice(len(AGE_BANDS), users, p=AGE_SHARES)
    city = rng.choice(len(CITIES), users, p=CITY_SHARES)
    registered = np.where(rng.random(users) < 0.6, start - rng.integers(0, 730 * DAY, users), rng.integers(start, end, users))
    stays = rng.random(users) < 0.75
    left = np.where(stays, end, rng.integers(np.minimum(np.maximum(registered, start) + DAY // 2, end - 1), end, users))
    is_abrupt = rng.random(users) < SHARE_ABRUPT
    return People(
        first=first,
        gender=gender,
        age=age,
        city=city,
        registered_at=registered,
        left_at=left,
        visit_rate=rng.gamma(1.2, 1.0, users) * (rng.random(users) >= 0.06),
        leaf_chances=_leaf_chances(rng, gender, age, CITY_TIER[city], is_abrupt),
        is_abrupt=is_abrupt,
        changes_at=rng.integers(start + (end - start) // 4, end - (end - start) // 4, users),
        brand_taste=rng.normal(0, 0.9, (users, len(TOPS) * BRANDS_A_TOP)).astype(np.float32),
        style_taste=rng.normal(0, 0.7, (users, len(STYLES))).astype(np.float32),
        price_taste=(price_middle(age, CITY_TIER[city]) + rng.normal(0, PRICE_NOISE, users)).astype(np.float32),
        buying=rng.normal(0, 0.7, users).astype(np.float32),
        impulse=rng.normal(0, 1, users).astype(np.float32),
        channel=rng.choice(len(CHANNELS), users, p=[0.45, 0.3, 0.25]),
        agreed=rng.random(users) < 0.9,
    )


def price_middle(age: np.ndarray, tier: np.ndarray) -> np.ndarray:
    """The price level that customers of an age band and a city tier like best on average."""
    return 0.12 * (age - 1.5) + 0.25 * (1 - tier)


def _leaf_chances(rng: np.random.Generator, gender: np.ndarray, age: np.ndarray, tier: np.ndarray, is_abrupt: np.ndarray) -> np.ndarray:
    """Cumulative tastes `(2, users, leaves)`, float32, last column 1."""
    users = len(gender)
    traits = GENDER_TASTE[gender] + AGE_TASTE[age] + TIER_TASTE[tier]
    noise = rng.normal(0, TOP_NOISE, (users, len(TOPS)))
    leaf_noise = rng.normal(0, LEAF_NOISE, (users, len(PATHS)))
    first = (traits + noise)[:, LEAF_TOP] + leaf_noise
    slow = first + rng.normal(0, 0.7, (users, len(TOPS)))[:, LEAF_TOP] + rng.normal(0, 0.5, (users, len(PATHS)))
    abrupt = (traits + rng.normal(0, ABRUPT_NOISE, (users, len(TOPS))))[:, LEAF_TOP] + rng.normal(0, LEAF_NOISE, (users, len(PATHS)))
    both = np.stack([first, np.where(is_abrupt[:, None], abrupt, slow)])
    shares = np.cumsum(np.exp(both - both.max(axis=2, keepdims=True)), axis=2)
    return (shares / shares[:, :, -1:]).astype(np.float32)


def taste_shares(people: People, user: np.ndarray, at: np.ndarray, start: int, end: int) -> np.ndarray:
    """The taste of each of `user` at `at`, over top categories: `(rows, tops)`, rows sum to 1."""
    last_of_top = np.flatnonzero(np.diff(LEAF_TOP, append=len(TOPS)))
    tops = np.diff(people.leaf_chances[:, user][:, :, last_of_top].astype(float), axis=2, prepend=0)  # (2, rows, tops)
    share = people.turned(user, at, start, end)[:, None]
    return tops[0] * (1 - share) + tops[1] * share


def users_table(rng: np.random.Generator, people: People, start: int) -> pa.Table:
    """The landing table `users`; two in five keep their city to themselves."""
    columns = {
        "user_id": user_ids(people.numbers),
        "registered_at": as_times(people.registered_at),
        "country": COUNTRIES[people.city],
        "city": pa.array(CITIES[people.city], pa.string(), mask=rng.random(len(people)) < 0.4),
        "consent_personalisation": rng.random(len(people)) < 0.93,
        "consent_marketing": people.agreed,
        "consent_credit": rng.random(len(people)) < 0.4,
    }
    return landing_table("users", columns, as_days(np.maximum(people.registered_at, start)))


def traits_table(rng: np.random.Generator, people: People, start: int) -> pa.Table:
    """The landing table `user_traits`: gender, age band and city tier of those who declared them, at registration."""
    declared = np.flatnonzero(rng.random(len(people)) < SHARE_DECLARED)
    values = np.stack([GENDERS[people.gender[declared]], AGE_BANDS[people.age[declared]], TIERS[CITY_TIER[people.city[declared]]]], axis=1)
    rows = np.repeat(declared, 3)
    columns = {
        "user_id": user_ids(people.numbers[rows]),
        "trait": np.tile(["gender", "age_band", "city_tier"], len(declared)),
        "value": values.ravel(),
        "known_at": as_times(people.registered_at[rows]),
    }
    return landing_table("user_traits", columns, as_days(np.maximum(people.registered_at[rows], start)))
