"""Candidates of a recommendation: what the model proposes of all items, or what is popular, less what the shop's filters stop."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from serving.errors import NotServed
from serving.item_table import ItemTable
from serving.model_inputs import Row, history_inputs, to_us
from serving.rerank import Pool
from serving.rules import Filters, Rules
from serving.shop_front import ShopFront
from training.signatures import RECOMMENDER, RETRIEVE

DAY_US = 86_400_000_000
SPARES = 2000  # popular items at hand where candidates run out
MOST = 50_000  # candidates of one question


@dataclass(frozen=True)
class Proposal:
    """Items by falling relevance, `(candidates,)`; `scores` are the model's logits, or None in a list by popularity.

    `is_all` says that whoever proposed has no more; `label` is that of the version that answered.
    """

    item_ids: list[str]
    relevance: np.ndarray
    scores: np.ndarray | None
    version: int | None
    is_all: bool
    label: str | None = None


#: Asks for so many candidates.
Source = Callable[[int], Proposal]


def had_items(row: Row, as_of: datetime, had: Mapping[str, float]) -> dict[str, str]:
    """Items that an event of the history keeps from being recommended again, with the event's type: the newest such event's."""
    if not had or row.get("event_item_ids") is None:
        return {}
    now = to_us(as_of)
    events = zip(row["event_item_ids"], row["event_types"], row["event_times_us"], strict=True)
    return {item: kind for item, kind, at in events if kind in had and now - int(at) <= had[kind] * DAY_US}


def from_model(shop: ShopFront, row: Row, as_of: datetime, had: Collection[str], rules: Rules, user_id: str | None) -> Source:
    """Ranked by the model: exactly over all its items, or near the user's vector where the catalogue is too large for that."""
    inputs = history_inputs([row], as_of)
    timeout_s = rules.deadline_ms / 1000

    def near(wanted: int) -> Proposal | None:
        """From the index, where the version that answers has one."""
        if (found := shop.nearest(RECOMMENDER.name, user_id)) is None:
            return None
        version, index = found
        answer = shop.predict(RECOMMENDER.name, inputs, user_id=user_id, signature=RETRIEVE, timeout_s=timeout_s)
        if answer.version != version:
            return None
        recalled = {item: score for item, score in zip(answer["recalled_item_ids"][0], answer["recalled"][0].tolist(), strict=True) if item}
        item_ids, scores = index.best(answer["vector"][0], recalled, set(had), wanted)
        return Proposal(item_ids, scores, scores, version, False, answer.label)

    def propose(wanted: int) -> Proposal:
        if (proposal := near(wanted)) is not None:
            return proposal
        asked = {"exclude_item_ids": np.array([[*had] or [""]], dtype=object), "k": np.array([wanted], dtype=np.int32)}
        answer = shop.predict(RECOMMENDER.name, inputs | asked, user_id=user_id, timeout_s=timeout_s)
        scores = np.asarray(answer["scores"][0], np.float64)
        if np.isnan(scores).any():
            raise NotServed(f"The served model `{RECOMMENDER.name}` answers with scores that are no numbers. Publish one that is sound.")
        is_item = np.isfinite(scores)
        item_ids = [item.decode() if isinstance(item, bytes) else str(item) for item in answer["item_ids"][0][is_item]]
        return Proposal(item_ids, scores[is_item], scores[is_item], answer.version, len(item_ids) < wanted, answer.label)

    return propose


def by_popularity(table: ItemTable, filters: Filters) -> Source:
    """The most popular items that may be shown."""
    allowed = table.by_popularity[table.allowed(filters).is_allowed[table.by_popularity]]

    def propose(wanted: int) -> Proposal:
        places = allowed[:wanted]
        return Proposal(table.item_ids[places].tolist(), -np.arange(len(places), dtype=np.float64), None, None, wanted >= len(allowed))

    return propose


@dataclass(frozen=True)
class Candidates:
    """What may be placed, in the order of the pool; `scores` are None where the model gave none."""

    item_ids: list[str]
    places: np.ndarray
    scores: list[float | None]
    pool: Pool


def admitted(proposal: Proposal, table: ItemTable, rules: Rules, had: Collection[str], with_spares: bool) -> Candidates:
    """The proposed items that pass the shop's filters and that the user has not had, then promoted items that were not proposed, then,
    where asked for, popular ones that were not."""
    filters = rules.filters
    is_allowed = table.allowed(filters).is_allowed
    places = table.places_of(proposal.item_ids)
    passes = np.where(places >= 0, is_allowed[places], False) if len(table) else np.zeros(len(places), bool)
    for index in np.flatnonzero(places < 0):
        passes[index] = table.allows_unknown(filters, proposal.item_ids[index])
    if had:
        passes &= np.array([item not in had for item in proposal.item_ids], bool)
    kept = np.flatnonzero(passes)
    item_ids = [proposal.item_ids[index] for index in kept]
    promoted = set(rules.promoted)
    taken = {*item_ids, *had}
    more = [item for item in rules.promoted if item not in taken and (at := table.places.get(item, -1)) >= 0 and is_allowed[at]]
    if with_spares:
        taken |= promoted
        more += [item for item in by_popularity(table, filters)(SPARES + len(taken)).item_ids if item not in taken][:SPARES]
    proposed = len(item_ids)
    relevance = proposal.relevance[kept]
    places = places[kept]
    if more:
        item_ids = item_ids + more
        lowest = relevance.min() if proposed else 0.0
        relevance = np.concatenate([relevance, lowest - 1 - np.arange(len(more))])
        places = np.concatenate([places, table.places_of(more)])
    is_known = places >= 0
    pool = Pool(
        relevance,
        np.where(is_known, table.tops[places], 0) if len(table) else np.zeros(len(places), np.int64),
        _vectors(table, places) if rules.diversity else np.zeros((len(places), 1), np.float32),
        np.array([item in promoted for item in item_ids], bool),
        np.arange(len(item_ids)) >= proposed,
    )
    scores = [] if proposal.scores is None else proposal.scores[kept].tolist()
    return Candidates(item_ids, places, scores + [None] * (len(item_ids) - len(scores)), pool)


def removed(proposal: Proposal, table: ItemTable, filters: Filters, had: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The proposed items that were not admitted, by the rule that stopped them."""
    found: dict[str, list[str]] = {}
    for item, place in zip(proposal.item_ids, table.places_of(proposal.item_ids), strict=True):
        if item in had:
            found.setdefault(f"had: {had[item]}", []).append(item)
        elif not (table.allowed(filters).is_allowed[place] if place >= 0 else table.allows_unknown(filters, item)):
            found.setdefault(table.why_not(int(place), filters), []).append(item)
    return {rule: tuple(items) for rule, items in found.items()}


def _vectors(table: ItemTable, places: np.ndarray) -> np.ndarray:
    if not len(table):
        return np.zeros((len(places), 1), np.float32)
    found = table.vectors[places]
    found[places < 0] = 0.0
    return found


def session_row(events: Sequence[Any], as_of: datetime) -> dict[str, Any]:
    """The history of a visit in the form of a feature row, oldest first; an event without a time came just before the next one."""
    newest = max((to_us(event.occurred_at) for event in events if event.occurred_at is not None), default=to_us(as_of))
    times, following = [], newest + 1
    for event in reversed(events):
        following = to_us(event.occurred_at) if event.occurred_at is not None else following - 1
        times.append(following)
    order = np.argsort(times[::-1], kind="stable")
    return {
        "event_item_ids": [events[index].item_id for index in order],
        "event_types": [events[index].event_type for index in order],
        "event_times_us": np.array(times[::-1], np.int64)[order],
    }
