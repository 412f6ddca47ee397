"""What a marketer asks for: offers, money, limits and audience, checked at the border; from a TOML or JSON file, a form or a request.

`campaign.toml` beside this file shows every field.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from serving.errors import BadRequest

DEFAULT_MARGIN = 0.3
Objective = Literal["profit", "conversions", "visits"]
Channel = Literal["coupon", "email", "ad"]
#: Combinations of offers are arms of their own; more at once than this would be guesswork, since campaigns try one at a time.
MOST_OFFERS = 3
#: No amount is larger: sums over any number of users stay finite.
MOST_MONEY = 1e12


@dataclass(frozen=True)
class OfferTerms:
    """One offer as it may be given: its `name` is a treatment of past campaigns. `contact_cost` is paid for everybody who gets it (None:
    the mean of past campaigns), `redemption_cost` for each who then buys."""

    name: str
    channel: Channel = "email"
    contact_cost: float | None = None
    redemption_cost: float = 0.0

    def __post_init__(self) -> None:
        _rule(bool(self.name), "An offer's `name` must not be empty", self.name)
        _rule(self.channel in get_args(Channel), f"An offer's `channel` must be one of {list(get_args(Channel))}", self.channel)
        for name in ("contact_cost", "redemption_cost"):
            cost = getattr(self, name)
            _rule(cost is None or 0 <= cost <= MOST_MONEY, f"`{name}` of {self.name} must be zero or more", cost)


@dataclass(frozen=True)
class Quota:
    """How many users of a segment get an offer: as counts, or as shares of the segment's users who are not held out."""

    segment: str
    least: int = 0
    most: int | None = None
    least_share: float = 0.0
    most_share: float = 1.0

    def __post_init__(self) -> None:
        _rule(0 <= self.least <= (inf if self.most is None else self.most), f"{self.segment}: 0 <= `least` <= `most` must hold", self.least)
        _rule(0 <= self.least_share <= self.most_share <= 1, f"{self.segment}: 0 <= `least_share` <= `most_share` <= 1 must hold",
              self.least_share)  # fmt: skip

    def bounds(self, users: int) -> tuple[int, int]:
        """Least and most users of so many."""
        at_most = min(users if self.most is None else self.most, int(self.most_share * users + 1e-9))
        at_least = max(self.least, int(-(-self.least_share * users // 1)))
        return min(at_least, users + 1), at_most


@dataclass(frozen=True)
class CampaignRequest:
    """A campaign to plan. Money is in the shop's currency, `margin` a share of spend.

    `offers` empty: all that past campaigns tried, `costs` overriding their mean cost. `holdout` is the share of the audience that gets
    nothing, to measure by, and at least `holdout_users` of it. `fatigue_days`: whoever was contacted in so many days before is left out.
    `audience` has conditions by `segment` or column of `user_features`: a list of values, or `{min, max}`.
    """

    name: str
    budget: float
    margin: float = DEFAULT_MARGIN
    holdout: float = 0.1
    costs: dict[str, float] | None = None
    objective: Objective = "profit"
    offers: tuple[OfferTerms, ...] = ()
    channel_budgets: dict[str, float] = field(default_factory=dict)
    offers_per_user: int = 1
    holdout_users: int = 0
    fatigue_days: int = 0
    quotas: tuple[Quota, ...] = ()
    audience: dict[str, Any] = field(default_factory=dict)
    exclude_users: tuple[str, ...] = ()
    exclude_segments: tuple[str, ...] = ()
    starts_on: date | None = None
    ends_on: date | None = None

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name) or self.name.startswith("."):
            raise BadRequest(f"A campaign's `name` must be letters, digits, '-', '_' or '.'. Received {self.name!r}.")
        _rule(0 <= self.budget <= MOST_MONEY, "`budget` must be zero or more", self.budget)
        _rule(0 < self.margin <= 1, "`margin` must be above 0 and at most 1", self.margin)
        _rule(0 <= self.holdout < 1, "`holdout` must be from 0 to below 1", self.holdout)
        _rule(self.objective in get_args(Objective), f"`objective` must be one of {list(get_args(Objective))}", self.objective)
        _rule(1 <= self.offers_per_user <= MOST_OFFERS, f"`offers_per_user` must be from 1 to {MOST_OFFERS}", self.offers_per_user)
        for name in ("holdout_users", "fatigue_days"):
            _rule(getattr(self, name) >= 0, f"`{name}` must be zero or more", getattr(self, name))
        for offer, cost in (self.costs or {}).items():
            _rule(0 <= cost <= MOST_MONEY, f"The cost of {offer} must be zero or more", cost)
        names = [offer.name for offer in self.offers]
        _rule(len(set(names)) == len(names), "Each offer must be named once", names)
        for channel, budget in self.channel_budgets.items():
            _rule(channel in get_args(Channel), f"`channel_budgets` must be of {list(get_args(Channel))}", channel)
            _rule(0 <= budget <= MOST_MONEY, f"The budget of {channel} must be zero or more", budget)
        segments = [quota.segment for quota in self.quotas]
        _rule(len(set(segments)) == len(segments), "Each segment must have one quota", segments)
        for column, condition in self.audience.items():
            is_range = isinstance(condition, Mapping) and condition and not set(condition) - {"min", "max"}
            is_range = is_range and all(isinstance(edge, (int, float)) and isfinite(edge) for edge in condition.values())
            _rule(is_range or (isinstance(condition, (list, tuple)) and bool(condition)),
                  f"`audience.{column}` must be a list of values, or min and max", condition)  # fmt: skip
        if self.starts_on and self.ends_on and self.ends_on < self.starts_on:
            raise BadRequest(f"`ends_on` must not be before `starts_on`, {self.starts_on}. Received {self.ends_on}.")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "CampaignRequest":
        """From plain values, as a file or a form has them; BadRequest names the first that breaks a rule."""
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise BadRequest(f"A campaign may have {sorted(known)}. Received {unknown}. See {EXAMPLE.name}.")
        values = {name: value for name, value in given.items() if value is not None}
        try:
            values["offers"] = tuple(OfferTerms(**one) for one in values.get("offers", ()))
            values["quotas"] = tuple(Quota(**one) for one in values.get("quotas", ()))
            for name in ("exclude_users", "exclude_segments"):
                values[name] = tuple(str(one) for one in values.get(name, ()))
            for name in ("starts_on", "ends_on"):
                if isinstance(values.get(name), str):
                    values[name] = date.fromisoformat(values[name])
            return cls(**values)
        except (TypeError, ValueError) as problem:
            raise BadRequest(f"A campaign must have its fields as in {EXAMPLE.name}. {problem}.") from None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, from which `of` makes the same request."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain


EXAMPLE = Path(__file__).with_name("campaign.toml")


def request_of(path: Path) -> CampaignRequest:
    """The campaign of a TOML or JSON file; FileNotFoundError where there is none, BadRequest where it breaks a rule."""
    text = path.read_text(encoding="utf-8")
    try:
        return CampaignRequest.of(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as problem:
        raise BadRequest(f"A campaign is a TOML or JSON file. {path.name}: {problem}. Start from {EXAMPLE.name}.") from None


def _rule(holds: bool, rule: str, received: Any) -> None:
    if not holds:
        raise BadRequest(f"{rule}. Received {received!r}.")
