"""The landing tables: what a shop hands in, declared once as data. Imports nothing heavy.

`LANDING["events"].column("item_id")` is the only place that says what that column is; sources write to this contract, `quality` reads and
judges by it, dbt's `_sources.yml` is compared with it by a test.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["string", "timestamp", "date", "float", "int", "bool", "string_list", "float_list", "json"]

EVENT_TYPES = ("view", "favourite", "cart", "purchase", "return", "rate")


@dataclass(frozen=True)
class Column:
    """One column: its name, kind, whether a row may lack it, and what it means."""

    name: str
    kind: Kind
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class LandingTable:
    """One landing table.

    `key` names the columns that identify a row (a key delivered again is a correction); an empty key means that all columns do. `time`
    is the column whose day says when a row became known, where files are not partitioned; `free_prefix` marks extra columns that are kept.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    meaning: str
    time: str | None = None
    free_prefix: str | None = None

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if not column.nullable)


def _text(name: str, meaning: str, nullable: bool = False) -> Column:
    return Column(name, "string", meaning, nullable)


def _time(name: str, meaning: str, nullable: bool = False) -> Column:
    return Column(name, "timestamp", meaning, nullable)


def _number(name: str, meaning: str, nullable: bool = True) -> Column:
    return Column(name, "float", meaning, nullable)


def _flag(name: str, meaning: str, nullable: bool = True) -> Column:
    return Column(name, "bool", meaning, nullable)


_TABLES = (
    LandingTable(
        "users",
        ("user_id",),
        (
            _text("user_id", "the shop's own id of a customer"),
            _time("registered_at", "when the account was opened", nullable=True),
            _text("country", "country of the customer", nullable=True),
            _text("city", "city of the customer", nullable=True),
            _flag("consent_personalisation", "may be shown personal recommendations"),
            _flag("consent_marketing", "may be sent offers"),
            _flag("consent_credit", "browsing may be read for credit decisions"),
        ),
        "One row per customer.",
        time="registered_at",
    ),
    LandingTable(
        "user_traits",
        ("user_id", "trait"),
        (
            _text("user_id", "the customer"),
            _text("trait", "name of the trait, such as gender"),
            _text("value", "the declared value"),
            _time("known_at", "when the shop learned it", nullable=True),
        ),
        "What the shop knows of some users and wants inferred for the rest.",
        time="known_at",
    ),
    LandingTable(
        "items",
        ("item_id",),
        (
            _text("item_id", "the shop's own id of an item"),
            _text("title", "title shown to customers", nullable=True),
            _text("description", "longer text", nullable=True),
            _text("category", "path from broad to narrow, `a > b > c`", nullable=True),
            _text("brand", "brand or maker", nullable=True),
            _number("price", "list price in the shop's currency"),
            _time("listed_at", "when the item came on offer", nullable=True),
            _flag("in_stock", "can be bought now"),
        ),
        "One row per item of the catalogue.",
        time="listed_at",
    ),
    LandingTable(
        "item_attributes",
        ("item_id", "attribute", "value"),
        (
            _text("item_id", "the item"),
            _text("attribute", "name of the attribute"),
            _text("value", "its value"),
        ),
        "Free attributes, one row each.",
    ),
    LandingTable(
        "events",
        ("event_id",),
        (
            _text("event_id", "identity of the event; without it all columns are", nullable=True),
            _text("user_id", "the customer; null is a guest", nullable=True),
            _text("item_id", "the item"),
            _text("event_type", "one of " + ", ".join(EVENT_TYPES)),
            _time("occurred_at", "when it happened"),
            _time("received_at", "when the shop's systems received it", nullable=True),
            _text("session_id", "the visit it belongs to", nullable=True),
            _text("order_id", "the order it belongs to", nullable=True),
            _number("quantity", "pieces"),
            _number("unit_price", "price paid per piece"),
            _number("rating", "rating given, on the shop's own scale"),
        ),
        "What users did with items.",
        time="received_at",
    ),
    LandingTable(
        "reviews",
        ("review_id",),
        (
            _text("review_id", "identity of the review"),
            _text("user_id", "the customer"),
            _text("item_id", "the item"),
            _number("rating", "rating given with it"),
            _text("text", "the words", nullable=True),
            _time("created_at", "when it was written"),
        ),
        "Reviews in words.",
        time="created_at",
    ),
    LandingTable(
        "campaign_exposures",
        ("campaign_id", "user_id"),
        (
            _text("campaign_id", "the campaign"),
            _text("user_id", "the customer"),
            _time("assigned_at", "when the arm was assigned"),
            _text("treatment", "`control` or an offer's name"),
            _number("propensity", "probability with which this arm was assigned; null when not randomised"),
            _number("cost", "what sending the offer cost"),
            _flag("visited", "visited the shop in the outcome window"),
            _flag("converted", "bought in the outcome window"),
            _number("spend", "spent in the outcome window"),
            _time("outcome_at", "when the outcome became known", nullable=True),
        ),
        "Who was assigned which offer, and what followed.",
        time="assigned_at",
        free_prefix="x_",
    ),
    LandingTable(
        "credit_applications",
        ("application_id",),
        (
            _text("application_id", "identity of the application"),
            _text("user_id", "the customer", nullable=True),
            _time("applied_at", "when it was made"),
            _number("amount", "amount asked for"),
            _flag("defaulted", "was not paid back"),
            _time("outcome_at", "when that became known", nullable=True),
        ),
        "Applications for credit.",
        time="applied_at",
        free_prefix="x_",
    ),
    LandingTable(
        "orders",
        ("order_id",),
        (
            _text("order_id", "identity of the order"),
            _text("user_id", "the customer", nullable=True),
            _time("placed_at", "when it was placed"),
            _number("amount", "order total"),
            _text("payment_id", "payment instrument, pseudonymous", nullable=True),
            _text("device_id", "device, pseudonymous", nullable=True),
            _text("address_id", "address, pseudonymous", nullable=True),
        ),
        "Orders with their instruments, for fraud.",
        time="placed_at",
    ),
    LandingTable(
        "chargebacks",
        ("order_id",),
        (
            _text("order_id", "the order"),
            _time("reported_at", "when the bank reported it"),
        ),
        "Orders that turned out to be fraud.",
        time="reported_at",
    ),
    LandingTable(
        "decisions",
        ("decision_id",),
        (
            _text("decision_id", "identity of the decision"),
            _time("decided_at", "when it was served"),
            _text("user_id", "the customer", nullable=True),
            _text("kind", "recommendation, offer, credit or order"),
            _text("subject", "item, offer or application"),
            Column("rank", "int", "place in the list, from 1", nullable=True),
            _number("score", "the model's score"),
            _number("propensity", "probability with which it was chosen"),
            _text("arm", "experiment arm", nullable=True),
            _text("model", "name of the model"),
            _text("model_version", "its version"),
            _time("features_at", "time of the features it read"),
            _text("reason", "why, in words", nullable=True),
        ),
        "Written by Portrait's serving, never by a shop.",
        time="decided_at",
    ),
    LandingTable(
        "portraits",
        ("user_id", "as_of"),
        (
            _text("user_id", "the customer"),
            _time("as_of", "the portrait's time"),
            _text("model_version", "version of the portrait model"),
            Column("vector", "float_list", "the portrait vector, shape `(d,)`"),
            Column("portrait", "json", "traits and their probabilities, interests, propensities, expected spend and segment"),
        ),
        "Written by Portrait's own daily scoring.",
        time="as_of",
    ),
)

LANDING: dict[str, LandingTable] = {table.name: table for table in _TABLES}
