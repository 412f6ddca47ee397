"""What every consumer stands on: online features, the model client, the items in memory and the house's clock, opened once per process."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from feature_repo.online import OnlineFeatures
from serving.breaker import CircuitBreaker, Open
from serving.errors import BadRequest, NotServed
from serving.item_table import ItemCard, ItemTable, table_of
from serving.model_client import DeadlineExceeded, ModelClient, ModelError, ModelNotFound, ModelUnavailable, Prediction
from serving.nearest import Indexes, NearestItems
from serving.release_live import ReleasedModels
from serving.release_state import label_for
from serving.rules import RULES_FILE, Rules, RulesFile
from settings import Settings, get_settings
from training.signatures import SIGNATURE

MAX_LIST = 200
#: How long the clock and the rules are kept before they are looked at again.
FRESH_SECONDS = 5.0
PATIENCE_SECONDS = 10.0  # for an answer that nobody waits for on a page

T = TypeVar("T")
log = logging.getLogger(__name__)


class ShopFront:
    """Features in, predictions out. Thread-safe: requests of many threads share one instance."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or get_settings()
        self.features = OnlineFeatures()
        self.models = ModelClient(self.settings.model_server_target)
        self._released = ReleasedModels(self.settings)
        self._rules_file = RulesFile(Path(self.settings.recommend_rules or RULES_FILE))
        self._rules = self._rules_file.read()
        self._model_breaker = CircuitBreaker((ModelUnavailable, DeadlineExceeded))
        self._feature_breaker = CircuitBreaker(NotServed)
        self._items: ItemTable | None = None
        self._is_reading_items = False
        self._indexes = Indexes(self.settings.models_dir, self.settings.indexes_dir)
        self._versions: dict[tuple[str, str | None], int] = {}
        self._costs: tuple[datetime, dict[str, float]] | None = None
        self._clock: datetime | None = None
        self._fresh_until = 0.0
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def clock(self) -> datetime:
        """The midnight up to which records are loaded, by the published features: the house asks its models as of then."""
        views = ("user_features", "user_sequences", "item_features")
        with self._lock:
            if time.monotonic() < self._fresh_until and self._clock:
                return self._clock
            if self._clock:
                self._fresh_until = time.monotonic() + FRESH_SECONDS  # one request looks, the others go on with what is known
        days = [path.name.removeprefix("day=") for view in views for path in (self.settings.offline_dir / view).glob("day=*")]
        if not days:
            raise NotServed("No features are published yet. Run the `ingest` DAG, or `portrait demo`.")
        rules = self._rules_file.read()
        with self._lock:
            self._clock, self._rules, self._fresh_until = datetime.fromisoformat(max(days)), rules, time.monotonic() + FRESH_SECONDS
            return self._clock

    def rules(self) -> Rules:
        """The shop's rules of recommendation, as its file said some seconds ago."""
        return self._rules

    def user_row(self, service: str, user_id: str) -> dict[str, Any]:
        """A user's online features; `NotServed` where the feature store does not answer."""

        def read() -> dict[str, Any]:
            try:
                return self.features.read(service, [user_id])[0]
            except Exception as error:  # every online store has errors of its own
                log.warning("The feature store did not answer: %s", error)
                raise NotServed(f"The feature store does not answer ({type(error).__name__}). See `portrait doctor`.") from error

        try:
            return self._feature_breaker.call(read)
        except Open as rest:
            raise NotServed(f"The feature store does not answer: {rest}.") from rest

    def predict(
        self,
        model: str,
        inputs: dict[str, np.ndarray],
        *,
        user_id: str | None = None,
        signature: str = SIGNATURE,
        outputs: tuple[str, ...] = (),
        timeout_s: float = PATIENCE_SECONDS,
    ) -> Prediction:
        """The served model's answer, of the version that is released to `user_id`; `NotServed` names why there is none."""
        with self._explaining(model):
            ask: Callable[[], Prediction] = lambda: self._released.predict(  # noqa: E731
                self.models, model, inputs, user_id, signature=signature, outputs=outputs, timeout_s=timeout_s
            )
            answer = self._model_breaker.call(ask)
        self._versions[model, answer.label] = answer.version
        return answer

    def extra_inputs(self, model: str, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """The served model's inputs beyond `inputs`: a shop's own `x_*` covariates, read from GetModelMetadata."""
        with self._explaining(model):
            label = label_for(model, None, self.settings)
            return {name: tensor for name, tensor in self.models.metadata(model, label=label).inputs.items() if name not in inputs}

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
        where = self.settings.model_server_target
        try:
            yield
        except ModelNotFound as error:
            raise NotServed(f"No model `{model}` is served: {self._why_missing(model)}") from error
        except ModelUnavailable as error:
            raise NotServed(f"The model server at {where} does not answer. Start it with `portrait up`.") from error
        except DeadlineExceeded as error:
            raise NotServed(f"The model server at {where} takes too long.") from error
        except Open as rest:
            raise NotServed(f"The model server at {where} does not answer: {rest}.") from rest
        except ModelError as error:
            log.warning("`%s` does not answer what it is asked: %s", model, error)
            raise NotServed(f"The served model `{model}` does not take what this shop asks of it. Publish one that does.") from error

    def _why_missing(self, model: str) -> str:
        for skipped in (self.settings.candidates_dir / name / "skipped.json" for name in (model, "encoder")):
            if skipped.exists():
                return str(json.loads(skipped.read_text())["reason"])
        verdicts = sorted((self.settings.candidates_dir / model).glob("*/verdict.json"), key=lambda path: path.stat().st_mtime)
        if verdicts and not (verdict := json.loads(verdicts[-1].read_text()))["promoted"]:
            return f"the gate did not let its candidate through. {verdict['reason']}"
        return "none was published. Run the `train` DAG, then `deploy`."

    def item_table(self) -> ItemTable:
        """The items as published. A new day is read beside the requests, which see the day before until it is whole."""
        as_of = self.clock()
        known = self._items
        if known is None:
            with self._reading:
                if self._items is None:
                    self._items = self._read_items(as_of)
                return self._items
        if known.as_of != as_of:
            with self._lock:
                begins, self._is_reading_items = not self._is_reading_items, True
            if begins:
                threading.Thread(target=self._renew_items, args=(as_of,), name="items", daemon=True).start()
        return known

    def _renew_items(self, as_of: datetime) -> None:
        try:
            self._items = self._read_items(as_of)
        except Exception:
            log.exception("The items of %s could not be read; those of the day before stay", as_of)
        finally:
            self._is_reading_items = False

    def _read_items(self, as_of: datetime) -> ItemTable:
        from feature_repo.frames import rows_as_of

        try:
            vectors = rows_as_of("item_vectors", as_of)
        except FileNotFoundError:  # published by a task of its own, after the marts
            vectors = None
        return table_of(as_of, rows_as_of("item_features", as_of), vectors)

    def cards(self, item_ids: list[str]) -> list[ItemCard]:
        """One card per id, in order; an item that the shop did not deliver has only its id."""
        table = self.item_table()
        return [table.card(int(place), item_id) for place, item_id in zip(table.places_of(item_ids), item_ids, strict=True)]

    def nearest(self, model: str, user_id: str | None = None) -> tuple[int, NearestItems] | None:
        """The version that answered such a user last, and the index over its items; None where it has none, since it ranks all items
        itself, or where the index is not open yet."""
        version = self._versions.get((model, label_for(model, user_id, self.settings)))
        index = None if version is None else self._indexes.of(model, version)
        return None if version is None or index is None else (version, index)


@cache
def front() -> ShopFront:
    """This process's shop front."""
    return ShopFront()


def checked_k(k: int) -> int:
    if not 1 <= k <= MAX_LIST:
        raise BadRequest(f"`k` must be from 1 to {MAX_LIST}. Received {k}.")
    return k
