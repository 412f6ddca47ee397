"""A campaign's return, as it was known at the end of a day: what each offer cost, what it brought beyond its holdout, and what to do.

Pure arithmetic on one row a user. The effect of an offer is told by the users for whom it was intended: some got it, the others are the
holdout, by a draw. Spend becomes money by the margin; each interval holds over all days together (`serving/sequential.py`), and those of
the offers over all offers together (Bonferroni).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from serving.roi_effect import Effect, effect_of, is_measurable, strata_of
from serving.sequential import Action, Interval, always_valid, decide, next_information, p_value

ALPHA = 0.05
CONTROL = "control"
#: The line of all offers together.
ALL = "all offers"
#: An offer is worthwhile from this share of what its plan expected.
WORTHWHILE = 0.25
BEFORE = ("visits_before", "purchases_before", "spend_before")


@dataclass(frozen=True)
class Terms:
    """What the plan says of its offers: `contact` is paid for each user who gets one, `redemption` for each who uses it.

    `expected` is the profit that the plan expects of an offer by the end of the outcome window: from `starts_on`, or the day of assignment
    where that is later, through `ends_on`; of `days` where the campaign has no last day.
    """

    margin: float
    days: int
    contact: Mapping[str, float]
    redemption: Mapping[str, float]
    expected: Mapping[str, float]
    starts_on: date | None = None
    ends_on: date | None = None

    def windows(self, assigned_at: pd.Series) -> pd.DataFrame:
        """Of each user the first midnight of the outcome window and the one it ends before: `first_at`, `until_at`, in the users' order."""
        first = assigned_at.dt.normalize()
        if self.starts_on:
            first = first.clip(lower=pd.Timestamp(self.starts_on))
        until = pd.Timestamp(self.ends_on + timedelta(days=1)) if self.ends_on else first + timedelta(days=self.days)
        return pd.DataFrame({"first_at": first, "until_at": until}, index=assigned_at.index)


@dataclass(frozen=True)
class Gain:
    """What an offer brought beyond its holdout, of one kind: per user who got it and in all, and how the estimate was sharpened.

    `information` is that of this look in units of the first one; `variance_reduction` the share of variance that the adjustment saves.
    """

    per_user: Interval
    total: Interval
    standard_error: float
    information: float
    variance_reduction: float


@dataclass(frozen=True)
class Line:
    """One offer's account. `sent` and costs are facts; gains, profit and return are estimates, None while nothing is known to be sent or
    too few users tell.

    `gains` are of visits, conversions, spend and margin (of the spend, less redemptions); `elapsed` is the mean share of the outcome
    window that is over.
    """

    offer: str
    planned: int
    holdout: int
    sent: int
    redeemed: int
    contact_cost: float
    redemption_cost: float
    elapsed: float
    gains: dict[str, Gain]
    profit: Interval | None
    roi: Interval | None
    expected_profit: float
    p_value: float | None
    action: Action

    @property
    def cost(self) -> float:
        return self.contact_cost + self.redemption_cost


@dataclass(frozen=True)
class Look:
    """The last estimate of a gain and its information: what the next look continues from."""

    effect: Effect
    information: float


@dataclass
class Looks:
    """The last looks by offer and kind of gain."""

    last: dict[tuple[str, str], Look] = field(default_factory=dict)


def account(users: pd.DataFrame, terms: Terms, at: datetime, looks: Looks) -> list[Line]:
    """One line an offer in alphabetical order, then one of all; `looks` are those of the day before and become those of this day.

    `users` has one row a user, as known at `at`: user_id, segment, intended_offer, arm, propensity, assigned_at, is_sent, cost (as the shop
    reported it, NaN where it did not), visits, purchases, spend, and `BEFORE`. The order of the rows does not matter.
    """
    users = users[users["intended_offer"].notna()].sort_values("user_id", kind="stable")
    offers = sorted(users["intended_offer"].unique())
    parts = [(offer, users[users["intended_offer"] == offer], ALPHA / len(offers)) for offer in offers]
    if len(offers) > 1:
        parts.append((ALL, users, ALPHA))
    return [_line(name, rows, terms, at, alpha, looks) for name, rows, alpha in parts]


def _line(name: str, users: pd.DataFrame, terms: Terms, at: datetime, alpha: float, looks: Looks) -> Line:
    is_treated = (users["arm"] != CONTROL).to_numpy()
    windows = terms.windows(users["assigned_at"])
    is_in, is_sent = (windows["first_at"] < at).to_numpy(), users["is_sent"].to_numpy(bool)
    offer = users["intended_offer"]
    contact = users["cost"].fillna(offer.map(terms.contact).fillna(0.0)).to_numpy(float) * is_sent
    redemption = offer.map(terms.redemption).fillna(0.0).to_numpy(float)
    is_redeemed = is_treated & is_in & is_sent & (users["purchases"].to_numpy() > 0) & (redemption > 0)
    outcomes = {
        "visits": users["visits"].to_numpy(float),
        "conversions": (users["purchases"].to_numpy() > 0).astype(float),
        "spend": users["spend"].to_numpy(float),
        "margin": terms.margin * users["spend"].to_numpy(float) - redemption * is_redeemed,
    }
    contacts, got = float(contact.sum()), int((is_treated & is_in).sum())
    elapsed = _elapsed(windows[is_in & is_treated], at)
    arms = _Arms.of(users, is_treated, is_in)
    measured = outcomes if is_sent.any() else {}
    gains = {kind: gain for kind, outcome in measured.items() if (gain := arms.gain((name, kind), outcome, alpha, looks))}
    expected = sum(terms.expected.get(one, 0.0) for one in offer.unique())
    planned = int(is_treated.sum())
    paid = float((redemption * is_redeemed).sum())
    gross = gains.get("margin")
    profit = gross.total.plus(-contacts) if gross else None
    return Line(
        name,
        planned,
        int((~is_treated).sum()),
        int(is_sent.sum()),
        int(is_redeemed.sum()),
        contacts,
        paid,
        elapsed,
        gains,
        profit,
        profit.times(1 / (contacts + paid)) if profit and contacts + paid > 0 else None,
        expected,
        _p_value(gross, contacts / max(got, 1), alpha),
        decide_at(gross.total if gross else None, contacts, elapsed, WORTHWHILE * expected * got / max(planned, 1)),
    )


def decide_at(gross: Interval | None, cost: float, elapsed: float, worthwhile: float) -> Action:
    """What to do when `elapsed` of the outcome window is over: `gross` is the margin gained so far, `cost` what the contacts cost.

    The cost comes first and the gain later. So before the end harm is a gain below zero, not a profit below zero; benefit is a gain so far
    that pays the whole cost; futility means that even at the best pace that the interval allows the rest would not make it worthwhile. At
    the end the profit's interval decides, or leaves it undecided.
    """
    if gross is None or elapsed <= 0:
        return "go_on"
    if elapsed >= 1:
        action = decide(gross.plus(-cost), worthwhile)
        return "undecided" if action == "go_on" else action
    if gross.high < 0:
        return "stop_harm"
    if gross.low > cost:
        return "stop_benefit"
    return "stop_futility" if gross.high / elapsed - cost < worthwhile else "go_on"


@dataclass(frozen=True)
class _Arms:
    """The users who are in by now, `(in, ...)`: their places among all, who of them is treated, their strata, what they did before."""

    place: np.ndarray
    is_treated: np.ndarray
    strata: np.ndarray
    before: np.ndarray
    users: int

    @classmethod
    def of(cls, users: pd.DataFrame, is_treated: np.ndarray, is_in: np.ndarray) -> "_Arms":
        """Strata are the segments, those of each offer and of each chance of getting it by themselves."""
        here, treated = users[is_in], is_treated[is_in]
        chance = np.where(treated, here["propensity"], 1 - here["propensity"]).round(4)
        named = here["segment"].fillna("").astype(str) + "|" + here["intended_offer"] + "|" + chance.astype(str)
        before = here[list(BEFORE)].to_numpy(float)
        return cls(np.flatnonzero(is_in), treated, strata_of(named.to_numpy(), treated), before, len(users))

    def gain(self, key: tuple[str, str], outcome: np.ndarray, alpha: float, looks: Looks) -> Gain | None:
        """The gain of one kind, as the look after the last one; None where too few users tell."""
        own = outcome[self.place]
        if not is_measurable(own, self.is_treated):
            return None
        found = effect_of(own, self.is_treated, self.strata, self.before)
        parts = np.zeros(self.users)
        parts[self.place] = found.parts
        effect = Effect(found.estimate, found.standard_error, found.plain_error, parts)
        last = looks.last.get(key)
        information = next_information(last.information, effect.correlation(last.effect)) if last else 1.0
        looks.last[key] = Look(effect, information)
        interval = always_valid(effect.estimate, effect.standard_error, information, alpha)
        total = interval.times(int(self.is_treated.sum()))
        return Gain(interval, total, effect.standard_error, information, effect.variance_reduction)


def _p_value(gross: Gain | None, cost: float, alpha: float) -> float | None:
    """Of the hypothesis that the offer earns just what it costs."""
    if gross is None:
        return None
    return p_value((gross.per_user.mean - cost) / gross.standard_error, gross.information, alpha)


def _elapsed(windows: pd.DataFrame, at: datetime) -> float:
    over = (pd.Timestamp(at) - windows["first_at"]) / (windows["until_at"] - windows["first_at"])
    return float(over.clip(upper=1.0).mean()) if len(over) else 0.0
