"""Intervals that hold at every look at once, so that an experiment may be looked at daily and stopped when it has told enough.

The interval is Robbins' normal mixture in its asymptotic form (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central
limit theory and asymptotic confidence sequences"); its p-value is the mixture sequential probability ratio test of Johari, Koomen, Pekelis
and Walsh (2017). Both hold for a process that, in *information time* `t`, is as a Brownian motion: two looks at `s < t` correlate by
`sqrt(s / t)`. For users who come one after another `t` is their number. For a campaign everybody is in on the first day and the outcomes
grow, heavy buyers staying heavy: there the time comes from the looks themselves, by `next_information`. Looks that correlate more than
that cross a boundary less often (Slepian's inequality), so the error stays below what is promised.
"""

import math
from dataclasses import dataclass
from typing import Literal

Action = Literal["go_on", "stop_benefit", "stop_harm", "stop_futility", "undecided"]

#: The interval is narrowest, against a single look's, when so many times the information of the first look is there.
BEST_AT = 10.0
#: Fewer users in an arm, or fewer of them with an outcome, are no normal mean: no interval is given.
LEAST_USERS, LEAST_OUTCOMES = 50, 30


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval."""

    mean: float
    low: float
    high: float

    def times(self, factor: float) -> "Interval":
        return Interval(self.mean * factor, self.low * factor, self.high * factor)

    def plus(self, shift: float) -> "Interval":
        return Interval(self.mean + shift, self.low + shift, self.high + shift)


def boundary(information: float, alpha: float) -> float:
    """How many standard errors an interval reaches to each side, at `information` times that of the first look.

    Over all looks together it leaves out the truth with a probability of at most `alpha`.
    """
    mixed = information * _mixing(alpha)
    return math.sqrt((mixed + 1) / mixed * math.log((mixed + 1) / alpha**2))


def always_valid(estimate: float, standard_error: float, information: float, alpha: float) -> Interval:
    """The interval of one look."""
    reach = boundary(information, alpha) * standard_error
    return Interval(estimate, estimate - reach, estimate + reach)


def p_value(z: float, information: float, alpha: float) -> float:
    """The p-value of one look, below `alpha` exactly where the interval leaves out zero; the least of all looks is valid at any of them."""
    mixed = information * _mixing(alpha)
    return min(1.0, math.exp(0.5 * math.log1p(mixed) - z * z * mixed / (2 * (mixed + 1))))


def next_information(information: float, correlation: float) -> float:
    """Information of a look that correlates so with the look before: what a Brownian motion would have.

    A correlation of zero or less says that nothing was carried over; such a look counts as one ten times as late, not as infinitely late.
    """
    return information / min(max(correlation, math.sqrt(0.1)), 1.0) ** 2


def decide(effect: Interval | None, worthwhile: float) -> Action:
    """What the interval of a profit says: harm (all of it below zero), benefit (all above), futility (even its upper end is below what
    would be worthwhile), or none of these yet."""
    if effect is None:
        return "go_on"
    if effect.high < 0:
        return "stop_harm"
    if effect.low > 0:
        return "stop_benefit"
    return "stop_futility" if effect.high < worthwhile else "go_on"


def _mixing(alpha: float) -> float:
    """Variance of the mixture for information counted in first looks (Waudby-Smith et al., section B.2, to second order)."""
    return (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / BEST_AT
