"""Credit in the simulated shop: applications whose default depends on behaviour and on covariates known at application.

The log odds of default rise with impulse (seen in visits by night and in returns), with spending of the 30 days before compared with
income, with other debt and with the amount asked for; they fall with steady work. Sixty days after an application its outcome is known.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sources.files import landing_table
from sources.shop_calendar import DAY, as_days, as_times
from sources.shop_funnel import PURCHASE
from sources.shop_ids import BLOCK_NUMBERS, numbered, user_ids
from sources.shop_people import People
from sources.shop_visits import odds

SHARE_APPLIES = 0.5  # pay later, at the checkout
OUTCOME_DAYS = 60
EMPLOYMENTS = np.array(["permanent", "temporary", "self-employed", "none"])
_EMPLOYMENT_RISK = np.array([-0.5, 0.3, 0.2, 0.9])


@dataclass(frozen=True)
class Applications:
    """Applications of a block, arrays of shape `(applications,)`; money in the shop's currency."""

    user: np.ndarray
    applied_at: np.ndarray
    amount: np.ndarray
    income: np.ndarray  # a month
    debt: np.ndarray
    employment: np.ndarray
    risk: np.ndarray  # probability of default
    defaults: np.ndarray

    @property
    def outcome_at(self) -> np.ndarray:
        return self.applied_at + OUTCOME_DAYS * DAY


def make_applications(rng: np.random.Generator, events: np.ndarray, people: People, start: int, end: int) -> Applications:
    """One application each of every other customer, at least a day after they registered."""
    opened = np.maximum(people.registered_at, start) + DAY
    user = np.flatnonzero((rng.random(len(people)) < SHARE_APPLIES) & (opened < end))
    applied_at = rng.integers(opened[user], end)
    income = rng.lognormal(np.log(2400), 0.4, len(user)) * np.array([0.7, 1.0, 1.15, 1.2, 0.95])[people.age[user]]
    debt = rng.lognormal(np.log(900), 1.0, len(user))
    amount = rng.lognormal(np.log(700), 0.6, len(user))
    employment = rng.choice(len(EMPLOYMENTS), len(user), p=[0.62, 0.18, 0.13, 0.07])

    applied = np.zeros(len(people), np.int64)
    applied[user] = applied_at
    paid = events[(events["type"] == PURCHASE) & ~events["guest"]]
    recent = paid[(paid["at"] < applied[paid["user"]]) & (paid["at"] >= applied[paid["user"]] - 30 * DAY)]
    cents = np.bincount(recent["user"], weights=recent["cents"] * recent["quantity"].astype(np.int64), minlength=len(people))
    burden = cents[user] / 100 / income
    risk = odds(
        -2.0
        + 0.9 * people.impulse[user]
        + 0.6 * np.log1p(10 * burden)
        + 0.5 * np.log(debt / 900)
        + 0.6 * np.log(amount / 700 * 2400 / income)
        + _EMPLOYMENT_RISK[employment]
    )
    return Applications(user, applied_at, amount, income, debt, employment, risk, rng.random(len(user)) < risk)


def applications_table(applications: Applications, people: People, block: int, end: int) -> pa.Table:
    """The landing table `credit_applications`: each on its day, and again, with its outcome, on the day that is known before `end`."""
    first = _rows(applications, people, block, np.arange(len(applications.user)), is_known=False)
    return pa.concat_tables([first, _rows(applications, people, block, np.flatnonzero(applications.outcome_at < end), is_known=True)])


def _rows(applications: Applications, people: People, block: int, rows: np.ndarray, *, is_known: bool) -> pa.Table:
    known_at = (applications.outcome_at if is_known else applications.applied_at)[rows]
    columns = {
        "application_id": _ids(block, rows),
        "user_id": user_ids(people.first + applications.user[rows]),
        "applied_at": as_times(applications.applied_at[rows]),
        "amount": np.round(applications.amount[rows], 2),
        "defaulted": applications.defaults[rows] if is_known else None,
        "outcome_at": as_times(known_at) if is_known else None,
    }
    table = landing_table("credit_applications", columns, as_days(known_at))
    table = table.append_column("x_income", pa.array(np.round(applications.income[rows], 2)))
    table = table.append_column("x_other_debt", pa.array(np.round(applications.debt[rows], 2)))
    return table.append_column("x_employment", pa.array(EMPLOYMENTS[applications.employment[rows]]))


def _ids(block: int, rows: np.ndarray) -> pa.Array:
    return numbered("c", block * BLOCK_NUMBERS + rows)


def credit_truth(applications: Applications, people: People, block: int) -> pa.Table:
    """Probability of default and what comes of every application, beyond the end of the window, too."""
    return pa.table(
        {
            "application_id": _ids(block, np.arange(len(applications.user))),
            "user_id": user_ids(people.first + applications.user),
            "default_probability": applications.risk,
            "defaults": applications.defaults,
            "outcome_at": as_times(applications.outcome_at),
        }
    )
