"""What each offer, or several at once, costs and is worth for each user: from the model's effects and a campaign's terms to money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from serving.budget import Limit
from serving.campaign_request import CampaignRequest, OfferTerms
from serving.errors import BadRequest

KINDS = ("visit_uplift", "conversion_uplift", "spend_uplift")
#: What an objective counts: the model's effect, and the column of `campaign_exposures` that it is learned from.
COUNTED = {"profit": ("spend_uplift", "spend"), "conversions": ("conversion_uplift", "converted"), "visits": ("visit_uplift", "visited")}


@dataclass(frozen=True)
class Terms:
    """A campaign's offers, their costs known, and its arms: `arms[a]` are the places of the offers that arm a gives together. Of the
    offers `without_cost` nobody knows what a contact costs, and it counts as 0."""

    offers: tuple[OfferTerms, ...]
    arms: tuple[tuple[int, ...], ...]
    without_cost: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: CampaignRequest, treatments: Sequence[str], past_costs: Mapping[str, float]) -> "Terms":
        """BadRequest where an offer or a cost is of no treatment that the model knows."""
        asked = request.offers or tuple(OfferTerms(name) for name in treatments)
        for what, names in (("offers", [offer.name for offer in asked]), ("costs", list(request.costs or {}))):
            if unknown := sorted(set(names) - set(treatments)):
                raise BadRequest(f"`{what}` must name offers of this shop, {list(treatments)}. Received {unknown}.")
        known = {**past_costs, **(request.costs or {})}
        offers = tuple(replace(offer, contact_cost=known.get(offer.name, 0.0)) if offer.contact_cost is None else offer for offer in asked)
        without = tuple(offer.name for offer in asked if offer.contact_cost is None and offer.name not in known)
        many = min(request.offers_per_user, len(offers))
        return cls(offers, tuple(arm for size in range(1, many + 1) for arm in combinations(range(len(offers)), size)), without)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the arms: the offer's, or those of several with a plus between."""
        return tuple("+".join(self.offers[place].name for place in arm) for arm in self.arms)

    @property
    def members(self) -> np.ndarray:
        """Whether an arm gives an offer, `(offers, arms)`."""
        return np.array([[float(place in arm) for arm in self.arms] for place in range(len(self.offers))])

    def money(
        self, request: CampaignRequest, treatments: Sequence[str], effects: Mapping[str, np.ndarray], buys_anyway: np.ndarray
    ) -> "Money":
        """`effects` are `(users, treatments)`, `buys_anyway` `(users,)`: who buys has redeemed, with the offer's own effect added.

        BadRequest where past campaigns never delivered an outcome that the objective or a redemption needs: its effects are NaN.
        """
        places = [list(treatments).index(offer.name) for offer in self.offers]
        own = {kind: np.asarray(effects[kind], float)[:, places] for kind in KINDS}
        self._check_known(request, own)
        redeems = np.clip(np.nan_to_num(buys_anyway)[:, None] + own["conversion_uplift"], 0.0, 1.0)
        contact, redemption = (
            np.array([getattr(offer, name) for offer in self.offers], float) for name in ("contact_cost", "redemption_cost")
        )
        cost = contact[None, :] + np.where(redemption > 0, redemption * redeems, 0.0)  # (users, offers)
        added = {kind: values @ self.members for kind, values in own.items()}
        spent = cost @ self.members
        profit = request.margin * added["spend_uplift"] - spent
        value = profit if request.objective == "profit" else added[COUNTED[request.objective][0]]
        channels = [
            Limit(channel, (cost * [float(offer.channel == channel) for offer in self.offers]) @ self.members, budget)
            for channel, budget in sorted(request.channel_budgets.items())
        ]
        return Money(added, spent, profit, value, tuple(channels))

    def _check_known(self, request: CampaignRequest, own: Mapping[str, np.ndarray]) -> None:
        unknown = {kind for kind, values in own.items() if np.isnan(values).all(axis=0).any()}
        kind, column = COUNTED[request.objective]
        if kind in unknown:
            known = [objective for objective, (other, _) in COUNTED.items() if other not in unknown]
            raise BadRequest(
                f"`objective` must be one whose outcome past campaigns told: {known}. Received {request.objective!r}, and `{column}` of "
                "campaign_exposures was not delivered. Choose another, or deliver it and train again."
            )
        if "conversion_uplift" in unknown and (paid := [offer.name for offer in self.offers if offer.redemption_cost > 0]):
            raise BadRequest(
                f"A `redemption_cost` needs to know who buys, and `converted` of campaign_exposures was not delivered. Received it of "
                f"{paid}. Count it into `contact_cost`, or deliver the column and train again."
            )


@dataclass(frozen=True)
class Money:
    """Of each user and arm, `(users, arms)`: added effects by kind, expected cost, expected profit, what the objective counts, and what
    the channels' budgets bound."""

    added: dict[str, np.ndarray]
    cost: np.ndarray
    profit: np.ndarray
    value: np.ndarray
    channels: tuple[Limit, ...]

    def of(self, table: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """What a table says of the chosen arms, `(users,)`; 0 for none."""
        return np.where(chosen >= 0, table[np.arange(len(chosen)), chosen], 0.0)


def price_in_words(price: float, objective: str) -> str:
    """The dual price of the budget as a sentence."""
    if price <= 0:
        return "The budget does not limit this plan: more of it would add nothing."
    what = {"profit": "of expected profit", "conversions": "expected purchases", "visits": "expected visits"}[objective]
    return f"One more unit of budget would return {price:.2f} {what}, beyond what it costs." if objective == "profit" else (
        f"One more unit of budget would return {price:.3g} {what}."
    )  # fmt: skip


def plain(terms: Terms) -> list[dict[str, Any]]:
    return [vars(offer) for offer in terms.offers]
