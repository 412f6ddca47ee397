"""What the recommender would be worth on a source, by full ranking."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from training.evaluation import CannotEvaluate, encoder_config, evaluation, event_counts, histories_and_catalogue, landing_tables, required

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from training.metrics import Interval

METRICS = ("HR@10", "NDCG@10")
PROTOCOLS = ("leave-one-out", "time-split", "next-purchase")

#: Epochs without a better validation NDCG@10 after which training ends.
PATIENCE = 5


def evaluate_recommender(
    *,
    source: str,
    data: Path | str | None,
    protocol: Literal["leave-one-out", "time-split", "next-purchase"] = "leave-one-out",
    seed: int = 7,
    epochs: int | None = None,
    dim: int | None = None,
    blocks: int | None = None,
    backbone: str | None = None,
    refit: bool = True,
    with_baselines: bool = True,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """`HR@10` and `NDCG@10` by full ranking with seen items removed, each with a bootstrap interval over users.

    `next-purchase` splits purchases by time, asks for the next one whatever it is, and removes nothing.

    Weights learn from the training part alone; the epoch and the memory's weights are chosen on the validation questions. Then, with
    `refit`, as a shop would, the model is fitted afresh for so many epochs on all that was known before the test questions, which are
    asked once. The baselines are fitted on the same events as the model and see the same histories. `slices` holds the same figures for
    users and items that the fitted events do not hold, and for long and short histories. `return` events are left out: sending back is no
    wish.

    Of the simulated shop, split by time, `oracle` holds the same figures for who knows the true chances, and `ways` the share of the way
    from popularity to there (`training.oracle.ways`). The other protocols ask within a visit, which the oracle does not know of.
    """
    started = time.monotonic()
    if protocol not in PROTOCOLS:
        raise CannotEvaluate(f"`protocol` must be one of {list(PROTOCOLS)}. Received '{protocol}'.")
    import numpy as np
    import pyarrow.compute as pc

    from training import baselines, metrics, splits
    from training.encoder import train_encoder_network
    from training.oracle import ORACLE, next_item_scores, shop_oracle, ways
    from training.splits import Validation

    tables = landing_tables(source, data, seed, ("events", "items", "item_attributes"))
    events = required(tables, "events", source)
    is_asked = pc.equal(events["event_type"], "purchase") if protocol == "next-purchase" else pc.not_equal(events["event_type"], "return")
    histories, catalogue = histories_and_catalogue({**tables, "events": events.filter(is_asked)})
    is_repeated = protocol == "next-purchase"
    split = splits.leave_one_out(histories) if protocol == "leave-one-out" else splits.time_split(histories, repeats=is_repeated)
    for name, questions in (("validation", split.validation), ("test", split.test)):
        if not len(questions.targets):
            raise CannotEvaluate(f"Protocol {protocol} found no {name} question among {len(histories)} users. Load more days of events.")
    chosen_options = {"epochs": epochs, "dim": dim, "blocks": blocks, "backbone": backbone, "patience": PATIENCE}
    config = encoder_config(**chosen_options, **({"repeat_weight": 1.0} if is_repeated else {}))
    validation = Validation(
        split.validation.histories, split.validation.targets, removes_seen=not is_repeated, as_of_us=split.validation_cut_us
    )
    encoder = train_encoder_network(split.train, catalogue, config, seed, log, validation)
    chosen = int(np.argmax(encoder.curves["val_ndcg@10"])) + 1
    fitted_on = split.train
    if refit:
        fitted_on = split.known
        encoder = train_encoder_network(fitted_on, catalogue, replace(encoder.config, epochs=chosen, patience=0), seed, log)

    targets = catalogue.index_of(split.test.targets)
    train, asked = (event_counts(part, catalogue) for part in (fitted_on, split.test.histories))

    fitted: dict[str, baselines.Scorer] = {}
    if with_baselines:
        fitted = {"popularity": baselines.popularity(train), "item_knn": baselines.item_knn(train), "als": baselines.als(train, seed)}
        if len(catalogue) <= baselines.EASE_ITEMS:
            fitted["ease"] = baselines.ease(train)
        if is_repeated:
            fitted["top_frequency"] = baselines.top_frequency(train)
    removed = asked * 0 if is_repeated else asked
    removed.eliminate_zeros()
    blocks_of = {
        "portrait": encoder.scores(split.test.histories, as_of_us=split.test_cut_us),
        **{name: _blocks(score, asked) for name, score in fitted.items()},
    }
    if source == "shop" and protocol == "time-split" and with_baselines:
        blocks_of[ORACLE] = next_item_scores(shop_oracle(seed), split.test.histories, int(split.test_cut_us or 0), catalogue.item_ids)
    ranks = {name: metrics.rank_targets(scores, targets, removed).ranks for name, scores in blocks_of.items()}
    gains = {name: np.stack([metrics.hits(found), metrics.ndcg(found)]) for name, found in ranks.items()}  # (metrics, users)

    def measured(gain: Any) -> "dict[str, Interval]":
        values, drawn = metrics.resample(lambda rows: gain[:, rows].mean(axis=1), gain.shape[1], seed, samples=1000)
        return {key: metrics.interval(values[place], drawn[:, place]) for place, key in enumerate(METRICS)}

    best = gains.pop(ORACLE, None)
    means = {name: dict(zip(METRICS, gain.mean(axis=1).tolist(), strict=True)) for name, gain in gains.items()}
    known = {}
    if best is not None:
        reached = ways(means | {ORACLE: dict(zip(METRICS, best.mean(axis=1).tolist(), strict=True))}, "popularity")
        known = {"oracle": measured(best), "ways": reached}
    own = gains.pop("portrait")
    slices = _slices(split.test, targets, train, fitted_on.user_ids[fitted_on.lengths > 0])
    return evaluation(
        started,
        metrics=measured(own),
        baselines={name: measured(gain) for name, gain in gains.items()},
        differences={name: measured(own - gain) for name, gain in gains.items()},
        **known,
        slices={
            name: {"users": int(rows.sum()), "portrait": measured(own[:, rows]), **{b: measured(g[:, rows]) for b, g in gains.items()}}
            for name, rows in slices.items()
            if rows.any()
        },
        seeds=[seed],
        counts={
            "users": len(histories),
            "items": len(catalogue),
            "events": int(histories.lengths.sum()),
            "train_events": int(split.train.lengths.sum()),
            "validation_users": len(split.validation.targets),
            "test_users": len(split.test.targets),
            "fitted_events": int(fitted_on.lengths.sum()),
            "epochs": chosen,
        },
        memory={"weight": encoder.config.memory_weight, "own_weight": encoder.config.memory_own_weight},
        targets_sha256=splits.targets_sha256(split.test.histories.user_ids, split.test.targets),
    )


def _blocks(score: Any, asked: Any) -> "Iterator[np.ndarray]":
    """A baseline's scores of the asked users, some at a time."""
    for start in range(0, asked.shape[0], 1024):
        yield score(asked[start : start + 1024])


def _slices(test: Any, targets: Any, train: Any, known_users: Any) -> dict[str, Any]:
    """Whether each asked user belongs, `(users,)`: cold items and users have no event among those that the weights learned from."""
    import numpy as np

    counts = np.asarray(train.sum(axis=0)).ravel()
    seen = np.where(targets >= 0, counts[np.maximum(targets, 0)], 0)
    return {
        "cold items": seen == 0,
        "rare items (1 to 10 events)": (seen > 0) & (seen <= 10),
        "cold users": ~np.isin(test.histories.user_ids.astype(str), known_users.astype(str)),
        "short histories (under 10 events)": test.histories.lengths < 10,
        "long histories (50 events or more)": test.histories.lengths >= 50,
    }
