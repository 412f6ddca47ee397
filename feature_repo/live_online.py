"""Users' rows of the online store, read and written back through Feast's own `online_read` and `online_write_batch`."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from feature_repo.contract import marts
from feature_repo.frames import naive_utc
from feature_repo.live_effect import USER_VIEWS, Item, UserRows
from feature_repo.store import apply, open_store

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

ITEM_VIEW = "item_features"


class OnlineUsers:
    """The online store of the current settings; registered first where the house was never applied."""

    def __init__(self) -> None:
        from feast.errors import FeatureViewNotFoundException

        self._store = open_store()
        names = (*USER_VIEWS, ITEM_VIEW)
        try:
            self._views: dict[str, FeatureView] = {name: self._store.get_feature_view(name) for name in names}
        except FeatureViewNotFoundException:
            self._store = apply()
            self._views = {name: self._store.get_feature_view(name) for name in names}

    def users(self, user_ids: Iterable[str]) -> dict[str, UserRows]:
        """Every user's stored rows; an unknown user has those of somebody new. Times are in whole seconds, all that Feast's type holds."""
        users = {user_id: UserRows.new() for user_id in user_ids}
        for view in USER_VIEWS:
            for user_id, (features_at, values) in self._read(view, list(users), [c.name for c in marts()[view].features]).items():
                held = users[user_id]
                held.features_at = max(filter(None, (held.features_at, features_at)))
                held.rows[view] = values
        return users

    def items(self, item_ids: Iterable[str]) -> dict[str, Item]:
        """The items that the store knows; `price` only where it is the shop's list price."""
        known = {column.name for column in marts()[ITEM_VIEW].features}
        wanted = [name for name in ("price", "price_source", "top_category") if name in known]
        rows = self._read(ITEM_VIEW, list(dict.fromkeys(item_ids)), wanted)
        return {
            item_id: Item(values["price"] if values.get("price_source", "list") == "list" else None, values["top_category"])
            for item_id, (_, values) in rows.items()
        }

    def write(self, users: Mapping[str, UserRows], created_at: Mapping[str, datetime]) -> None:
        """Writes all three views of `users`; to refuse a row older than the stored one is the store's part."""
        from feast.type_map import python_values_to_proto_values

        keys = dict(zip(users, self._keys("user_id", list(users)), strict=True))
        for view in USER_VIEWS:
            columns = {
                field.name: python_values_to_proto_values(
                    [user.rows[view][field.name] for user in users.values()], field.dtype.to_value_type()
                )
                for field in self._views[view].features
            }
            rows: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]] = [
                (
                    keys[user_id],
                    {name: values[place] for name, values in columns.items()},
                    _aware(user.features_at),
                    _aware(created_at[user_id]),
                )
                for place, (user_id, user) in enumerate(users.items())
            ]
            self._store.provider.online_write_batch(self._store.config, self._views[view], rows, None)

    def _read(self, view: str, ids: list[str], features: list[str]) -> dict[str, tuple[datetime, dict[str, Any]]]:
        if not ids:
            return {}
        kinds = {column.name: column.kind for column in marts()[view].features}
        keys = self._keys(f"{marts()[view].entity}_id", ids)
        rows = self._store.provider.online_read(self._store.config, self._views[view], keys, features)
        return {
            one: (naive_utc(features_at), {name: _plain(values.get(name), kinds[name]) for name in features})
            for one, (features_at, values) in zip(ids, rows, strict=True)
            if values is not None and features_at is not None
        }

    def _keys(self, name: str, ids: list[str]) -> "list[EntityKey]":
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        return [EntityKey(join_keys=[name], entity_values=[Value(string_val=one)]) for one in ids]


def _aware(time: datetime | None) -> datetime:
    assert time is not None  # a row that counts something counts to some time
    return time.replace(tzinfo=UTC)


def _plain(value: "Value | None", kind: str) -> Any:
    held = value.WhichOneof("val") if value is not None else None
    if held is None:
        return [] if kind.endswith("_list") else None
    inner = getattr(value, held)
    if kind == "timestamp":
        return datetime.fromtimestamp(inner, UTC).replace(tzinfo=None)
    return list(inner.val) if kind.endswith("_list") else inner
