"""The recommender's run: export the encoder as a recommender, and ask it for every user's next new item after the holdout time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np

from training import metrics
from training.baselines import interactions, popularity
from training.encoder import TrainedEncoder
from training.examples import recommended
from training.export import export_model
from training.frames import histories_until, questions_between, to_us
from training.histories import Histories
from training.known_histories import some_users
from training.oracle import MOST_CELLS, ORACLE, house_oracle, next_item_scores
from training.recommender import Recommender
from training.run_folder import Evidence, TrainingWindow
from training.served import SavedPredictor, blocks, champion, history_inputs
from training.signatures import RECOMMENDER
from training.splits import Questions

LISTED = 10
NEW = timedelta(days=14)
LIGHT = 10  # events


def golden_users(histories: Histories) -> Histories:
    """Three users to ask in golden requests: a long history, a short one and none; fewer where there are no such users."""
    order = np.argsort(-histories.lengths, kind="stable")
    chosen = histories[order[[0, len(order) // 2]]] if len(order) else histories
    empty = [np.empty(0, object)]
    return Histories(
        np.append(chosen.user_ids, ""), chosen.item_ids + empty, chosen.event_types + empty, [*chosen.times_us, np.empty(0, np.int64)]
    )


def train_recommender(encoder: TrainedEncoder, window: TrainingWindow, seed: int, draft: Path, provenance: dict[str, object]) -> Evidence:
    """Writes `draft/saved_model` and returns how it did."""
    histories = histories_until(window.holdout_at, window.start_at, some_users(window.holdout_at, seed))
    examples = golden_users(histories)
    golden = history_inputs(examples, to_us(window.holdout_at)) | {
        "exclude_item_ids": np.array([[items[-1] if len(items) else ""] for items in examples.item_ids], object),
        "k": np.full(len(examples), max(1, min(LISTED, len(encoder.catalogue) - 1)), np.int32),
    }
    served = Recommender(encoder)
    path = draft / "saved_model"
    export_model(
        served, served.serve, RECOMMENDER, path, explain=served.explain, retrieve=served.retrieve, golden=golden, provenance=provenance
    )
    served.write_item_vectors(path)

    questions = questions_between(histories, window.holdout_at, window.end_at)
    users = len(questions.targets)
    seen = interactions([encoder.catalogue.index_of(items) for items in questions.histories.item_ids], len(encoder.catalogue))
    everybody = interactions([encoder.catalogue.index_of(items) for items in histories.item_ids], len(encoder.catalogue))
    targets = encoder.catalogue.index_of(questions.targets)
    by_popularity = metrics.rank_targets((popularity(everybody)(seen[rows]) for rows in blocks(users)), targets, seen).ranks
    own, top = served_ranks(path, questions, window)
    ranks = {"recommender": own, "popularity": by_popularity}
    lists = {"recommender": top}
    if published := champion("recommender"):
        served_name = f"served version {published[0]}"
        ranks[served_name], lists[served_name] = served_ranks(published[1], questions, window)
    oracle = house_oracle() if users * len(encoder.catalogue) <= MOST_CELLS else None
    if oracle and users:
        best = next_item_scores(oracle, questions.histories, to_us(window.holdout_at), encoder.catalogue.item_ids)
        ranks[ORACLE] = metrics.rank_targets(best, targets, seen).ranks
    coverage = {name: len(np.unique(listed[listed != ""])) / len(encoder.catalogue) for name, listed in lists.items() if users}
    gains = {name: metrics.ndcg(found) for name, found in ranks.items()}

    def mean(name: str) -> metrics.Statistic:
        return lambda rows: float(gains[name][rows].mean())

    slices = slices_of(questions, targets, encoder, window)
    listed = encoder.catalogue.index_of(top.ravel())
    counts = np.bincount(listed[listed >= 0], minlength=len(encoder.catalogue))
    intervals = {name: _intervals(found, seed) for name, found in ranks.items() if users}
    figures = {name: _figures(found) for name, found in ranks.items()}
    for name, covered in coverage.items():
        figures[name] |= {"coverage@10": covered}
    return Evidence(
        users,
        mean("recommender"),
        mean("popularity"),
        mean(served_name) if published else None,
        figures,
        note=f"The first event on a new item of {users} users, from {window.holdout_at:%Y-%m-%d} to {window.end}; seen items removed.",
        curves=encoder.curves,
        popularity=(counts, encoder.counts) if users else None,
        tables={"NDCG@10 by group of customers": _by_slice(gains, slices)} if users else {},
        intervals=intervals,
        examples=recommended(path, questions, top, to_us(window.holdout_at), encoder.catalogue),
        slices=slices,
        champion_path=published[1] if published else None,
        coverage=(coverage.get("recommender"), coverage.get(served_name) if published else None),
    )


def served_ranks(saved_model: Path, questions: Questions, window: TrainingWindow) -> tuple[np.ndarray, np.ndarray]:
    """Places of the targets from 0 among the first ten, `(users,)`, a number beyond any list where missed; and the lists `(users, 10)`."""
    ask = SavedPredictor(saved_model)
    ranks = np.full(len(questions.targets), np.iinfo(np.int64).max)
    top = np.full((len(ranks), LISTED), "", object)
    for rows in blocks(len(ranks)):
        histories = questions.histories[rows]
        inputs = history_inputs(histories, to_us(window.holdout_at))
        more = {"exclude_item_ids": inputs["event_item_ids"], "k": np.full(len(rows), LISTED, np.int32)}
        top[rows] = ask(inputs | more)["item_ids"]
        found = top[rows] == questions.targets[rows][:, None]
        ranks[rows] = np.where(found.any(1), found.argmax(1), ranks[rows])
    return ranks, top


def slices_of(questions: Questions, targets: np.ndarray, encoder: TrainedEncoder, window: TrainingWindow) -> dict[str, np.ndarray]:
    """Whether each asked user belongs to a slice, `(users,)`: by length of history, by age of it, by how often the target was seen."""
    lengths = questions.histories.lengths
    first = np.array([times[0] for times in questions.histories.times_us], np.int64)
    counts = np.where(targets >= 0, encoder.counts[np.maximum(targets, 0)], 0)
    often = np.sort(encoder.counts)[::-1]
    head = often[min(len(often) - 1, len(often) // 5)] if len(often) else 0
    return {
        "new users (under 14 days)": first > to_us(window.holdout_at - NEW),
        "light users (under 10 events)": lengths < LIGHT,
        "heavy users": lengths >= LIGHT,
        "long-tail items (rarest four fifths)": (counts <= head) & (counts > 0),
        "items never seen in training": counts == 0,
    }


def _by_slice(gains: dict[str, np.ndarray], slices: dict[str, np.ndarray]) -> list[dict[str, object]]:
    """NDCG@10 of every model on every slice that has rows."""
    return [
        {"slice": name, "users": int(is_member.sum()), **{model: float(gain[is_member].mean()) for model, gain in gains.items()}}
        for name, is_member in slices.items()
        if is_member.any()
    ]


def _intervals(ranks: np.ndarray, seed: int) -> dict[str, metrics.Interval]:
    gains = np.stack([metrics.hits(ranks), metrics.ndcg(ranks)])  # (metrics, users)
    values, drawn = metrics.resample(lambda rows: gains[:, rows].mean(axis=1), len(ranks), seed, samples=1000)
    return {name: metrics.interval(values[place], drawn[:, place]) for place, name in enumerate(("HR@10", "NDCG@10"))}


def _figures(ranks: np.ndarray) -> dict[str, float]:
    if not len(ranks):
        return dict.fromkeys(("HR@10", "NDCG@10"), float("nan"))
    return {"HR@10": float(metrics.hits(ranks).mean()), "NDCG@10": float(metrics.ndcg(ranks).mean())}
