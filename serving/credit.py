"""One application for credit decided: probability, points, decision by the policy, reasons, and what would change it.

The model reads the application: its amount and its own columns. What the applicant does in the shop comes through the feature service
`risk_consented_v1` alone, which knows it only of those who agreed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np

from serving.decisions import Decision, decision_time, durable_log
from serving.errors import BadRequest, NotServed
from serving.model_client import Prediction
from serving.shop_front import ShopFront, front
from settings import get_settings
from training.credit_policy import POLICY_FILE, Actionable, BadPolicy, CreditPolicy, Verdict, credit_policy
from training.signatures import CREDIT_BEHAVIOUR, EXPLAIN, RISK, SCORE

Value = float | str | None

#: Values of a column that are tried on the way to its bound, and how many ways out are told.
STEPS, MOST_WAYS = 8, 3
#: A whole number no larger is a code, changed by whole steps.
LARGEST_CODE = 24


@dataclass(frozen=True)
class Application:
    """What is known of an application; `columns` are the shop's own `x_*`."""

    application_id: str
    user_id: str | None
    amount: float | None
    columns: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Reason:
    """A group of columns that lowered the score, in words, and the points it cost compared with a typical good payer.

    `direction` says where the applicant's own values lie to the good payer's (`training.credit_explain.DIRECTIONS`).
    """

    code: str
    direction: str
    points: float
    en: str
    zh: str


@dataclass(frozen=True)
class GroupPoints:
    """What a group of columns adds to the typical good payer's points; below 0 where it lowers the score."""

    code: str
    points: float


@dataclass(frozen=True)
class Change:
    """A column that would have to be different."""

    column: str
    now: float
    then: float


@dataclass(frozen=True)
class WayOut:
    """Changes, of what a person can change, after which the decision would be another."""

    changes: tuple[Change, ...]
    probability: float
    points: float
    decision: Verdict


@dataclass(frozen=True)
class CreditDecision:
    """The decision and all that it rests on: `points` are `reference_points`, the typical good payer's, and those of all `groups`."""

    application_id: str
    decision: Verdict
    probability: float
    points: float
    reference_points: float
    groups: tuple[GroupPoints, ...]
    reasons: tuple[Reason, ...]
    ways_out: tuple[WayOut, ...]
    warnings: tuple[str, ...]
    model_version: int
    as_of: datetime
    decision_id: str = ""


def decide(application: Application, *, shop: ShopFront | None = None, policy: CreditPolicy | None = None) -> CreditDecision:
    """The decision on one application, logged. Raises BadRequest for a column of the wrong kind, NotServed without model, policy or log."""
    shop, policy = shop or front(), policy or policy_in_force()
    inputs, warnings = _inputs(application, shop, policy)
    answer = shop.predict(RISK.name, inputs, user_id=application.application_id, signature=EXPLAIN)
    probability, log_odds = float(answer["default_probability"][0]), float(answer["log_odds"][0])
    decision = policy.decide(probability)
    told = CreditDecision(
        application_id=application.application_id,
        decision=decision,
        probability=probability,
        points=policy.points(log_odds),
        reference_points=policy.points(float(answer["reference_log_odds"][0])),
        groups=_groups(answer, policy),
        reasons=_reasons(answer, policy),
        ways_out=() if decision == "approve" else _ways_out(application, inputs, decision, shop, policy),
        warnings=(*warnings, *(text for text in _texts(answer["warnings"][0]) if text)),
        model_version=answer.version,
        as_of=_now(shop),
    )
    return replace(told, decision_id=_logged(application, told))


@cache
def _policy_of(path: Path, _written_at: int) -> CreditPolicy:
    return credit_policy(path)


def policy_in_force() -> CreditPolicy:
    """The policy as its file says now; NotServed where it cannot be followed."""
    path = Path(get_settings().credit_policy or POLICY_FILE)
    try:
        return _policy_of(path, path.stat().st_mtime_ns)
    except (OSError, BadPolicy) as error:
        raise NotServed(f"No decision can be made without the credit policy. {error}") from error


def _inputs(application: Application, shop: ShopFront, policy: CreditPolicy) -> tuple[dict[str, np.ndarray], list[str]]:
    """The model's inputs, one row, and what of the application was not read or not known."""
    row = shop.user_row(RISK.feature_service, application.user_id) if application.user_id else {}
    numbers = {"amount": application.amount, **{name: row.get(name) for name in CREDIT_BEHAVIOUR}}
    inputs = {name: np.array([np.nan if value is None else value], np.float32) for name, value in numbers.items()}
    known = shop.extra_inputs(RISK.name, inputs)
    for name, tensor in known.items():
        value, is_word = application.columns.get(name), tensor.dtype == "string"
        if value is not None and isinstance(value, str) != is_word:
            wanted = "words" if is_word else "a number"
            raise BadRequest(f"The model learned `{name}` as {wanted}. Received {value!r}. Send it as it was when the model was trained.")
        inputs[name] = np.array(["" if value is None else value], object) if is_word else np.array([value], np.float32)
    protected = sorted(name for name in application.columns if name in policy.protected)
    strange = sorted(name for name in application.columns if name not in known and name not in policy.protected)
    unknown = sorted(name for name in known if application.columns.get(name) is None)
    sentences = (
        ("Not read, since it is protected", protected),
        ("Not read, since the model does not know it", strange),
        ("Not known of this applicant", unknown),
    )
    return inputs, [f"{text}: {', '.join(names)}." for text, names in sentences if names]


def _reasons(answer: Prediction, policy: CreditPolicy) -> tuple[Reason, ...]:
    costs = policy.points_per_log_odds * answer["effects"][0].astype(float)
    groups = _texts(answer["groups"][0])
    sides = _texts(answer["directions"][0]) if "directions" in answer else [""] * len(groups)  # older versions tell none
    order = [place for place in np.argsort(-costs, kind="stable")[: policy.most_reasons] if costs[place] >= policy.least_points]
    return tuple(
        Reason(groups[place], sides[place], round(float(costs[place]), 1), **policy.in_words(groups[place], sides[place]))
        for place in order
    )


def _groups(answer: Prediction, policy: CreditPolicy) -> tuple[GroupPoints, ...]:
    """Every group of columns, the one that lowers the score most first."""
    points = -policy.points_per_log_odds * answer["effects"][0].astype(float)
    groups = _texts(answer["groups"][0])
    return tuple(GroupPoints(groups[place], float(points[place])) for place in np.argsort(points, kind="stable"))


def logged_code(reason: Reason) -> str:
    """A reason as the log of decisions has it: `x_other_debt:high`."""
    return f"{reason.code}:{reason.direction}" if reason.direction else reason.code


def code_in_words(code: str, language: str) -> str:
    """A logged reason in the words of the policy in force."""
    group, _, direction = code.partition(":")
    return policy_in_force().in_words(group, direction)[language]


def _ways_out(
    application: Application, inputs: dict[str, np.ndarray], decision: Verdict, shop: ShopFront, policy: CreditPolicy
) -> tuple[WayOut, ...]:
    """The smallest changes that would better the decision: fewest columns, then the least of the way to their bounds."""
    ladders = {}
    for name in inputs:
        now = application.amount if name == "amount" else application.columns.get(name)
        rule = next((one for one in policy.actionable if one.is_of(name)), None)
        if rule and isinstance(now, int | float) and (steps := ladder(float(now), rule)):
            ladders[name] = (float(now), steps)
    sets = [chosen for size in (1, 2) for chosen in combinations(ladders, size)]
    if len(ladders) > 2:
        sets.append(tuple(ladders))
    tried = [
        tuple(Change(name, ladders[name][0], ladders[name][1][min(step, len(ladders[name][1]) - 1)]) for name in chosen)
        for chosen in sets
        for step in range(max(len(ladders[name][1]) for name in chosen))
    ]
    if not tried:
        return ()
    rows = {name: np.repeat(values, len(tried)) for name, values in inputs.items()}
    for row, changes in enumerate(tried):
        for change in changes:
            rows[change.column][row] = change.then
    answer = shop.predict(RISK.name, rows, user_id=application.application_id, signature=SCORE)
    better: tuple[Verdict, ...] = ("approve",) if decision == "review" else ("approve", "review")
    found: dict[Verdict, list[WayOut]] = {wanted: [] for wanted in better}
    for changes, chance, log_odds in zip(tried, answer["default_probability"], answer["log_odds"], strict=True):
        verdict = policy.decide(float(chance))
        names = {change.column for change in changes}
        if verdict in found and not any(names >= {change.column for change in way.changes} for way in found[verdict]):
            found[verdict].append(WayOut(changes, float(chance), policy.points(float(log_odds)), verdict))
    return tuple(next((ways for ways in found.values() if ways), [])[:MOST_WAYS])


def ladder(now: float, rule: Actionable) -> list[float]:
    """Values from `now`, which is left out, to the rule's bound, in STEPS equal steps; a code goes by whole steps. Empty past the bound."""
    bound = rule.least if rule.to == "down" else rule.most
    if bound is None:
        return []
    end = bound * abs(now) if rule.is_share else bound
    if (end >= now) if rule.to == "down" else (end <= now):
        return []
    if now == int(now) and end == int(end) and max(abs(now), abs(end)) <= LARGEST_CODE:
        step = -1 if rule.to == "down" else 1
        return [float(value) for value in range(int(now) + step, int(end) + step, step)]
    return [round(now + (end - now) * step / STEPS, 2) for step in range(1, STEPS + 1)]


def _logged(application: Application, told: CreditDecision) -> str:
    """The id in the log of decisions. A decision that cannot be logged is not given."""
    row = Decision(
        application.user_id,
        "credit",
        application.application_id,
        RISK.name,
        str(told.model_version),
        told.as_of,
        score=told.probability,
        arm=told.decision,
        reason=json.dumps([logged_code(reason) for reason in told.reasons]),
    )
    name = durable_log().log([row], decision_time(get_settings(), told.as_of))
    if name is None:
        raise NotServed("A decision must be on disk before it is given. The log of decisions took no row. Send the request again later.")
    return f"{name}.1"


def _now(shop: ShopFront) -> datetime:
    """The clock of the house; the time of day in a house that has published no features."""
    try:
        return shop.clock()
    except NotServed:
        return datetime.now(UTC).replace(tzinfo=None)


def _texts(values: np.ndarray) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]
