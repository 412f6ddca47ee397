"""What customers do, one event after the other: learned as steps of many people together, drawn anew for people who do not exist.

A step is the next event's type and how its item stands to the one before, given the type before and how active and how fond of buying a
person is, then how long it takes (a Markov chain of order one). A step that fewer than `FEWEST_ROWS` people took is never drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sources.landing import EVENT_TYPES
from training.gan.columns import FEWEST_ROWS
from training.synthesize_items import Catalogue

#: Gaps in seconds between two events; a visit ends after 1800.
GAPS = np.array([1, 10, 30, 60, 180, 600, 1800, 6 * 3600, 86_400, 3 * 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400], np.float64)
VISIT_GAP = 6  # the first of GAPS' places that begins a new visit
SAME_ITEM, SAME_LEAF, FAVOURITE, ANY = range(4)
CLASSES = 6
#: Draws until an item is another one than that before, where that is what the step says; a leaf may have no other.
TRIES = 6
#: What all classes together weigh, in steps, where a class has few of its own.
BACKOFF = 50.0
TYPES = len(EVENT_TYPES)
STEPS = TYPES * (len(GAPS) - 1) * 4


@dataclass(frozen=True)
class Sequences:
    """`steps` `(classes, types + 1, STEPS)` are chances so far, the last type is the beginning; the rest are the shop's habits."""

    steps: np.ndarray
    cuts: np.ndarray  # events at which a person is in the next third of activity, (2,)
    hours: np.ndarray  # (24,)
    weights: np.ndarray  # of each item, (items,)
    discounts: np.ndarray
    quantities: np.ndarray
    ratings: dict[str, np.ndarray]
    delays: np.ndarray  # seconds from an event to its receipt

    def draw(self, rows: pd.DataFrame, ids: np.ndarray, catalogue: Catalogue, end_s: float, random: np.random.Generator) -> pd.DataFrame:
        """Events of drawn profiles `rows`, in seconds from the first day (`at`), places of items (`item`), and all else as landed."""
        wanted = rows["events"].to_numpy(np.int64)
        asked = np.flatnonzero(wanted > 0)
        kind = self.classes(rows)
        favourite = rows["favourite"].map({top: code for code, top in enumerate(catalogue.tops)}).fillna(-1).to_numpy(np.int64)
        picker = _Picker(catalogue, self.weights)
        before = np.full(len(rows), TYPES)
        item = np.full(len(rows), -1)
        parts: list[dict[str, np.ndarray]] = []
        for number in range(int(wanted.max(initial=0))):
            active = asked[wanted[asked] > number]
            step = (random.random((len(active), 1)) > self.steps[kind[active], before[active]]).sum(1)
            step = np.minimum(step, STEPS - 1)
            event_type, gap, relation = np.unravel_index(step, (TYPES, len(GAPS) - 1, 4))
            item[active] = picker.pick(item[active], favourite[active], relation, random)
            before[active] = event_type
            wait = np.exp(random.uniform(np.log(GAPS[gap]), np.log(GAPS[gap + 1])))
            wait = np.where(number == 0, 0.0, wait)
            parts.append({"person": active, "number": np.full(len(active), number), "type": event_type, "wait": wait, "item": item[active]})
        if not parts:
            return pd.DataFrame(columns=["user_id", "item", "event_type", "at"])
        drawn = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
        drawn = drawn.sort_values(["person", "number"], kind="stable").reset_index(drop=True)
        return self._told(self._timed(drawn, rows, end_s, random), ids, catalogue, random)

    def classes(self, rows: pd.DataFrame) -> np.ndarray:
        """How active, in thirds, and whether a buyer: `(rows,)` in 0 .. 5."""
        return np.searchsorted(self.cuts, rows["events"].to_numpy(), "right") + 3 * (rows["purchases"].to_numpy() > 0)

    def _timed(self, drawn: pd.DataFrame, rows: pd.DataFrame, end_s: float, random: np.random.Generator) -> pd.DataFrame:
        """With `at`: waits between visits are stretched to the profile's span, and a visit begins at an hour of the shop's."""
        person, wait = drawn["person"].to_numpy(), drawn["wait"].to_numpy()
        is_visit = (drawn["number"].to_numpy() == 0) | (wait > GAPS[VISIT_GAP])
        visit = np.cumsum(is_visit) - 1
        between = np.where(is_visit, wait, 0.0)
        total = np.bincount(person, between, minlength=len(rows))
        span = np.nan_to_num(rows["span_days"].to_numpy(np.float64)) * 86_400
        first = np.clip(np.nan_to_num(rows["first_day"].to_numpy(np.float64)) * 86_400, 0, end_s - 3600)
        stretch = np.divide(np.minimum(span, end_s - 3600 - first), total, out=np.zeros(len(rows)), where=total > 0)
        since = pd.Series(between * stretch[person]).groupby(person).cumsum().to_numpy()
        begins = (first[person] + since)[is_visit]
        hour = random.choice(24, len(begins), p=self.hours) * 3600 + random.uniform(0, 3600, len(begins))
        begins = begins // 86_400 * 86_400 + hour
        inside = pd.Series(np.where(is_visit, 0.0, wait)).groupby(visit).cumsum().to_numpy()
        at = np.minimum(begins[visit] + inside, end_s - 1)
        return drawn.assign(at=at, visit=visit)

    def _told(self, drawn: pd.DataFrame, ids: np.ndarray, catalogue: Catalogue, random: np.random.Generator) -> pd.DataFrame:
        names = np.array(EVENT_TYPES, dtype=object)[drawn["type"].to_numpy()]
        rows, is_sale = len(drawn), np.isin(names, ("purchase", "return"))
        price = catalogue.table["price"].to_numpy(np.float64)[drawn["item"].to_numpy()]
        rating = np.full(rows, np.nan)
        for name, values in self.ratings.items():
            rating[names == name] = random.choice(values, int((names == name).sum()))
        visit = drawn["visit"].to_numpy()
        orders = [f"so{number:09d}" if sold else None for number, sold in zip(visit, is_sale, strict=True)]
        return pd.DataFrame(
            {
                "user_id": ids[drawn["person"].to_numpy()],
                "item": drawn["item"],
                "event_type": names,
                "at": drawn["at"],
                "received": drawn["at"] + random.choice(self.delays, rows),
                "session_id": [f"ss{number:09d}" for number in visit],
                "order_id": orders,
                "quantity": np.where(is_sale, random.choice(self.quantities, rows), np.nan),
                "unit_price": np.where(is_sale, (price * random.choice(self.discounts, rows)).round(2), np.nan),
                "rating": rating,
            }
        )


class _Picker:
    """Draws items by weight: among all, among those of a leaf, among those of a broad category."""

    def __init__(self, catalogue: Catalogue, weights: np.ndarray) -> None:
        self._catalogue = catalogue
        self._groups = [_Grouped(codes, weights) for codes in (catalogue.leaf, catalogue.top, np.zeros(len(weights), np.int64))]

    def pick(self, before: np.ndarray, favourite: np.ndarray, relation: np.ndarray, random: np.random.Generator) -> np.ndarray:
        leaf, top, whole = self._groups
        chosen = whole.draw(np.zeros(len(before), np.int64), random)
        has_before = before >= 0
        for wanted, group, codes in (
            (SAME_LEAF, leaf, np.where(has_before, self._catalogue.leaf[before], -1)),
            (FAVOURITE, top, favourite),
        ):
            here = (relation == wanted) & (codes >= 0)
            for _ in range(TRIES):
                chosen[here] = group.draw(codes[here], random)
                here &= chosen == before
        return np.where((relation == SAME_ITEM) & has_before, before, chosen)


class _Grouped:
    """Draws places by weight within the group of each code."""

    def __init__(self, codes: np.ndarray, weights: np.ndarray) -> None:
        self._order = np.argsort(codes, kind="stable")
        self._so_far = np.concatenate([[0.0], np.cumsum(weights[self._order])])
        ends = np.cumsum(np.bincount(codes))
        self._first, self._last = np.concatenate([[0], ends[:-1]]), ends

    def draw(self, codes: np.ndarray, random: np.random.Generator) -> np.ndarray:
        low, high = self._so_far[self._first[codes]], self._so_far[self._last[codes]]
        place = np.searchsorted(self._so_far, low + random.random(len(codes)) * (high - low), "right") - 1
        return self._order[np.clip(place, self._first[codes], self._last[codes] - 1)]


def fit_sequences(events: pd.DataFrame, rows: pd.DataFrame, catalogue: Catalogue) -> Sequences:
    """The steps and habits of the people in `rows` (profiles by `user_id`); `events` in landing form, with times."""
    place = {item: number for number, item in enumerate(catalogue.real_ids)}
    known = events[events["user_id"].isin(rows.index) & events["event_type"].isin(EVENT_TYPES)].sort_values(
        ["user_id", "occurred_at"], kind="stable"
    )
    person, _ = pd.factorize(known["user_id"])
    item = known["item_id"].map(place).to_numpy(np.int64)
    kind = known["event_type"].map({name: code for code, name in enumerate(EVENT_TYPES)}).to_numpy(np.int64)
    at = known["occurred_at"].to_numpy("datetime64[us]").astype(np.int64) / 1e6
    first = np.concatenate([[True], person[1:] != person[:-1]]) if len(person) else np.zeros(0, bool)
    shift = np.concatenate([[0], np.arange(len(person) - 1)]) if len(person) else np.zeros(0, np.int64)
    gap = np.clip(np.searchsorted(GAPS, at - at[shift], "right") - 1, 0, len(GAPS) - 2)
    tops = {top: code for code, top in enumerate(catalogue.tops)}
    favourite = known["user_id"].map(rows["favourite"]).map(tops).fillna(-1).to_numpy(np.int64)
    relation = np.where(catalogue.top[item] == favourite, FAVOURITE, ANY)
    relation = np.where(~first & (catalogue.leaf[item] == catalogue.leaf[item[shift]]), SAME_LEAF, relation)
    relation = np.where(~first & (item == item[shift]), SAME_ITEM, relation)
    step = np.ravel_multi_index((kind, np.where(first, 0, gap), relation), (TYPES, len(GAPS) - 1, 4))
    before = np.where(first, TYPES, kind[shift])
    cuts = np.quantile(rows["events"][rows["events"] > 0], [1 / 3, 2 / 3]) if (rows["events"] > 0).any() else np.zeros(2)
    classed = np.searchsorted(cuts, rows["events"].to_numpy(), "right") + 3 * (rows["purchases"].to_numpy() > 0)
    of_person = known["user_id"].map(pd.Series(classed, rows.index)).to_numpy(np.int64)
    chances = _chances(of_person, before, step, person)
    sold = known[known["event_type"] == "purchase"]
    listed = catalogue.table["price"].to_numpy(np.float64)[sold["item_id"].map(place).to_numpy(np.int64)]
    return Sequences(
        np.cumsum(chances, axis=2),
        cuts,
        _shares(known["occurred_at"].dt.hour, 24),
        np.where(catalogue.users >= FEWEST_ROWS, catalogue.users, 1).astype(np.float64),
        _common((sold["unit_price"] / listed).round(2), sold["user_id"], 1.0),
        _common(sold["quantity"], sold["user_id"], 1.0),
        {name: _common(group["rating"], group["user_id"], 3.0) for name, group in known[known["rating"].notna()].groupby("event_type")},
        _common((known["received_at"] - known["occurred_at"]).dt.total_seconds().clip(lower=0).round(-1), known["user_id"], 0.0),
    )


def _chances(kind: np.ndarray, before: np.ndarray, step: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Chances of each step `(classes, types + 1, STEPS)`: what follows and how its item stands, by class; then how long it takes, by all.

    Both hold only what `FEWEST_ROWS` people did; a wait that too few had is one of any event's.
    """
    event_type, gap, relation = np.unravel_index(step, (TYPES, len(GAPS) - 1, 4))
    deed = event_type * 4 + relation
    deeds, waits = TYPES * 4, len(GAPS) - 1
    followed = _allowed((before, deed), (TYPES + 1, deeds), person)
    own = np.zeros((CLASSES, TYPES + 1, deeds))
    np.add.at(own, (kind, before, deed), 1)
    own *= followed
    together = own.sum(0)
    general = together / np.maximum(together.sum(1, keepdims=True), 1)
    what = own + BACKOFF * general
    anything = together.sum(0) / max(together.sum(), 1)  # after a type that too few people had
    total = what.sum(2, keepdims=True)
    what = np.where(total > 0, what / np.maximum(total, 1e-12), anything)
    waited = np.zeros((TYPES + 1, deeds, waits))
    np.add.at(waited, (before, deed, gap), 1)
    waited *= _allowed((before, deed, gap), waited.shape, person)
    count = waited.sum(2, keepdims=True)
    any_wait = np.bincount(gap, minlength=waits) / max(len(gap), 1)
    long = np.where(count > 0, waited / np.maximum(count, 1), any_wait)
    both = what[..., None] * long  # (classes, types + 1, deeds, waits)
    ordered = both.reshape(CLASSES, TYPES + 1, TYPES, 4, waits).swapaxes(3, 4)
    return ordered.reshape(CLASSES, TYPES + 1, STEPS)


def _allowed(keys: tuple[np.ndarray, ...], shape: tuple[int, ...], person: np.ndarray) -> np.ndarray:
    """Whether enough people have each key, `shape`."""
    flat = np.ravel_multi_index(keys, shape)
    people = pd.DataFrame({"key": flat, "person": person}).drop_duplicates().groupby("key").size()
    found = np.zeros(int(np.prod(shape)), bool)
    found[people.index[people >= FEWEST_ROWS]] = True
    return found.reshape(shape)


def _shares(codes: pd.Series, size: int) -> np.ndarray:
    counts = np.bincount(codes.to_numpy(np.int64), minlength=size) + 1.0
    return counts / counts.sum()


def _common(values: pd.Series, people: pd.Series, otherwise: float) -> np.ndarray:
    """The values that enough people have, as often as they are; `otherwise` where there is none."""
    found = pd.DataFrame({"value": values.to_numpy(np.float64), "person": people.to_numpy()}).dropna()
    shared = found.groupby("value")["person"].transform("nunique") >= FEWEST_ROWS
    kept = found["value"][shared].to_numpy()
    return kept if len(kept) else np.array([otherwise])
