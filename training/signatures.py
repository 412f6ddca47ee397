"""What every served model takes and returns: the one home of model names, inputs, outputs and dtypes. Imports nothing heavy.

All inputs are raw values, batch first. A user's history is three aligned arrays, oldest event first, padded with empty strings and zeros;
the models ignore every step whose item id is empty, wherever it stands, and use the newest `sequence_length` real ones.
A shop's own covariates (`x_*`, string or float32, shape `(batch,)`) are added to `uplift` and `risk` by training and read from
GetModelMetadata.
"""

from dataclasses import dataclass
from typing import Literal

DType = Literal["string", "int32", "int64", "float32"]

SIGNATURE = "serving_default"
EXPLAIN = "explain"
RETRIEVE = "retrieve"
SCORE = "score"


@dataclass(frozen=True)
class Tensor:
    """One named input or output: dtype, named dimensions, meaning."""

    name: str
    dtype: DType
    dims: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class ServedModel:
    """One endpoint of the model server."""

    name: str
    feature_service: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    meaning: str
    explain_inputs: tuple[Tensor, ...] = ()
    explain_outputs: tuple[Tensor, ...] = ()  # of the signature `explain`; a model without them has none
    retrieve_inputs: tuple[Tensor, ...] = ()
    retrieve_outputs: tuple[Tensor, ...] = ()  # of the signature `retrieve`; a model without them has none
    aliases: tuple[str, ...] = ()  # other names of the signature SIGNATURE

    def input(self, name: str) -> Tensor:
        return next(tensor for tensor in self.inputs if tensor.name == name)

    def output(self, name: str) -> Tensor:
        return next(tensor for tensor in self.outputs if tensor.name == name)


HISTORY = (
    Tensor("event_item_ids", "string", ("batch", "steps"), "items of the user's events, oldest first; '' is padding"),
    Tensor("event_types", "string", ("batch", "steps"), "event types, aligned"),
    Tensor("event_times_us", "int64", ("batch", "steps"), "event times, microseconds since 1970 UTC, aligned; 0 is padding"),
    Tensor("as_of_us", "int64", ("batch",), "the time of the question, microseconds since 1970 UTC"),
)

#: Columns of the mart `user_features` that the heads read, each an input of its own; NaN is unknown.
USER_FEATURES = (
    "events_7d",
    "events_30d",
    "events_90d",
    "views_30d",
    "carts_30d",
    "favourites_30d",
    "purchases_7d",
    "purchases_30d",
    "purchases_90d",
    "returns_90d",
    "active_days_30d",
    "sessions_30d",
    "spend_30d",
    "spend_90d",
    "purchases_total",
    "spend_total",
)

_USER = tuple(Tensor(name, "float32", ("batch",), f"user_features.{name}") for name in USER_FEATURES)


def _drivers(of: str) -> tuple[Tensor, ...]:
    dims = ("batch", of, "drivers")
    return (
        Tensor("driver_item_ids", "string", dims, "items of the past events that raise it most, by falling effect; '' for none"),
        Tensor("driver_types", "string", dims, "types of these events"),
        Tensor("driver_times_us", "int64", dims, "times of these events"),
        Tensor("driver_effects", "float32", dims, "what it falls by when the event is taken out of the history"),
    )


RECOMMENDER = ServedModel(
    "recommender",
    "recommender_v1",
    (
        *HISTORY,
        Tensor("exclude_item_ids", "string", ("batch", "excluded"), "items that must not be returned; '' is padding"),
        Tensor("k", "int32", ("batch",), "items wanted; the longest of the batch is returned"),
    ),
    (
        Tensor("item_ids", "string", ("batch", "k"), "items by falling score; '' where fewer are left"),
        Tensor("scores", "float32", ("batch", "k"), "the logits they were ranked by; -inf where fewer are left"),
    ),
    "The next items a user is likely to want.",
    (*HISTORY, Tensor("item_ids", "string", ("batch", "items"), "items to explain, such as those recommended; '' is padding")),
    (
        Tensor("scores", "float32", ("batch", "items"), "the logits that the items are ranked by; -inf for an item not known"),
        *_drivers("items"),
    ),
    HISTORY,
    (
        Tensor("vector", "float32", ("batch", "dim"), "an item's score is its inner product with the item's row of ITEM_VECTORS_FILE,"),
        Tensor("recalled_item_ids", "string", ("batch", "recalled"), "plus what the history recalls of these items; '' for none"),
        Tensor("recalled", "float32", ("batch", "recalled"), "so much each, by falling value; 0 for none"),
    ),
)

PORTRAIT = ServedModel(
    "portrait",
    "portrait_v1",
    (*HISTORY, *_USER),
    (
        Tensor("vector", "float32", ("batch", "dim"), "the portrait vector"),
        Tensor("trait_names", "string", ("batch", "traits"), "declared traits of this shop"),
        Tensor("trait_values", "string", ("batch", "traits", "values"), "values of each trait; '' is padding"),
        Tensor("trait_probabilities", "float32", ("batch", "traits", "values"), "calibrated probability of each value"),
        Tensor("trait_choices", "string", ("batch", "traits"), "the most probable value where it is certain enough, else 'unknown'"),
        Tensor("interest_categories", "string", ("batch", "categories"), "top-level categories by falling interest"),
        Tensor("interest_shares", "float32", ("batch", "categories"), "the user's interests now, as shares"),
        Tensor("interest_shares_30d_ago", "float32", ("batch", "categories"), "the same 30 days earlier; NaN without events by then"),
        Tensor("interest_changes", "float32", ("batch", "categories"), "now less 30 days ago"),
        Tensor("interest_break_evidence", "float32", ("batch",), "log Bayes factor that the taste changed at once in the last 30 days"),
        Tensor("interest_alarm", "int32", ("batch",), "1 where that is more than all but a few users had while training"),
        Tensor("next_category", "string", ("batch",), "top-level category of the next event, the most likely one"),
        Tensor("purchase_probability_7d", "float32", ("batch",), "probability of a purchase within 7 days"),
        Tensor("purchase_probability_30d", "float32", ("batch",), "probability of a purchase within 30 days"),
        Tensor("churn_probability_7d", "float32", ("batch",), "probability of no event at all within 7 days"),
        Tensor("churn_probability_30d", "float32", ("batch",), "probability of no event at all within 30 days"),
        Tensor("expected_spend_90d", "float32", ("batch",), "purchases less returns within 90 days, in the shop's currency; NaN untold"),
        Tensor("segment", "string", ("batch",), "name of the cluster of users that the user's numbers are nearest to"),
    ),
    "Who a user is: vector, traits, interests, propensities, expected spend.",
    (*HISTORY, *_USER),
    (
        Tensor(
            "answers", "string", ("batch", "answers"), "what is explained: `trait=its most probable value`, and the probabilities' names"
        ),
        Tensor("probabilities", "float32", ("batch", "answers"), "their probabilities"),
        *_drivers("answers"),
        Tensor("driver_features", "string", ("batch", "answers", "drivers"), "features of user_features that raise it most; '' for none"),
        Tensor("feature_effects", "float32", ("batch", "answers", "drivers"), "what the probability falls by where the feature is unknown"),
    ),
)


def _effect(name: str, meaning: str) -> tuple[Tensor, ...]:
    dims = ("batch", "arms")
    return (
        Tensor(name, "float32", dims, meaning),
        Tensor(f"{name}_low", "float32", dims, "where its 95 % interval begins"),
        Tensor(f"{name}_high", "float32", dims, "and ends"),
    )


UPLIFT = ServedModel(
    "uplift",
    "uplift_v1",
    (*HISTORY, *_USER),
    (
        Tensor("treatments", "string", ("batch", "arms"), "offers, without control"),
        *_effect("visit_uplift", "added probability of a visit"),
        *_effect("conversion_uplift", "added probability of a purchase"),
        *_effect("spend_uplift", "added spend in the shop's currency"),
    ),
    "What each offer would change.",
)

#: Columns of the mart `credit_behaviour`, which are known only of those who agreed to that.
CREDIT_BEHAVIOUR = ("purchases_90d", "returns_90d", "active_days_30d", "sessions_30d", "spend_30d", "spend_90d")

_APPLICATION = (
    Tensor("amount", "float32", ("batch",), "the amount applied for; NaN is unknown"),
    *(Tensor(name, "float32", ("batch",), f"credit_behaviour.{name}; NaN without consent") for name in CREDIT_BEHAVIOUR),
)

RISK = ServedModel(
    "risk",
    "risk_consented_v1",
    _APPLICATION,
    (
        Tensor("default_probability", "float32", ("batch",), "calibrated probability that the credit is not paid back"),
        Tensor("log_odds", "float32", ("batch",), "its log odds, from which points are made"),
    ),
    "Whether an application for credit will be paid back.",
    _APPLICATION,
    (
        Tensor("default_probability", "float32", ("batch",), "the same as `score` gives"),
        Tensor("log_odds", "float32", ("batch",), "its log odds: those of the reference and all effects add up to it"),
        Tensor("reference_log_odds", "float32", ("batch",), "log odds of the typical good payer with whom the applicant is compared"),
        Tensor("groups", "string", ("batch", "groups"), "groups of columns: a column, or the stem of a series"),
        Tensor("effects", "float32", ("batch", "groups"), "what each group adds to the log odds of default"),
        Tensor(
            "directions",
            "string",
            ("batch", "groups"),
            "where its values lie to the reference's: high, low, mixed, other, unknown; '' for none",
        ),
        Tensor("warnings", "string", ("batch", "warnings"), "what this version's data leave unsure; '' for none"),
    ),
    aliases=(SCORE,),
)

#: Columns of the mart `order_features` that the fraud model reads, each an input of its own; NaN is unknown.
ORDER_FEATURES = (
    *("amount", "amount_over_mean", "account_age_days"),
    *(
        f"{kind}_{name}"
        for kind in ("user", "payment", "device", "address")
        for name in (
            *("orders_1h", "orders_24h", "orders_7d", "amount_1h", "amount_24h", "amount_7d", "orders_total", "chargebacks_total"),
            *(("accounts",) if kind != "user" else ()),
        )
    ),
)

_ORDER = tuple(Tensor(name, "float32", ("batch",), f"order_features.{name}") for name in ORDER_FEATURES)
_CHANCE = Tensor("probability", "float32", ("batch",), "calibrated probability that the order is fraud and will be charged back")

FRAUD = ServedModel(
    "fraud",
    "fraud_v1",
    _ORDER,
    (_CHANCE,),
    "How likely an order is to be charged back as fraud.",
    _ORDER,
    (
        _CHANCE,
        Tensor("reason_codes", "string", ("batch", "reasons"), "what raises it most, by falling effect; '' for none"),
        Tensor("reason_effects", "float32", ("batch", "reasons"), "what its log-odds fall by where that is as in a usual order"),
    ),
)

SERVED_MODELS: dict[str, ServedModel] = {model.name: model for model in (RECOMMENDER, PORTRAIT, UPLIFT, RISK, FRAUD)}

#: Every SavedModel folder carries these beside `saved_model.pb`.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"  # TensorFlow Serving's own warm-up records
ITEM_VECTORS_FILE = "assets.extra/item_vectors.npy"  # (items, dim) float32 for `retrieve`, where there are more than EXACT_ITEMS
ITEM_IDS_FILE = "assets.extra/item_ids.json"  # their ids, in the same order
EXACT_ITEMS = 200_000  # up to here every answer ranks all items; of larger catalogues a consumer may search an index
GOLDEN_FILE = "assets.extra/golden.json"  # {"inputs": {name: nested lists}, "outputs": {name: nested lists}}
PROVENANCE_FILE = "assets.extra/provenance.json"  # {"model", "encoder_version", "feature_service", "window", "seed", "versions", ...}
