"""Every Feast object, generated from the mart contract: the only file that `feast apply` imports (`.feastignore` lists the rest).

The views' ttl is unlimited unless the contract gives one (`meta.feast.ttl_days`): a row stands on every day on which a feature changes, so
the newest row stays right until the next one, however old it is, and windows that have run empty have a row that says so. A ttl would only
turn a customer who has been silent for long, and is known to be, into an unknown one. It is for views that somebody must refresh, whose old
rows are wrong rather than quiet. Where there is one, the online stores enforce it at read and frames at the label's time.
"""

from datetime import timedelta
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.feast_object import FeastObject
from feast.types import Array, Bool, FeastType, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from feature_repo.contract import CREATED_AT, FEATURES_AT, Kind, Mart, services, views
from feature_repo.published import mart_dir
from settings import get_settings

UNLIMITED = timedelta(0)  # Feast's own sign for a row that never expires

FEAST_TYPES: dict[Kind, FeastType] = {
    "string": String,
    "timestamp": UnixTimestamp,
    "int": Int64,
    "float": Float64,
    "bool": Bool,
    "string_list": Array(String),
    "int_list": Array(Int64),
    "float_list": Array(Float64),
}


def _source(mart: Mart) -> DataSource:
    """Where Feast's own offline store reads: the warehouse where it is a server, else the published files."""
    times: dict[str, Any] = {"name": f"{mart.name}_source", "timestamp_field": FEATURES_AT, "created_timestamp_column": CREATED_AT}
    if not get_settings().warehouse_url:
        return FileSource(path=str(mart_dir(mart.name)), file_format=ParquetFormat(), **times)
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

    return PostgreSQLSource(table=f"marts.{mart.name}", **times)


def _view(mart: Mart, entity: Entity) -> FeatureView:
    source = _source(mart)
    key = Field(name=mart.key, dtype=String)  # named here, so that Feast need not read a file to infer it
    fields = [Field(name=column.name, dtype=FEAST_TYPES[column.kind], description=column.meaning) for column in mart.features]
    ttl = UNLIMITED if mart.ttl_days is None else timedelta(days=mart.ttl_days)
    if mart.entity == "user":  # `store.push("user_daily_push", frame)`; frames and materialising still read the Parquet behind it
        source = PushSource(name=f"{mart.name}_push", batch_source=source)
    return FeatureView(name=mart.name, entities=[entity], ttl=ttl, schema=[key, *fields], source=source, description=mart.meaning)


def feast_objects() -> list[FeastObject]:
    """Entities, views and services over the published Parquet of the current settings."""
    names = dict.fromkeys(str(view.entity) for view in views().values())
    entities = {name: Entity(name=name, join_keys=[f"{name}_id"], value_type=ValueType.STRING) for name in names}
    feature_views = {name: _view(mart, entities[str(mart.entity)]) for name, mart in views().items()}
    feature_services = [
        FeatureService(name=name, features=[feature_views[view][list(features)] for view, features in chosen.items()])
        for name, chosen in services().items()
    ]
    return [*entities.values(), *feature_views.values(), *feature_services]


# `feast apply` collects the objects that are attributes of this module.
globals().update({f"{type(thing).__name__}_{thing.name}": thing for thing in feast_objects()})
