"""The customers of the simulated shop: who they are, what they like, how that drifts, and how often they come."""

from dataclasses import dataclass

import numpy as np

from sources.shop_catalogue import BRANDS_A_TOP, LEAF_TOP, PATHS, TOPS

DAY = 86_400_000_000  # microseconds
GENDERS = np.array(["female", "male"])
AGE_BANDS = np.array(["18-24", "25-34", "35-44", "45-54", "55+"])
CITIES = np.array(["London", "Leeds", "Bristol", "Berlin", "Hamburg", "Paris", "Lyon", "Madrid"])
COUNTRIES = np.array(["United Kingdom"] * 3 + ["Germany"] * 2 + ["France"] * 2 + ["Spain"])

# added to the log taste for each top category (TOPS): Women, Men, Electronics, Home, Beauty, Sports, Children, Groceries
_GENDER_TASTE = np.array([[1.3, -1.0, -0.5, 0.3, 1.1, -0.2, 0.3, 0.1], [-1.5, 1.2, 0.8, -0.1, -1.2, 0.4, -0.2, 0.0]])
_AGE_TASTE = np.array(
    [
        [0.6, 0.5, 1.0, -1.0, 0.6, 0.4, -1.4, -0.6],
        [0.4, 0.3, 0.5, 0.1, 0.3, 0.4, 0.2, -0.2],
        [-0.1, -0.1, 0.0, 0.4, 0.0, 0.1, 1.3, 0.2],
        [-0.2, -0.1, -0.3, 0.7, -0.1, -0.2, 0.1, 0.5],
        [-0.5, -0.4, -0.9, 1.0, -0.3, -0.8, -0.3, 1.1],
    ]
)


@dataclass(frozen=True)
class People:
    """Customers by number, arrays of shape `(users,)` unless said; times are microseconds since 1970 UTC."""

    gender: np.ndarray
    age: np.ndarray
    registered_at: np.ndarray
    left_at: np.ndarray  # no visit from here on
    visit_rate: np.ndarray  # relative; 0 is a customer who never comes
    taste: np.ndarray  # (2, users, leaves): log taste before and after a drift
    brand_taste: np.ndarray  # (users, brands)
    price_taste: np.ndarray  # the price level liked best
    buying: np.ndarray  # added to the log odds of putting into the cart and of paying
    drifts_at: np.ndarray  # the taste turns to the second one within 20 days from here; beyond the window for most
    city: np.ndarray


def make_people(rng: np.random.Generator, users: int, start: int, end: int) -> People:
    """`users` customers, 60 % of them registered in the two years before `start`; 30 % drift, 6 % never come."""
    gender = (rng.random(users) < 0.47).astype(int)
    age = rng.choice(len(AGE_BANDS), users, p=[0.17, 0.27, 0.23, 0.18, 0.15])
    registered = np.where(rng.random(users) < 0.6, start - rng.integers(0, 730 * DAY, users), rng.integers(start, end - DAY, users))
    stays = rng.random(users) < 0.75
    left = np.where(stays, end, rng.integers(np.maximum(registered, start) + DAY // 2, end, users))
    top_taste = _GENDER_TASTE[gender] + _AGE_TASTE[age] + rng.normal(0, 0.8, (users, len(TOPS)))
    new_taste = _GENDER_TASTE[gender] + _AGE_TASTE[age] + rng.normal(0, 1.6, (users, len(TOPS)))
    leaf_noise = rng.normal(0, 1.3, (2, users, len(PATHS)))
    return People(
        gender=gender,
        age=age,
        registered_at=registered,
        left_at=left,
        visit_rate=rng.gamma(1.2, 1.0, users) * (rng.random(users) >= 0.06),
        taste=(np.stack([top_taste, new_taste])[:, :, LEAF_TOP] + leaf_noise).astype(np.float32),
        brand_taste=rng.normal(0, 0.9, (users, len(TOPS) * BRANDS_A_TOP)).astype(np.float32),
        price_taste=0.12 * (age - 1.5) + rng.normal(0, 0.35, users),
        buying=rng.normal(0, 0.7, users),
        drifts_at=np.where(rng.random(users) < 0.3, rng.integers(start, end, users), end + 365 * DAY),
        city=rng.choice(len(CITIES), users, p=[0.3, 0.12, 0.1, 0.14, 0.1, 0.11, 0.05, 0.08]),
    )
