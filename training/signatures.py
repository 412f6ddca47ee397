"""What every served model takes and returns: the one home of model names, inputs, outputs and dtypes. Imports nothing heavy.

All inputs are raw values, batch first. A user's history is three aligned arrays, oldest event first, padded with empty strings and zeros;
the models ignore every step whose item id is empty, wherever it stands, and use the newest `sequence_length` real ones.
A shop's own covariates (`x_*`, string or float32, shape `(batch,)`) are added to `uplift` by training and read from GetModelMetadata.
"""

from dataclasses import dataclass
from typing import Literal

DType = Literal["string", "int32", "int64", "float32"]

SIGNATURE = "serving_default"


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
        Tensor("interest_categories", "string", ("batch", "categories"), "top-level categories by falling interest"),
        Tensor("interest_shares", "float32", ("batch", "categories"), "expected share of the next events"),
        Tensor("purchase_probability_7d", "float32", ("batch",), "probability of a purchase within 7 days"),
        Tensor("purchase_probability_30d", "float32", ("batch",), "probability of a purchase within 30 days"),
        Tensor("churn_probability_30d", "float32", ("batch",), "probability of no event at all within 30 days"),
    ),
    "Who a user is: vector, traits, interests, propensities.",
)

UPLIFT = ServedModel(
    "uplift",
    "uplift_v1",
    (*HISTORY, *_USER),
    (
        Tensor("treatments", "string", ("batch", "arms"), "offers, without control"),
        Tensor("visit_uplift", "float32", ("batch", "arms"), "added probability of a visit"),
        Tensor("conversion_uplift", "float32", ("batch", "arms"), "added probability of a purchase"),
        Tensor("spend_uplift", "float32", ("batch", "arms"), "added spend in the shop's currency"),
    ),
    "What each offer would change.",
)

SERVED_MODELS: dict[str, ServedModel] = {model.name: model for model in (RECOMMENDER, PORTRAIT, UPLIFT)}

#: Every SavedModel folder carries these beside `saved_model.pb`.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"  # TensorFlow Serving's own warm-up records
GOLDEN_FILE = "assets.extra/golden.json"  # {"inputs": {name: nested lists}, "outputs": {name: nested lists}}
PROVENANCE_FILE = "assets.extra/provenance.json"  # {"model", "encoder_version", "feature_service", "window", "seed", "versions", ...}
