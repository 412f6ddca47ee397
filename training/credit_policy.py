"""The shop's credit policy (`credit.toml`): thresholds, points, reasons in words, what may never decide. Imports nothing heavy."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Literal

POLICY_FILE = Path(__file__).with_name("credit.toml")

Verdict = Literal["approve", "review", "refuse"]


class BadPolicy(ValueError):
    """The policy says what cannot be followed; the message says where."""

    exit_code = 2


@dataclass(frozen=True)
class Actionable:
    """A column, or all that begin with `column` before a `*`, that an applicant can change; bounds are None where there are none."""

    column: str
    to: Literal["down", "up"]
    least: float | None = None
    most: float | None = None
    is_share: bool = False

    def is_of(self, name: str) -> bool:
        return name.startswith(self.column[:-1]) if self.column.endswith("*") else name == self.column


@dataclass(frozen=True)
class CreditPolicy:
    """See `credit.toml`, where each value is explained."""

    approve_below: float
    refuse_from: float
    base_score: float
    base_odds: float
    double_odds: float
    least_points: float
    most_reasons: int
    protected: tuple[str, ...]
    actionable: tuple[Actionable, ...]
    words: dict[str, dict[str, str]]
    directions: dict[str, dict[str, str]]

    def decide(self, probability: float) -> Verdict:
        if probability < self.approve_below:
            return "approve"
        return "refuse" if probability >= self.refuse_from else "review"

    @property
    def points_per_log_odds(self) -> float:
        """How many points one unit of the log odds of default costs."""
        return self.double_odds / log(2)

    def points(self, log_odds: float) -> float:
        """The score of an application by its log odds of default."""
        return self.base_score - self.points_per_log_odds * (log_odds + log(self.base_odds))

    def in_words(self, group: str, direction: str = "") -> dict[str, str]:
        """The group in English and Chinese, and where it lies to a good payer's; its own name where the policy has no words for it."""
        plain = group.removeprefix("x_").replace("_", " ")
        words = self.words.get(group, {"en": plain, "zh": plain})
        sentences = self.directions.get(direction)
        return {language: sentences[language].format(name=name) for language, name in words.items()} if sentences else words


def credit_policy(path: Path | None = None) -> CreditPolicy:
    """The policy in `path`, in `settings.credit_policy`, or in this folder's file. Raises BadPolicy."""
    if path is None:
        from settings import get_settings

        path = Path(get_settings().credit_policy or POLICY_FILE)
    try:
        return _checked(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as problem:
        raise BadPolicy(f"The credit policy is a TOML file. {path}: {problem}. Start from training/{POLICY_FILE.name}.") from problem
    except (KeyError, TypeError, AttributeError) as problem:
        raise BadPolicy(
            f"The credit policy must have the tables and keys of training/{POLICY_FILE.name}. {path}: {problem!r}. Start from a copy of it."
        ) from problem


def _checked(told: dict[str, Any]) -> CreditPolicy:
    decision, score, reasons = told["decision"], told["score"], told["reasons"]
    policy = CreditPolicy(
        approve_below=float(decision["approve_below"]),
        refuse_from=float(decision["refuse_from"]),
        base_score=float(score["base_score"]),
        base_odds=float(score["base_odds"]),
        double_odds=float(score["double_odds"]),
        least_points=float(reasons["least_points"]),
        most_reasons=int(reasons["most"]),
        protected=tuple(told["protected"]["columns"]),
        actionable=tuple(Actionable(**one) for one in told.get("actionable", ())),
        words={name: {"en": str(one["en"]), "zh": str(one["zh"])} for name, one in told.get("words", {}).items()},
        directions={name: {"en": str(one["en"]), "zh": str(one["zh"])} for name, one in told.get("directions", {}).items()},
    )
    for direction, sentences in policy.directions.items():
        if strange := [text for text in sentences.values() if text.count("{") != 1 or "{name}" not in text]:
            raise BadPolicy(f"The words of a direction must hold `{{name}}` once. Received {strange[0]!r} for {direction!r}.")
    if not 0 < policy.approve_below <= policy.refuse_from < 1:
        raise BadPolicy(
            "`approve_below` and `refuse_from` must rise and lie between 0 and 1. "
            f"Received {policy.approve_below:g} and {policy.refuse_from:g}."
        )
    if policy.base_odds <= 0 or policy.double_odds <= 0:
        raise BadPolicy(f"`base_odds` and `double_odds` must be above 0. Received {policy.base_odds:g} and {policy.double_odds:g}.")
    for one in policy.actionable:
        if one.to not in ("down", "up"):
            raise BadPolicy(f"`to` must be 'down' or 'up'. Received {one.to!r} for {one.column!r}.")
        if forbidden := [name for name in policy.protected if one.is_of(name)]:
            raise BadPolicy(
                f"Nobody can be asked to change what is protected. Received {one.column!r} as actionable, which is {forbidden[0]!r}. "
                "Take it out of [[actionable]]."
            )
    return policy
