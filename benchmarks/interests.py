"""Interest evolution against the truth of the simulated shop: `python -m benchmarks.interests`; writes its part of `docs/benchmarks.md`.

The encoder learns from everything the shop delivered before the question. Users with ten events or more are asked about their true taste at
the end of the truth's last full month and how it had changed in 30 days. Peers: the user's own events, and the last state alone.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.page import circumstances, write_part

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SEED = 7
MONTH_US = 30 * 86_400_000_000
ENOUGH = 10


def shop_records(folder: Path) -> tuple[Any, Any]:
    """Histories and catalogue of the clean simulated shop, delivered into `folder` beside its truth."""
    import pyarrow.compute as pc

    from sources.files import read_table
    from sources.registry import deliver
    from training.evaluation import histories_and_catalogue

    deliver("shop", None, folder / "landing", seed=SEED, options={"dirt": 0})
    tables = {name: read_table(folder / "landing", name) for name in ("events", "items", "item_attributes")}
    kept = tables["events"].filter(pc.not_equal(tables["events"]["event_type"], "return"))
    return histories_and_catalogue({**tables, "events": kept})


def measure(folder: Path) -> dict[str, Any]:
    """Rank correlations and the alarm's AUC, `{method: {figure: value}}`, and counts."""
    import tensorflow as tf

    from sources.shop_catalogue import TOPS
    from training.encoder import train_encoder_network
    from training.encoder_config import EncoderConfig
    from training.interests import Interests
    from training.metrics import auc
    from training.raw_history import HistoryReader
    from training.served import blocks, history_inputs

    histories, catalogue = shop_records(folder)
    tastes = pd.read_parquet(folder / "truth" / "tastes.parquet")
    people = pd.read_parquet(folder / "truth" / "users.parquet").set_index("user_id")
    now = tastes["at"].max()
    then = tastes.loc[tastes["at"] <= now - pd.Timedelta(days=30), "at"].max()
    now_us, then_us = (int(np.datetime64(at, "us").astype(np.int64)) for at in (now, then))
    known = histories.before(now_us)
    encoder = train_encoder_network(known, catalogue, EncoderConfig(), SEED, print)
    asked = known[np.flatnonzero(known.lengths >= ENOUGH)]

    interests, reader = Interests(encoder), HistoryReader(encoder)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("now", "before", "evidence", "last", "own now", "own before")}
    for rows in blocks(len(asked)):
        inputs = {name: tf.constant(values) for name, values in history_inputs(asked[rows], now_us).items()}
        history = reader.read(**inputs)
        at = tf.fill(inputs["as_of_us"].shape, tf.constant(now_us, tf.int64))
        before = at - (now_us - then_us)
        states = reader.states_of(history)
        found["now"].append(interests.at(history, states, at).numpy())
        found["before"].append(interests.at(history, states, before).numpy())
        found["evidence"].append(interests.evidence(history, at).numpy())
        found["last"].append(interests.expected(history.vectors).numpy())
        own = tf.gather(interests.is_in_category, history.places)
        for name, until in (("own now", at), ("own before", before)):
            is_in = tf.cast((history.times < until[:, None]) & (history.inputs["segments"] > 0), tf.float32)
            counts = tf.reduce_sum(own * is_in[..., None], axis=1) + interests.usual
            found[name].append((counts / tf.reduce_sum(counts, axis=1, keepdims=True)).numpy())
    got = {name: np.concatenate(parts) for name, parts in found.items()}

    order = [list(TOPS).index(category) for category in interests.categories]
    truth = tastes.set_index(["at", "user_id"])["taste"]
    true_now, true_then = (np.stack(truth.loc[at].loc[asked.user_ids].to_list())[:, order] for at in (now, then))
    changes_at = people.loc[asked.user_ids, "changes_at"].to_numpy("datetime64[us]")
    is_abrupt = (changes_at > np.datetime64(then)) & (changes_at <= np.datetime64(now))
    had_events = np.isfinite(got["before"]).all(axis=1)
    moved = 0.5 * np.abs(true_now - true_then).sum(axis=1)
    return {
        "counts": {"users": len(asked), "with events a month before": int(had_events.sum()), "abrupt changes": int(is_abrupt.sum())},
        "interests now, mean rank correlation by user": {
            "served": by_user(got["now"], true_now),
            "own events": by_user(got["own now"], true_now),
            "last state alone": by_user(got["last"], true_now),
        },
        "change in 30 days, rank correlation over users and categories": {
            "served": rank_correlation((got["now"] - got["before"])[had_events], (true_now - true_then)[had_events]),
            "own events": rank_correlation((got["own now"] - got["own before"])[had_events], (true_now - true_then)[had_events]),
        },
        "an abrupt change in 30 days, AUC": {
            "served": auc(is_abrupt, got["evidence"]),
            "own events": auc(is_abrupt, np.abs(got["own now"] - got["own before"]).sum(axis=1)),
            "size of the true change": auc(is_abrupt, moved),
        },
        "share of true changes among the 5 % with an alarm": {
            "served": float(is_abrupt[got["evidence"] > np.quantile(got["evidence"], 0.95)].mean()),
            "all users": float(is_abrupt.mean()),
        },
    }


def rank_correlation(found: np.ndarray, true: np.ndarray) -> float:
    """Spearman's, over all cells."""
    from scipy.stats import spearmanr

    return float(spearmanr(found.ravel(), true.ravel())[0])


def by_user(found: np.ndarray, true: np.ndarray) -> float:
    """Spearman's over the categories of each user, averaged."""
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=1) for values in (found, true)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    spread = [np.sqrt((part**2).sum(axis=1)) for part in centred]
    product = (centred[0] * centred[1]).sum(axis=1) / np.maximum(spread[0] * spread[1], 1e-12)
    return float(product.mean())


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="portrait-interests-") as folder:
        result = measure(Path(folder))
    counts = ", ".join(f"{name} {value:,}" for name, value in result.pop("counts").items())
    lines = ["| | " + "served | others |", "| --- | --- | --- |"]
    for name, figures in result.items():
        others = ", ".join(f"{who} {value:.3f}" for who, value in figures.items() if who != "served")
        lines.append(f"| {name} | {figures['served']:.3f} | {others} |")
    where = circumstances()
    head = f"`python -m benchmarks.interests`, {where['date']}, {where['machine']}, seed {SEED}, one run: {counts}."
    write_part("interests", "\n".join(["## Interest evolution against the simulated shop's truth", "", head, "", *lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
