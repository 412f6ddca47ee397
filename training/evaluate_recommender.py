"""What the recommender would be worth on a source, by full ranking."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from training.evaluation import CannotEvaluate, encoder_config, evaluation, event_counts, histories_and_catalogue, landing_tables, required

if TYPE_CHECKING:
    from training.metrics import Interval

PROTOCOLS = ("leave-one-out", "time-split")

#: Epochs without a better validation NDCG@10 after which training ends.
PATIENCE = 5


def evaluate_recommender(
    *,
    source: str,
    data: Path | str | None,
    protocol: Literal["leave-one-out", "time-split"] = "leave-one-out",
    seed: int = 7,
    epochs: int | None = None,
    dim: int | None = None,
    blocks: int | None = None,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """`HR@10` and `NDCG@10` by full ranking with seen items removed, each with a bootstrap interval over users.

    Weights learn from the training part alone; the epoch is chosen on the validation questions; the test questions are asked once. The
    baselines are fitted on the same training part and see the same histories. `return` events are left out: sending back is no wish.
    """
    started = time.monotonic()
    if protocol not in PROTOCOLS:
        raise CannotEvaluate(f"`protocol` must be one of {list(PROTOCOLS)}. Received '{protocol}'.")
    import numpy as np
    import pyarrow.compute as pc

    from training import baselines, metrics, splits
    from training.encoder import train_encoder_network
    from training.fitting import Validation

    tables = landing_tables(source, data, seed, ("events", "items", "item_attributes"))
    events = required(tables, "events", source)
    histories, catalogue = histories_and_catalogue({**tables, "events": events.filter(pc.not_equal(events["event_type"], "return"))})
    split = splits.leave_one_out(histories) if protocol == "leave-one-out" else splits.time_split(histories)
    for name, questions in (("validation", split.validation), ("test", split.test)):
        if not len(questions.targets):
            raise CannotEvaluate(f"Protocol {protocol} found no {name} question among {len(histories)} users. Load more days of events.")
    config = encoder_config(epochs=epochs, dim=dim, blocks=blocks, patience=PATIENCE)
    validation = Validation(split.validation.histories, split.validation.targets)
    encoder = train_encoder_network(split.train, catalogue, config, seed, log, validation)

    targets = catalogue.index_of(split.test.targets)
    train, asked = (event_counts(part, catalogue) for part in (split.train, split.test.histories))

    def measured(scores: Any) -> "dict[str, Interval]":
        ranks = metrics.rank_targets(scores, targets, asked).ranks
        gains = np.stack([metrics.hits(ranks), metrics.ndcg(ranks)])  # (metrics, users)
        values, drawn = metrics.resample(lambda rows: gains[:, rows].mean(axis=1), len(ranks), seed, samples=1000)
        return {key: metrics.interval(values[place], drawn[:, place]) for place, key in enumerate(("HR@10", "NDCG@10"))}

    fitted = {"popularity": baselines.popularity(train), "item_knn": baselines.item_knn(train)}
    if len(catalogue) <= baselines.EASE_ITEMS:
        fitted["ease"] = baselines.ease(train)
    return evaluation(
        started,
        metrics=measured(encoder.scores(split.test.histories)),
        baselines={name: measured(score(asked[at : at + 1024]) for at in range(0, len(targets), 1024)) for name, score in fitted.items()},
        seeds=[seed],
        counts={
            "users": len(histories),
            "items": len(catalogue),
            "events": int(histories.lengths.sum()),
            "train_events": int(split.train.lengths.sum()),
            "validation_users": len(split.validation.targets),
            "test_users": len(split.test.targets),
            "epochs": len(encoder.curves["loss"]),
        },
        targets_sha256=splits.targets_sha256(split.test.histories.user_ids, split.test.targets),
    )
