"""What a decision about an order costs, and which one costs least. Imports nothing heavy."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from settings import get_settings

COSTS_FILE = Path(__file__).with_name("fraud.toml")
VERDICTS = ("approve", "review", "refuse")


class BadCosts(ValueError):
    """The file of costs cannot be followed; the message says where."""


@dataclass(frozen=True)
class FraudCosts:
    """The figures of `fraud.toml`, which says what each is."""

    reviews_a_day: int
    review_cost: float
    missed_share: float
    missed_fee: float
    insult_share: float
    insult_cost: float
    review_catches: float
    review_insults: float

    def of(self, probability: float, amount: float) -> dict[str, float]:
        """The expected cost of each verdict on an order of `amount` that is fraud with `probability`."""
        missed = probability * (self.missed_share * amount + self.missed_fee)
        insulted = (1 - probability) * (self.insult_share * amount + self.insult_cost)
        reviewed = self.review_cost + (1 - self.review_catches) * missed + self.review_insults * insulted
        return {"approve": missed, "review": reviewed, "refuse": insulted}

    def verdict(self, probability: float, amount: float) -> str:
        """The one that costs least; of equals the one that troubles the customer less."""
        costs = self.of(probability, amount)
        return min(VERDICTS, key=lambda name: (costs[name], VERDICTS.index(name)))

    def saved_by_review(self, probability: float, amount: float) -> float:
        """What a review saves against the better of the two decisions without one."""
        costs = self.of(probability, amount)
        return min(costs["approve"], costs["refuse"]) - costs["review"]


def fraud_costs(path: Path | None = None) -> FraudCosts:
    """The costs in `path`, `settings.fraud_costs` or this folder's file; BadCosts where a figure is missing, unknown or impossible."""
    path = path or Path(get_settings().fraud_costs or COSTS_FILE)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as problem:
        raise BadCosts(f"Costs of fraud decisions are a TOML file. {path}: {problem}. Start from {COSTS_FILE.name}.") from problem
    names = [one.name for one in fields(FraudCosts)]
    if set(found) != set(names):
        raise BadCosts(f"Costs of fraud decisions must be {names}. {path} has {sorted(found)}. See {COSTS_FILE.name}.")
    for name, value in found.items():
        is_share = name in ("review_catches", "review_insults")
        is_number = isinstance(value, int if name == "reviews_a_day" else (int, float)) and not isinstance(value, bool)
        if not is_number or value < 0 or (is_share and value > 1):
            rule = "a share from 0 to 1" if is_share else "a whole number of zero or more" if name == "reviews_a_day" else "zero or more"
            raise BadCosts(f"`{name}` must be {rule}. {path} has {value!r}. Correct it.")
    return FraudCosts(**found)
