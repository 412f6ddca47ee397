"""Reads online features in this process: the online store's rows as plain Python, without Feast's response objects or a server between.

Opened once and shared by threads. A read through Feast's `get_online_features` looks the service up in the registry every time; here that
is done once.

A row of `user_features` is written when something changes, so it is right until the next change *as far as the store was brought up to
date*. A question about a later day is answered from `user_daily`: the windowed counters are summed over the days that lie in the window
then (`windows_at.py`), so a user who has been silent for 20 days has no purchases in 7, although nothing was written since. Totals, newest
times and category shares stay as they were counted.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.contract import FEATURES_AT, service, views
from feature_repo.frames import naive_utc
from feature_repo.online_clock import StoredRow, is_expired, now
from feature_repo.store import online_store, open_store
from feature_repo.windows_at import windows_at

if TYPE_CHECKING:
    from feast import FeatureView

WINDOWED = "user_features"
DAILY = "user_daily"
HORIZON_SECONDS = 1.0  # how long the store's horizon is remembered between reads


class OnlineFeatures:
    """The online store of the current settings, by feature service."""

    def __init__(self) -> None:
        from feast.protos.feast.types.Value_pb2 import Value

        self._parse = Value.FromString
        self._store = open_store()
        self._online = online_store(self._store)
        self._views: dict[str, FeatureView] = {}
        self._horizon: tuple[float, datetime | None] = (float("-inf"), None)

    def read(self, service_name: str, ids: Sequence[str], as_of: datetime | None = None) -> list[dict[str, Any]]:
        """One dict per id, in order: every feature of the service, and `features_at`, the newest time any of its views counts to.

        Windowed counters are those of the last midnight before `as_of` (UTC), by default now by `settings.clock`; an `as_of` older than the
        stored row gets the stored row. Rows past their view's ttl are unknown. Numbers, strings and booleans are Python's; times are
        datetimes in UTC, in whole seconds (all that Feast's online type holds); lists of strings are lists, lists of numbers numpy arrays.
        None stands where a value, or the whole entity, is unknown. Raises KeyError on an unknown service and LookupError where the store
        was never applied.
        """
        chosen = service(service_name)
        wanted = {self._view(name): list(features) for name, features in chosen.items()}
        horizon = self._known_until()
        at = naive_utc(as_of) if as_of is not None else now(lambda: horizon)
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0) if at is not None else None
        derives = WINDOWED in chosen and midnight is not None and (horizon is None or midnight > horizon)
        asked = list(chosen)
        if derives and DAILY not in chosen:
            wanted[self._view(DAILY)] = [column.name for column in views()[DAILY].features]
            asked.append(DAILY)
        found = self._online.read_values(self._store.config, list(wanted.items()), ids) if ids else []
        ttls = {view.name: view.ttl for view in wanted}
        results = []
        for one in range(len(ids)):
            result: dict[str, Any] = {FEATURES_AT: None}
            rows = {name: found[place][one] for place, name in enumerate(asked)}
            for name, features in chosen.items():
                counted_to, values = rows[name]
                if counted_to is None or is_expired(counted_to, ttls[name], at):
                    result |= dict.fromkeys(features)
                    continue
                result[FEATURES_AT] = max(filter(None, (result[FEATURES_AT], counted_to.replace(tzinfo=UTC))))
                result |= self._plain(name, features, values)
                if name == WINDOWED and derives and midnight is not None and midnight > counted_to:
                    result |= self._windows(features, rows[DAILY], midnight)
            results.append(result)
        return results

    def rows_created_after(self, view: str, since: datetime) -> list[StoredRow]:
        """The stored versions of a view that became known after `since` (naive UTC)."""
        return self._online.rows_created_after(self._store.config, self._view(view), since)

    def _windows(self, features: Sequence[str], daily: tuple[datetime | None, dict[str, bytes]], midnight: datetime) -> dict[str, Any]:
        if daily[0] is None:
            return {}
        lists = self._plain(DAILY, [column.name for column in views()[DAILY].features], daily[1])
        derived = windows_at(lists, midnight)
        return {name: derived[name] for name in features if name in derived}

    def _plain(self, view: str, features: Sequence[str], values: dict[str, bytes]) -> dict[str, Any]:
        kinds = {column.name: column.kind for column in views()[view].features}
        result: dict[str, Any] = {}
        for feature in features:
            serialised = values.get(feature)
            if not serialised:  # a value that is not set has no bytes
                result[feature] = None
                continue
            value, kind = self._parse(serialised), kinds[feature]
            inner = getattr(value, value.WhichOneof("val"))
            if kind == "timestamp":
                inner = datetime.fromtimestamp(inner, UTC)
            elif kind == "string_list":
                inner = list(inner.val)
            elif kind in ("int_list", "float_list"):
                inner = np.array(inner.val, dtype=np.int64 if kind == "int_list" else np.float64)
            result[feature] = inner
        return result

    def _known_until(self) -> datetime | None:
        if time.monotonic() - self._horizon[0] > HORIZON_SECONDS:
            self._horizon = (time.monotonic(), self._online.horizon(self._store.config))
        return self._horizon[1]

    def _view(self, name: str) -> "FeatureView":
        from feast.errors import FeatureViewNotFoundException

        if name not in self._views:
            try:
                self._views[name] = self._store.get_feature_view(name)
            except FeatureViewNotFoundException:
                registry = self._store.config.registry.path
                raise LookupError(
                    f"A view must be registered before it is read. Found no {name} in {registry}. Run `portrait up`, which registers all."
                ) from None
        return self._views[name]
