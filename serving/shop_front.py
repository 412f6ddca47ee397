"""What every consumer stands on: online features, the model client, the item cards and the house's clock, opened once per process."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np

from feature_repo.online import OnlineFeatures
from serving.errors import BadRequest, NotServed
from serving.model_client import ModelClient, ModelNotFound, ModelUnavailable, Prediction
from settings import Settings, get_settings

MAX_LIST = 200
#: How long the clock and the item cards are kept before they are read again.
FRESH_SECONDS = 5.0


@dataclass(frozen=True)
class ItemCard:
    """What a customer sees of an item."""

    item_id: str
    title: str | None
    category: str | None
    brand: str | None
    price: float | None
    in_stock: bool


@dataclass(frozen=True)
class Popular:
    """Items by falling popularity as of a time: purchases of 30 days, then events of 30 days, then events ever, then id."""

    as_of: datetime
    item_ids: tuple[str, ...]


class ShopFront:
    """Features in, predictions out. Thread-safe: requests of many threads share one instance."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or get_settings()
        self.features = OnlineFeatures()
        self.models = ModelClient(self.settings.model_server_target)
        self._popular: Popular | None = None
        self._costs: tuple[datetime, dict[str, float]] | None = None
        self._clock: datetime | None = None
        self._cards: dict[str, ItemCard] = {}
        self._fresh_until = 0.0
        self._lock = threading.Lock()

    def clock(self) -> datetime:
        """The midnight up to which records are loaded, by the published features: the house asks its models as of then."""
        views = ("user_features", "user_sequences", "item_features")
        with self._lock:
            if time.monotonic() < self._fresh_until and self._clock:
                return self._clock
        days = [path.name.removeprefix("day=") for view in views for path in (self.settings.offline_dir / view).glob("day=*")]
        if not days:
            raise NotServed("No features are published yet. Run the `ingest` DAG, or `portrait demo`.")
        with self._lock:
            self._clock, self._cards, self._fresh_until = datetime.fromisoformat(max(days)), {}, time.monotonic() + FRESH_SECONDS
            return self._clock

    def user_row(self, service: str, user_id: str) -> dict[str, Any]:
        return self.features.read(service, [user_id])[0]

    def predict(self, model: str, inputs: dict[str, np.ndarray]) -> Prediction:
        """The served model's answer; `NotServed` names why there is none."""
        with self._explaining(model):
            return self.models.predict(model, inputs, timeout_s=10.0)

    def extra_inputs(self, model: str, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """The served model's inputs beyond `inputs`: a shop's own `x_*` covariates, read from GetModelMetadata."""
        with self._explaining(model):
            return {name: tensor for name, tensor in self.models.metadata(model).inputs.items() if name not in inputs}

    def offer_costs(self) -> dict[str, float]:
        """Mean cost of each offer in past campaigns, read once per published day."""
        as_of = self.clock()
        with self._lock:
            if self._costs is None or self._costs[0] != as_of:
                from feature_repo.frames import read_mart

                past = read_mart("campaign_outcomes")
                self._costs = (as_of, {str(name): float(cost) for name, cost in past.groupby("treatment")["cost"].mean().dropna().items()})
            return self._costs[1]

    @contextmanager
    def _explaining(self, model: str) -> Iterator[None]:
        try:
            yield
        except ModelNotFound as error:
            raise NotServed(f"No model `{model}` is served: {self._why_missing(model)}") from error
        except ModelUnavailable as error:
            raise NotServed(
                f"The model server at {self.settings.model_server_target} does not answer. Start it with `portrait up`."
            ) from error

    def _why_missing(self, model: str) -> str:
        for skipped in (self.settings.candidates_dir / name / "skipped.json" for name in (model, "encoder")):
            if skipped.exists():
                return str(json.loads(skipped.read_text())["reason"])
        verdicts = sorted((self.settings.candidates_dir / model).glob("*/verdict.json"), key=lambda path: path.stat().st_mtime)
        if verdicts and not (verdict := json.loads(verdicts[-1].read_text()))["promoted"]:
            return f"the gate did not let its candidate through. {verdict['reason']}"
        return "none was published. Run the `train` DAG, then `deploy`."

    def cards(self, item_ids: list[str]) -> list[ItemCard]:
        """One card per id, in order; an item that the store does not know has only its id. Kept for as long as the clock is."""
        kept = self._cards
        missing = [item_id for item_id in dict.fromkeys(item_ids) if item_id not in kept]
        for item_id, row in zip(missing, self.features.read("item_v1", missing), strict=True):
            in_stock = row.get("in_stock") is not False
            kept[item_id] = ItemCard(item_id, row.get("title"), row.get("category"), row.get("brand"), row.get("price"), in_stock)
        return [kept[item_id] for item_id in item_ids]

    def popular(self) -> Popular:
        """Read once per published day; costs one scan of the item features."""
        as_of = self.clock()
        with self._lock:
            if self._popular is None or self._popular.as_of != as_of:
                from feature_repo.frames import rows_as_of

                items = rows_as_of("item_features", as_of)
                columns = ["purchases_30d", "events_30d", "events_total"]
                ranked = items.sort_values([*columns, "item_id"], ascending=[False, False, False, True])
                self._popular = Popular(as_of, tuple(ranked["item_id"]))
            return self._popular


@cache
def front() -> ShopFront:
    """This process's shop front."""
    return ShopFront()


def checked_k(k: int) -> int:
    if not 1 <= k <= MAX_LIST:
        raise BadRequest(f"`k` must be from 1 to {MAX_LIST}. Received {k}.")
    return k
