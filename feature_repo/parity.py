"""Does the online store serve what the offline store says? Value by value, arrays included; a mismatch stops a release."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow

from feature_repo.contract import CREATED_AT, FEATURES_AT, service, services, views
from feature_repo.frames import horizon, naive_utc, newest_rows_query
from feature_repo.online import OnlineFeatures
from feature_repo.online_clock import is_expired, is_live
from feature_repo.published import connect, from_clause

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
    """Compares served values with the offline store's for `users` (ids of each service's entity), or for a seeded sample of those known.

    All services unless named; as of the offline store's horizon unless given. A sample leaves out entities with live events that no batch
    has seen yet: online they are ahead. Times are compared in whole seconds, which is all Feast's online type holds. Raises ParityFailed
    naming the entity, the feature and both values.
    """
    as_of = naive_utc(as_of) if as_of is not None else horizon()
    names = list(service_names or services())
    if as_of is None:
        return ParityReport(None, dict.fromkeys(names, 0), dict.fromkeys(names, 0))
    online = OnlineFeatures()
    drawn: dict[tuple[str, ...], list[str]] = {}  # by views: services of the same views share a sample
    for name in names:
        if tuple(service(name)) not in drawn:
            drawn[tuple(service(name))] = list(users) if users is not None else _sample(online, list(service(name)), as_of, sample, seed)
    ids_of = {view: sorted({one for chosen, ids in drawn.items() if view in chosen for one in ids}) for view in views()}
    offline = {view: _by_id(view, as_of, ids) for view, ids in ids_of.items() if ids}
    entities, values, mismatches = {}, {}, []
    for name in names:
        ids = drawn[tuple(service(name))]
        served = online.read(name, ids, as_of)
        pairs = [pair for one, row in zip(ids, served, strict=True) for pair in _pairs(name, one, row, offline)]
        entities[name], values[name] = len(ids), len(pairs)
        mismatches += [pair for pair in pairs if not _equal(pair.online, pair.offline)]
    if mismatches:
        raise ParityFailed(mismatches, sum(values.values()))
    return ParityReport(as_of, entities, values)


def _sample(online: OnlineFeatures, names: list[str], as_of: datetime, size: int, seed: int) -> list[str]:
    """Ids that any of the views knows at `as_of`, less those with newer live rows."""
    known: set[str] = set()
    with connect() as connection:
        for name in names:
            is_known = f"{FEATURES_AT} <= $as_of and {CREATED_AT} <= $as_of"
            query = f"select distinct {views()[name].key} from {from_clause(name)} where {is_known}"
            known |= {one for (one,) in connection.execute(query, {"as_of": as_of}).fetchall()}
    ahead = {row.id for name in names for row in online.rows_created_after(name, as_of) if is_live(row, as_of)}
    left = sorted(known - ahead)
    return sorted(random.Random(seed).sample(left, min(size, len(left))))


def _by_id(name: str, as_of: datetime, ids: list[str]) -> dict[str, dict[str, Any]]:
    view = views()[name]
    with connect() as connection:
        connection.register("asked", pyarrow.table({"id": pyarrow.array(ids, pyarrow.string())}))
        query = newest_rows_query(view, changed=f"{view.key} in (select id from asked)")
        rows = connection.sql(query, params={"as_of": as_of}).to_arrow_table().to_pandas()
    ttl = None if view.ttl_days is None else timedelta(days=view.ttl_days)
    return {row[view.key]: row for row in rows.to_dict("records") if not is_expired(row[FEATURES_AT], ttl, as_of)}


def _pairs(name: str, one: str, served: dict[str, Any], offline: dict[str, dict[str, dict[str, Any]]]) -> Iterator[Mismatch]:
    rows = {view: offline.get(view, {}).get(one, {}) for view in service(name)}
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
    if isinstance(online, np.ndarray):
        return len(online) == len(offline) and bool(np.all(np.abs(online - np.asarray(offline)) <= TOLERANCE))
    if isinstance(online, list):
        return online == list(offline)
    if isinstance(online, (int, float, np.number)):
        return abs(online - offline) <= TOLERANCE
    return bool(online == offline)
