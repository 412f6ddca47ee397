"""Segments that a shop declares: rules over the features of the mart `user_features`, in TOML, checked when they are read."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from feature_repo.contract import Kind, mart
from serving.errors import BadRequest
from settings import ROOT, get_settings

DEFAULT_FILE = ROOT / "serving" / "segments.toml"
FEATURES = "user_features"

_NUMBER = (int, float)
#: What may be asked of a feature of each kind, and the type of the answer.
CONDITIONS: dict[Kind, dict[str, type | tuple[type, ...]]] = {
    "int": {"at_least": _NUMBER, "at_most": _NUMBER},
    "float": {"at_least": _NUMBER, "at_most": _NUMBER},
    "string": {"one_of": list, "none_of": list},
    "timestamp": {"days_ago_at_least": _NUMBER, "days_ago_at_most": _NUMBER},
    "string_list": {"has": str},
}


@dataclass(frozen=True)
class SegmentRule:
    """A declared segment: all of `conditions`, `{feature: {condition: value}}`, must hold; what is unknown does not."""

    name: str
    says: str
    conditions: Mapping[str, Mapping[str, Any]]

    def holds(self, users: pd.DataFrame, at: datetime) -> pd.Series:
        """Whether each row of `users`, features as known at `at`, belongs."""
        belongs = pd.Series(True, index=users.index)
        for feature, asked in self.conditions.items():
            for condition, value in asked.items():
                belongs &= _holds(users[feature], condition, value, at)
        return belongs


def segment_rules(file: Path | None = None) -> tuple[SegmentRule, ...]:
    """The shop's segments, in the file's order; raises BadRequest, naming the segment and the fault, where one cannot be asked."""
    chosen = get_settings().segment_rules
    path = file or (Path(chosen) if chosen else DEFAULT_FILE)
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(f"The segments' rules must be a TOML file. Received {path}: {error}. See serving/segments.toml.") from error
    return tuple(_rule(name, declared) for name, declared in told.items())


def _rule(name: str, declared: Any) -> SegmentRule:
    kinds = {column.name: column.kind for column in mart(FEATURES).columns}
    if not isinstance(declared, dict) or not isinstance(declared.get("says"), str) or len(declared) < 2:
        raise _refused(name, "must have `says`, a text, and at least one feature", declared)
    conditions = {feature: asked for feature, asked in declared.items() if feature != "says"}
    for feature, asked in conditions.items():
        allowed = CONDITIONS.get(kinds.get(feature, "bool"), {})
        if not allowed:
            known = sorted(column for column, kind in kinds.items() if kind in CONDITIONS)
            raise _refused(name, f"must ask for features of {FEATURES}, {', '.join(known)}", feature)
        if not isinstance(asked, dict) or not asked or set(asked) - set(allowed):
            raise _refused(name, f"must ask of `{feature}` {' or '.join(allowed)}", asked)
        for condition, value in asked.items():
            if not isinstance(value, allowed[condition]) or isinstance(value, bool):
                raise _refused(name, f"must give `{feature}.{condition}` a value of its kind", value)
    return SegmentRule(name, declared["says"], conditions)


def _refused(name: str, rule: str, came: Any) -> BadRequest:
    return BadRequest(f"A segment's rule {rule}. Received {came!r} in [{name}]. See serving/segments.toml.")


def _holds(values: pd.Series, condition: str, asked: Any, at: datetime) -> pd.Series:
    """An unknown value compares as false with everything."""
    days_ago = (pd.Timestamp(at) - values) / pd.Timedelta(days=1) if condition.startswith("days_ago") else values
    match condition:
        case "at_least" | "days_ago_at_least":
            return days_ago >= asked
        case "at_most" | "days_ago_at_most":
            return days_ago <= asked
        case "one_of":
            return values.isin(asked)
        case "none_of":
            return values.notna() & ~values.isin(asked)
        case _:
            return values.map(lambda listed: listed is not None and asked in listed).astype(bool)
