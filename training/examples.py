"""A few users of a run shown whole, for people: what they did, what the served model says of them, and the past events that drove it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.catalogue import Catalogue
from training.histories import Histories
from training.served import SavedPredictor, history_inputs, number_inputs
from training.splits import Questions

SHOWN_EVENTS, SHOWN_DRIVERS, SHOWN_ITEMS = 6, 3, 5
LEAST = {"score": 0.01, "chance": 0.005}  # effects that would be shown as nothing
DONE = {
    "view": "looked at",
    "favourite": "marked",
    "cart": "put into the cart",
    "purchase": "bought",
    "rate": "rated",
    "return": "sent back",
}


@dataclass(frozen=True)
class Said:
    """One thing that the model says: in words, how likely, what turned out (and whether that is what was said), and what drove it."""

    text: str
    chance: float | None = None
    outcome: str = ""
    is_right: bool = False
    because: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Example:
    """One user: newest events last, what is said, and `bars` `(name, share now, share 30 days before)`."""

    who: str
    about: str
    events: list[str]
    says: list[Said]
    bars: list[tuple[str, float, float]] = field(default_factory=list)


def spread_by_length(histories: Histories, count: int = 3) -> list[int]:
    """Users with a short, a middling and a long history (for `count` 3), places in `histories`, each once."""
    order = np.argsort(histories.lengths, kind="stable")
    if not len(order):
        return []
    places = ((np.arange(count) + 0.5) / count * len(order)).astype(int)
    return list(dict.fromkeys(order[places].tolist()))


def recommended(saved_model: Path, questions: Questions, top: np.ndarray, at_us: int, catalogue: Catalogue) -> list[Example]:
    """Users with a short, a middling and a long history, and the first whose next item was listed; `top` are the lists `(users, k)`."""
    users = spread_by_length(questions.histories)
    hit = np.flatnonzero((top == questions.targets[:, None]).any(axis=1)) if len(users) else np.empty(0, int)
    users = list(dict.fromkeys([*users, *hit[:1].tolist()]))
    if not users:
        return []
    asked, items = questions.histories[users], top[users, :SHOWN_ITEMS]
    found = SavedPredictor(saved_model).explaining()(history_inputs(asked, at_us) | {"item_ids": items})
    examples = []
    for place, user in enumerate(users):
        target = questions.targets[user]
        says = [
            Said(
                named(item, catalogue),
                outcome="chosen next" if item == target else "",
                is_right=item == target,
                because=drivers_of(found, (place, number), catalogue, "score"),
            )
            for number, item in enumerate(items[place])
            if item
        ]
        about = f"{len(asked.item_ids[place])} events; chose next: {named(target, catalogue)}"
        rank = np.flatnonzero(top[user] == target)
        about += f", which stood at place {rank[0] + 1}" if len(rank) else ", which was not among the ten"
        examples.append(Example(str(asked.user_ids[place]), about, newest(asked, place, catalogue), says))
    return examples


def portrayed(
    served: SavedPredictor,
    histories: Histories,
    at_us: np.ndarray,
    numbers: np.ndarray,
    declared: dict[tuple[str, str], str],
    catalogue: Catalogue,
) -> list[Example]:
    """Portraits of users with a short, a middling and a long history, asked at `at_us` `(users,)` with `numbers` `(users, USER_FEATURES)`;
    `declared` holds what is known by `(user, trait)`."""
    users = spread_by_length(histories)
    if not users:
        return []
    asked = histories[users]
    inputs = history_inputs(asked, at_us[users]) | number_inputs(numbers[users])
    answer, why = served(inputs), served.explaining()(inputs)
    examples = []
    for place, user in enumerate(asked.user_ids):
        says = []
        for number, explained in enumerate(why["answers"][place]):
            trait, _, value = explained.partition("=")
            because = drivers_of(why, (place, number), catalogue, "chance")
            if value:
                choice = answer["trait_choices"][place, number]
                text = f"{_words(trait)}: {choice}" + (f" (most likely {value})" if choice != value else "")
                known = declared.get((str(user), trait))
                outcome = f"declared {known}" if known else ""
                says.append(Said(text, float(why["probabilities"][place, number]), outcome, known == choice, because))
            elif np.isfinite(why["probabilities"][place, number]):
                pairs = zip(why["driver_features"][place, number], why["feature_effects"][place, number], strict=True)
                features = [
                    f"{_words(name)} ({_points(effect)} if not known)" for name, effect in pairs if name and effect >= LEAST["chance"]
                ]
                says.append(Said(_outcome(explained), float(why["probabilities"][place, number]), because=features[:2] + because[:1]))
        bars = list(
            zip(
                answer["interest_categories"][place].tolist(),
                answer["interest_shares"][place].tolist(),
                answer["interest_shares_30d_ago"][place].tolist(),
                strict=True,
            )
        )
        about = f"{len(asked.item_ids[place])} events" + (f"; {answer['segment'][place]}" if answer["segment"][place] else "")
        examples.append(Example(str(user), about, newest(asked, place, catalogue), says, bars[:SHOWN_ITEMS]))
    return examples


def drivers_of(found: dict[str, np.ndarray], place: tuple[int, int], catalogue: Catalogue, what: str) -> list[str]:
    """The events that raise an answer most, each with what is lost without it: points of chance in percent, or of the score."""
    told = []
    parts = (found[f"driver_{name}"][place] for name in ("item_ids", "types", "times_us", "effects"))
    for item, kind, at_us, effect in zip(*parts, strict=True):
        if item and effect >= LEAST[what]:
            lost = _points(effect) if what == "chance" else f"score {-effect:+.2f}"
            told.append(f"{_event(item, kind, at_us, catalogue)} ({lost} without it)")
    return told[:SHOWN_DRIVERS]


def newest(histories: Histories, place: int, catalogue: Catalogue) -> list[str]:
    """A user's newest events in words, newest last."""
    columns = histories.item_ids[place], histories.event_types[place], histories.times_us[place]
    return [_event(item, kind, at_us, catalogue) for item, kind, at_us in zip(*(column[-SHOWN_EVENTS:] for column in columns), strict=True)]


def named(item_id: str, catalogue: Catalogue) -> str:
    """An item's title, or its id where it has none."""
    place = catalogue.index_of(np.array([item_id], object))[0]
    return (str(catalogue.title[place]) if place >= 0 else "") or str(item_id)


def _event(item_id: str, kind: str, at_us: int, catalogue: Catalogue) -> str:
    day = np.datetime64(int(at_us), "us").item()
    return f"{DONE.get(kind, kind)} {named(item_id, catalogue)}, {day.day} {day:%b}"


def _outcome(name: str) -> str:
    """`purchase_probability_7d` as `buys within 7 days`."""
    kind, _, days = name.split("_")
    return f"{'buys' if kind == 'purchase' else 'stays away'} {'within' if kind == 'purchase' else 'for'} {days.removesuffix('d')} days"


def _points(effect: float) -> str:
    """What a chance loses, in points of a hundred."""
    return f"{-100 * effect:+.1f} points"


def _words(name: str) -> str:
    return name.replace("_", " ")
