"""Recommendations in stages that the answer can show: retrieve (the model, over all items) -> filter -> rank -> re-rank.

Where the model, the feature store or a history is missing, the list is made of popular items by the same rules, and `note` says why.
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from serving import candidates
from serving.candidates import Candidates, Proposal, Source
from serving.errors import BadRequest, NotServed
from serving.explore import generator_of
from serving.item_table import ItemCard, ItemTable
from serving.reasons import Because, because
from serving.rerank import Arrangement, arrange
from serving.rules import Rules
from serving.shop_front import ShopFront, checked_k, front
from training.signatures import RECOMMENDER

NO_HISTORY = "no history of this user is known: popular items instead"
MAX_SESSION = 200
CONSIDERED = 20  # candidates beside the list that an answer names


@dataclass(frozen=True)
class SessionEvent:
    """Something a visitor did; without a time it is taken as just done, in the order given."""

    item_id: str
    event_type: str = "view"
    occurred_at: datetime | None = None


@dataclass(frozen=True)
class RecommendedItem:
    """One place of the list, from rank 1; `score` is the model's logit, or None for what it did not score.

    `reason` is ranked, promoted, explored or popular. `propensity` is the chance that this item stood here, given the places above it: 1
    for all but explored places.
    """

    rank: int
    card: ItemCard
    score: float | None
    reason: str = "ranked"
    propensity: float = 1.0
    because: tuple[Because, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What a stage left: `(item id, score)` in its order, and what it took out, by rule."""

    name: str
    count: int
    items: tuple[tuple[str, float | None], ...]
    removed: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Recommendations:
    """A ranked list and where it came from: `source` is `model` or `popularity`, `note` says why when it is not the model's own.

    `candidates` counts what could be placed after the filters, `considered` are the best of them that were not; `stages` are there where
    debugging was asked for.
    """

    user_id: str
    items: tuple[RecommendedItem, ...]
    source: str
    note: str | None
    model_version: int | None
    as_of: datetime
    features_at: datetime | None
    request_id: str = ""
    label: str | None = None
    candidates: int = 0
    considered: tuple[tuple[str, float | None], ...] = ()
    stages: tuple[Stage, ...] | None = None


@dataclass(frozen=True)
class _Asked:
    """What a request says of the list that it wants."""

    k: int
    rules: Rules
    request_id: str
    reasons: bool
    debug: bool


@dataclass(frozen=True)
class _Question:
    """One request, with what it needs at hand."""

    asked: _Asked
    table: ItemTable
    had: dict[str, str]


def recommend(
    user_id: str,
    k: int = 10,
    *,
    shop: ShopFront | None = None,
    request_id: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    reasons: bool = False,
    debug: bool = False,
) -> Recommendations:
    """The `k` best items that the user has not had and that the shop's rules allow; fewer only where the catalogue has no more.

    The same `request_id` gives the same list while features, model and rules are the same. `overrides` are the rules that this request sets
    for itself (`rules.OVERRIDES`); `reasons` names the past events behind each item. An unknown user, and any user while the model or the
    feature store is away, gets popular items, and `note` says so.
    """
    shop = shop or front()
    asked = _Asked(checked_k(k), shop.rules().overridden(overrides or {}), request_id or uuid.uuid4().hex, reasons, debug)
    row: Mapping[str, Any] = {}
    missing = None
    try:
        row = shop.user_row(RECOMMENDER.feature_service, user_id)
    except NotServed as reason:
        missing = f"popular items instead: {reason}"
    return _answer(shop, user_id, row, asked, missing)


def recommend_session(
    events: Sequence[SessionEvent],
    k: int = 10,
    *,
    shop: ShopFront | None = None,
    request_id: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    reasons: bool = False,
    debug: bool = False,
) -> Recommendations:
    """The same for a visitor nobody knows, from what was done in this visit alone, oldest first; `user_id` is ''."""
    shop = shop or front()
    asked = _Asked(checked_k(k), shop.rules().overridden(overrides or {}), request_id or uuid.uuid4().hex, reasons, debug)
    if len(events) > MAX_SESSION:
        raise BadRequest(f"A session may have {MAX_SESSION} events. Received {len(events)}. Send the newest.")
    row = candidates.session_row(events, shop.clock())
    return _answer(shop, "", row, asked, None)


def _answer(shop: ShopFront, user_id: str, row: Mapping[str, Any], asked: _Asked, missing: str | None) -> Recommendations:
    """The list for a history; by popularity where `missing` says why the history is not known, or where there is none."""
    as_of = shop.clock()
    question = _Question(asked, shop.item_table(), candidates.had_items(row, as_of, asked.rules.had))
    answer = Recommendations(user_id, (), "popularity", missing, None, as_of, row.get("features_at"), asked.request_id)
    if missing is None and (row.get("event_item_ids") is None or len(row["event_item_ids"]) == 0):
        answer = replace(answer, note=NO_HISTORY)
    if answer.note is None:
        source = candidates.from_model(shop, row, as_of, question.had, asked.rules, user_id or None)
        try:
            answer = _listed(question, source, replace(answer, source="model"))
        except NotServed as reason:
            answer = replace(answer, note=f"popular items instead: {reason}")
    if answer.source != "model":
        return _listed(question, candidates.by_popularity(question.table, asked.rules.filters), answer)
    if asked.reasons and answer.items:
        found = because(shop, row, as_of, [place.card.item_id for place in answer.items], user_id or None)
        answer = replace(answer, items=tuple(replace(place, because=found.get(place.card.item_id, ())) for place in answer.items))
    return answer


def _listed(question: _Question, source: Source, answer: Recommendations) -> Recommendations:
    """The answer with its places: asks for enough candidates, and once more for all of them where the rules leave too few."""
    table, rules, k = question.table, question.asked.rules, question.asked.k
    allowed = table.allowed(rules.filters)
    everything = max(1, min(len(table) + len(question.had), candidates.MOST))
    wanted = math.ceil(max(rules.candidates, 2 * k) * max(1, len(table)) / max(1, allowed.count))
    proposal = source(min(wanted, everything))
    found, arranged = _arranged(question, proposal, with_spares=proposal.is_all)
    if not proposal.is_all and _is_short(arranged, k, rules, allowed.room(rules.category_cap)):
        with suppress(NotServed):  # where it takes too long to rank all items, popular ones stand in
            proposal = source(everything)
        found, arranged = _arranged(question, proposal, with_spares=True)
    by_model = answer.source == "model"
    places = tuple(
        RecommendedItem(
            rank,
            table.card(int(found.places[placed.index]), found.item_ids[placed.index]),
            found.scores[placed.index],
            placed.reason if by_model or placed.reason == "promoted" else "popular",
            placed.propensity,
        )
        for rank, placed in enumerate(arranged.places, start=1)
    )
    shown = {placed.index for placed in arranged.places}
    considered = [
        (found.item_ids[index], found.scores[index]) for index in range(min(len(found.item_ids), k + CONSIDERED)) if index not in shown
    ]
    stages = _stages(question, proposal, found, places) if question.asked.debug else None
    return replace(
        answer,
        items=places,
        model_version=proposal.version,
        label=proposal.label,
        candidates=len(found.item_ids),
        considered=tuple(considered[:CONSIDERED]),
        stages=stages,
    )


def _arranged(question: _Question, proposal: Proposal, with_spares: bool) -> tuple[Candidates, Arrangement]:
    asked = question.asked
    found = candidates.admitted(proposal, question.table, asked.rules, question.had, with_spares)
    draws = proposal.scores is not None and asked.rules.exploration_share > 0
    generator = generator_of(asked.request_id) if draws else None  # anew, so that a second look draws as the first did
    return found, arrange(found.pool, asked.k, asked.rules, generator)


def _is_short(arranged: Arrangement, k: int, rules: Rules, room: int) -> bool:
    """Whether more candidates could make the list longer or keep its cap."""
    return len(arranged.places) < k or arranged.spares > 0 or (arranged.over_cap > 0 and room >= k)


def _stages(question: _Question, proposal: Proposal, found: Candidates, places: tuple[RecommendedItem, ...]) -> tuple[Stage, ...]:
    scores: list[float | None] = proposal.scores.tolist() if proposal.scores is not None else [None] * len(proposal.item_ids)
    kept = list(zip(found.item_ids, found.scores, strict=True))
    proposed = int((~found.pool.is_spare).sum())
    by_rule = candidates.removed(proposal, question.table, question.asked.rules.filters, question.had)
    excluded: dict[str, tuple[str, ...]] = {}
    if proposal.scores is not None:  # the model itself leaves out what the user has had
        for item, kind in question.had.items():
            excluded[f"had: {kind}"] = (*excluded.get(f"had: {kind}", ()), item)
    return (
        Stage("retrieve", len(scores), tuple(zip(proposal.item_ids, scores, strict=True)), excluded),
        Stage("filter", proposed, tuple(kept[:proposed]), by_rule),
        Stage("rank", len(kept), tuple(kept), {}),
        Stage("re-rank", len(places), tuple((place.card.item_id, place.score) for place in places), {}),
    )
