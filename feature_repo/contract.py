"""The marts as data, read from dbt's own contract (`_marts.yml`), and the feature services built on them. Imports nothing heavy.

A mart with `meta.feast` is a feature view: one row per entity, `features_at` and `created_at`, everything else a feature. The other marts
are labels.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import yaml

from settings import ROOT

Kind = Literal["string", "timestamp", "int", "float", "bool", "string_list", "int_list", "float_list"]

CONTRACT = ROOT / "dbt_project" / "models" / "marts" / "_marts.yml"
FEATURES_AT = "features_at"
PORTRAITS = "user_portraits"
BEHAVIOUR = "credit_behaviour"
CREATED_AT = "created_at"
HISTORY = ("event_item_ids", "event_types", "event_times_us")

#: dbt's portable type names, and what they hold.
KINDS: dict[str, Kind] = {
    "varchar": "string",
    "timestamp": "timestamp",
    "bigint": "int",
    "double precision": "float",
    "boolean": "bool",
    "varchar[]": "string_list",
    "bigint[]": "int_list",
    "double precision[]": "float_list",
}


@dataclass(frozen=True)
class MartColumn:
    """One column: its name, its type as dbt declares it, and what it means."""

    name: str
    data_type: str
    meaning: str

    @property
    def kind(self) -> Kind:
        return KINDS[self.data_type]


@dataclass(frozen=True)
class Mart:
    """One mart. `export` is the time whose day names a published file; `entity` is None for labels.

    A row older than `ttl_days` at the time of the question is unknown, online and in frames; None never expires (`definitions.py` says
    why).
    """

    name: str
    meaning: str
    export: str
    columns: tuple[MartColumn, ...]
    entity: str | None
    ttl_days: int | None = None

    @property
    def key(self) -> str:
        """The column that identifies the entity of a feature view."""
        return f"{self.entity}_id"

    @property
    def features(self) -> tuple[MartColumn, ...]:
        """Columns of a feature view without its key and its two times."""
        return tuple(column for column in self.columns if column.name not in (self.key, FEATURES_AT, CREATED_AT))


#: Made by `feature_repo.text` from published item_features, not by dbt; published beside the marts in the same form.
ITEM_VECTORS = Mart(
    "item_vectors",
    "An item's words and the company it keeps in customers' histories as one vector, as known at created_at. A row stands when an "
    "item's text becomes known or changes, and for every item at each refit. One row per item, features_at and created_at.",
    CREATED_AT,
    (
        MartColumn("item_id", "varchar", "the item"),
        MartColumn(FEATURES_AT, "timestamp", "when the text became known, or the cut-off of the refit"),
        MartColumn(CREATED_AT, "timestamp", "the same: when this version became known"),
        MartColumn("text_vector", "double precision[]", "compared by cosine, within one text_version; null where a text was taken back"),
        MartColumn("text_version", "varchar", "cut-off and method of the model, e.g. 2024-05-01-fused; its vectors have one length"),
    ),
    "item",
)


def _mart(model: dict) -> Mart:
    meta = model["meta"]
    columns = tuple(MartColumn(c["name"], c["data_type"], c["description"]) for c in model["columns"])
    if unknown := sorted({column.data_type for column in columns} - KINDS.keys()):
        raise ValueError(
            f"A mart column's data_type must be one of {sorted(KINDS)}. Received {unknown} in {model['name']}. Change {CONTRACT.name}."
        )
    feast = meta.get("feast", {})
    return Mart(model["name"], " ".join(model["description"].split()), meta["export"], columns, feast.get("entity"), feast.get("ttl_days"))


@cache
def marts() -> dict[str, Mart]:
    """Every mart by name, in the contract's order. Raises ValueError on a data_type that no kind stands for."""
    return {model["name"]: _mart(model) for model in yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))["models"]}


def mart(name: str) -> Mart:
    """The mart of that name; KeyError names those there are."""
    if name not in marts():
        raise KeyError(f"A mart must be one of {sorted(marts())}. Received {name!r}. Declare it in {CONTRACT.name}.")
    return marts()[name]


@cache
def views() -> dict[str, Mart]:
    """The feature views: the marts that have an entity, and the item vectors."""
    return {name: mart for name, mart in marts().items() if mart.entity} | {ITEM_VECTORS.name: ITEM_VECTORS}


@cache
def services() -> dict[str, dict[str, tuple[str, ...]]]:
    """Every feature service: `{service: {view: features}}`.

    A model version's service holds what that version may read: the history alone for the recommender, and every numeric user feature beside
    it for the heads; `fraud_v1` what is known of an order's instruments. An application for credit brings its own columns; what people do
    in the shop is read for credit through `risk_consented_v1` alone, a view that has it only of those who agreed. `user_v1` and `item_v1`
    are everything else that the records say of a user and of an item; `portraits_v1` is what a model said of a user at the newest daily
    scoring, which no model reads.
    """
    everything = {name: tuple(column.name for column in view.features) for name, view in views().items()}
    numeric = tuple(column.name for column in views()["user_features"].features if column.kind in ("int", "float"))
    heads = {"user_sequences": HISTORY, "user_features": numeric}
    return {
        "recommender_v1": {"user_sequences": HISTORY},
        "portrait_v1": heads,
        "uplift_v1": heads,
        "risk_consented_v1": {BEHAVIOUR: everything[BEHAVIOUR]},
        "user_v1": {
            name: features for name, features in everything.items() if views()[name].entity == "user" and name not in (PORTRAITS, BEHAVIOUR)
        },
        "fraud_v1": {"instrument_orders": everything["instrument_orders"]},
        "portraits_v1": {PORTRAITS: everything[PORTRAITS]},
        "item_v1": {name: features for name, features in everything.items() if views()[name].entity == "item"},
    }


def service(name: str) -> dict[str, tuple[str, ...]]:
    """The views and features of a service; KeyError names those there are."""
    if name not in services():
        raise KeyError(f"A feature service must be one of {sorted(services())}. Received {name!r}. Declare it in feature_repo/contract.py.")
    return services()[name]


def service_entity(name: str) -> str:
    """The entity (`user`, `item` or `instrument`) whose ids a service is read by."""
    return str(views()[next(iter(service(name)))].entity)
