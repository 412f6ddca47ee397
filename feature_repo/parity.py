"""Does the online store serve what the offline store says? Value by value, arrays included; a mismatch stops a release."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from feature_repo.contract import FEATURES_AT, service, services, views
from feature_repo.frames import horizon, rows_as_of
from feature_repo.online import OnlineFeatures

TOLERANCE = 1e-6


class ParityFailed(Exception):
    """Served values differ from the offline store's; `mismatches` has them all."""

    def __init__(self, mismatches: list["Mismatch"], values: int) -> None:
        self.mismatches = mismatches
        first = "; ".join(str(mismatch) for mismatch in mismatches[:5])
        super().__init__(
            f"Online values must equal offline values to {TOLERANCE}. {len(mismatches)} of {values} differ: {first}. "
            "Materialise from the day the rows changed, then check again."
        )


@dataclass(frozen=True)
class Mismatch:
    """One value that differs."""

    service: str
    id: str
    feature: str
    online: Any
    offline: Any

    def __str__(self) -> str:
        return f"{self.service} {self.id} {self.feature}: online {self.online!r}, offline {self.offline!r}"


@dataclass(frozen=True)
class ParityReport:
    """What was compared and found equal: entities and values by service, as of when."""

    as_of: datetime | None
    entities: dict[str, int]
    values: dict[str, int]

    def as_text(self) -> str:
        """One line a service."""
        lines = [f"online equals offline as of {self.as_of} (to {TOLERANCE})"]
        lines += [f"  {name}: {count} entities, {self.values[name]} values" for name, count in self.entities.items()]
        return "\n".join(lines)


def check_parity(
    service_names: Sequence[str] | None = None,
    users: Sequence[str] | None = None,
    sample: int = 1000,
    seed: int = 7,
    as_of: datetime | None = None,
) -> ParityReport:
    """Compares served values with `rows_as_of` for `users` (ids of each service's entity), or for a seeded sample of those known offline.

    All services unless named; as of the offline store's horizon unless given. Times are compared in whole seconds, which is all Feast's
    online type holds. Raises ParityFailed naming the entity, the feature and both values.
    """
    as_of = as_of or horizon()
    names = list(service_names or services())
    if as_of is None:
        return ParityReport(None, dict.fromkeys(names, 0), dict.fromkeys(names, 0))
    online = OnlineFeatures()
    offline = {view: _by_id(view, as_of) for view in views() if any(view in service(name) for name in names)}
    entities, values, mismatches = {}, {}, []
    for name in names:
        known = sorted({one for view in service(name) for one in offline[view]})
        ids = list(users) if users is not None else sorted(random.Random(seed).sample(known, min(sample, len(known))))
        pairs = [pair for one, served in zip(ids, online.read(name, ids), strict=True) for pair in _pairs(name, one, served, offline)]
        entities[name], values[name] = len(ids), len(pairs)
        mismatches += [pair for pair in pairs if not _equal(pair.online, pair.offline)]
    if mismatches:
        raise ParityFailed(mismatches, sum(values.values()))
    return ParityReport(as_of, entities, values)


def _by_id(view: str, as_of: datetime) -> dict[str, dict[str, Any]]:
    rows = rows_as_of(view, as_of)
    return {row[views()[view].key]: row for row in rows.to_dict("records")}


def _pairs(name: str, one: str, served: dict[str, Any], offline: dict[str, dict[str, dict[str, Any]]]) -> Iterator[Mismatch]:
    rows = {view: offline[view].get(one, {}) for view in service(name)}
    newest = max((row[FEATURES_AT] for row in rows.values() if row), default=None)
    yield Mismatch(name, one, FEATURES_AT, served[FEATURES_AT], _seconds(newest))
    for view, features in service(name).items():
        times = {column.name for column in views()[view].features if column.kind == "timestamp"}
        for feature in features:
            value = rows[view].get(feature)
            yield Mismatch(name, one, feature, served[feature], _seconds(value) if feature in times else value)


def _seconds(time: Any) -> datetime | None:
    return None if _is_null(time) else time.to_pydatetime().replace(microsecond=0, tzinfo=UTC)


def _is_null(value: Any) -> bool:
    return value is None or (not isinstance(value, (list, np.ndarray)) and value != value)  # NaN and NaT differ from themselves


def _equal(online: Any, offline: Any) -> bool:
    if _is_null(online) or _is_null(offline):
        return _is_null(online) and _is_null(offline)
    if isinstance(online, (list, np.ndarray)):
        return len(online) == len(offline) and all(_equal(*pair) for pair in zip(online, offline, strict=True))
    if isinstance(online, (int, float, np.number)):
        return abs(online - offline) <= TOLERANCE
    return bool(online == offline)
