"""Reads online features in this process: the online store's rows as plain Python, without Feast's response objects or a server between.

Opened once and shared by threads. A read through Feast's `get_online_features` looks the service up in the registry every time; here that
is done once.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.contract import FEATURES_AT, service, service_entity, views
from feature_repo.store import open_store

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.protos.feast.types.Value_pb2 import Value


class OnlineFeatures:
    """The online store of the current settings, by feature service."""

    def __init__(self) -> None:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        self._entity_key, self._value = EntityKey, Value
        self._store = open_store()
        self._views: dict[str, FeatureView] = {}

    def read(self, service_name: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """One dict per id, in order: every feature of the service, and `features_at`, the newest time any of its views counts to.

        Numbers, strings and booleans are Python's; times are datetimes in UTC, in whole seconds (all that Feast's online type holds); lists
        of strings are lists, lists of numbers numpy arrays. None stands where a value, or the whole entity, is unknown. Raises KeyError on
        an unknown service and LookupError where the store was never applied.
        """
        chosen = service(service_name)
        key = f"{service_entity(service_name)}_id"
        keys = [self._entity_key(join_keys=[key], entity_values=[self._value(string_val=one)]) for one in ids]
        empty: dict[str, Any] = {FEATURES_AT: None, **{feature: None for features in chosen.values() for feature in features}}
        results = [dict(empty) for _ in ids]
        if not keys:
            return results
        for view, features in chosen.items():
            kinds = {column.name: column.kind for column in views()[view].features}
            rows = self._store.provider.online_read(self._store.config, self._view(view), keys, list(features))
            for result, (counted_to, values) in zip(results, rows, strict=True):
                if values is None:
                    continue
                result[FEATURES_AT] = max(filter(None, (result[FEATURES_AT], counted_to)))
                for feature in features:
                    result[feature] = _plain(values.get(feature), kinds[feature])
        return results

    def _view(self, name: str) -> "FeatureView":
        from feast.errors import FeatureViewNotFoundException

        if name not in self._views:
            try:
                self._views[name] = self._store.get_feature_view(name)
            except FeatureViewNotFoundException:
                registry = self._store.config.registry.path
                raise LookupError(
                    f"A view must be registered before it is read. Found no {name} in {registry}. Run feature_repo.store.apply first."
                ) from None
        return self._views[name]


def _plain(value: "Value | None", kind: str) -> Any:
    held = value.WhichOneof("val") if value is not None else None
    if value is None or held is None:
        return None
    inner = getattr(value, held)
    if kind == "timestamp":
        return datetime.fromtimestamp(inner, UTC)
    if kind == "string_list":
        return list(inner.val)
    if kind in ("int_list", "float_list"):
        return np.array(inner.val, dtype=np.int64 if kind == "int_list" else np.float64)
    return inner
