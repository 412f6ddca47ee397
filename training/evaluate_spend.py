"""How well the money of the coming days is foreseen, beside BG/NBD and Gamma-Gamma, boosted trees, and the days before once again."""

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluation import CannotEvaluate, encoder_config, evaluation, histories_and_catalogue, landing_tables, required

if TYPE_CHECKING:
    import numpy as np

    from training.activity import Activity

DAY_US = 86_400_000_000
WEEK_US = 7 * DAY_US


def evaluate_spend(
    *,
    source: str,
    data: Path | str | None,
    days: int = 90,
    seed: int = 7,
    epochs: int | None = None,
    lifetimes: Path | None = None,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """`mae`, `rmse`, `gini`, `spearman`, `total_ratio`, `decile_error` (`metrics.amounts`) of every known user's money in the last `days`.

    One cut, the midnight `days` before the records end, at which everybody with an event is asked. The heads and the trees learn from
    windows that are over by then: those that begin `days` before the cut, and 7, 14, ... days earlier while as many days of records lie
    behind them; only the first where there are none such. The encoder learns from events before the newest of these. BG/NBD and Gamma-Gamma
    are fitted on all purchases before the cut, by the Python `lifetimes` in which the package of that name is installed; without it they
    are left out. Who has not bought before is nobody to them: 0. `deciles` holds predicted over true totals, lowest prediction first.
    """
    started = time.monotonic()
    import numpy as np

    from training import baselines, metrics
    from training.activity import activity_of
    from training.encoder import train_encoder_network
    from training.portrait_config import PortraitConfig
    from training.spend import fit_spend, lasting, pace
    from training.splits import targets_sha256

    tables = landing_tables(source, data, seed, ("events", "items", "item_attributes"))
    events = required(tables, "events", source)
    histories, catalogue = histories_and_catalogue({**tables, "events": events})
    activity = activity_of(events.to_pandas(), histories.user_ids)
    window = days * DAY_US
    first, cut, learned = learning_times(activity, days)
    asked_users = np.flatnonzero(histories.before(cut).lengths)
    if not activity.total("spend", cut, cut + window)[asked_users].any():
        raise CannotEvaluate(f"Source {source} holds no money in its last {days} days: `events` need purchases with `unit_price`.")
    encoder = train_encoder_network(histories.before(learned[0]), catalogue, encoder_config(epochs=epochs), seed, log)

    def rows_at(at_us: int) -> "tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]":
        """Users with an event by then, their vectors, numbers and the money of the window that begins."""
        before = histories.before(at_us)
        users = np.flatnonzero(before.lengths)
        last = np.array([before.times_us[user][-1] for user in users], np.int64)
        speed = pace([before.times_us[user] for user in users], at_us, encoder.config.sequence_length)
        numbers = np.column_stack([activity.numbers(at_us)[users], (at_us - last) / DAY_US, speed]).astype(np.float32)
        return users, encoder.vectors(histories[users], at_us), numbers, activity.total("spend", at_us, at_us + window)[users]

    parts = [rows_at(at) for at in learned]
    users, vectors, numbers, money = (np.concatenate(column) for column in zip(*parts, strict=True))
    config = PortraitConfig()
    part_of = np.random.default_rng(seed).integers(0, config.spend_parts, len(histories))  # all rows of a user are in one part
    head = fit_spend(vectors, numbers, money, part_of[users], config, seed)
    if head is None:
        raise CannotEvaluate(f"Too few of {len(money)} windows of {days} days before the cut hold any money. Load more days of events.")
    asked, asked_vectors, asked_numbers, truth = rows_at(cut)
    foreseen = {
        "portrait": head.predict(asked_vectors, asked_numbers).astype(float),
        "last_days_again": activity.total("spend", cut - window, cut)[asked],
        "boosted_trees": baselines.boosted_amounts(np.asarray(lasting(numbers)), money, np.asarray(lasting(asked_numbers)), seed),
    }
    if lifetimes:
        foreseen["bg_nbd_gamma_gamma"] = by_lifetimes(activity, cut, days, lifetimes)[asked]
    keys = list(metrics.amounts(truth, truth))

    def figures(rows: "np.ndarray") -> "np.ndarray":
        """Of every model on the same rows, `(models, figures)` laid flat."""
        return np.array([list(metrics.amounts(truth[rows], said[rows]).values()) for said in foreseen.values()]).ravel()

    values, drawn = metrics.resample(figures, len(truth), seed, samples=1000)
    of = {name: slice(place * len(keys), (place + 1) * len(keys)) for place, name in enumerate(foreseen)}

    def measured(value: "np.ndarray", samples: "np.ndarray") -> dict[str, metrics.Interval]:
        return {key: metrics.interval(value[place], samples[:, place]) for place, key in enumerate(keys)}

    own = of.pop("portrait")
    return evaluation(
        started,
        metrics=measured(values[own], drawn[:, own]),
        baselines={name: measured(values[place], drawn[:, place]) for name, place in of.items()},
        differences={name: measured(values[own] - values[place], drawn[:, own] - drawn[:, place]) for name, place in of.items()},
        deciles={name: metrics.decile_ratios(truth, said) for name, said in foreseen.items()},
        seeds=[seed],
        counts={
            "users": len(histories),
            "events": int(histories.lengths.sum()),
            "days_before_the_cut": int((cut - first) // DAY_US),
            "learned_windows": len(learned),
            "learned_rows": len(money),
            "test_users": len(truth),
            "test_payers": int((truth > 0).sum()),
        },
        targets_sha256=targets_sha256(histories.user_ids[asked], [f"{amount:.2f}" for amount in truth]),
    )


def learning_times(activity: "Activity", days: int) -> tuple[int, int, list[int]]:
    """The first midnight of the records, the cut, and when the windows begin that are learned from, newest first; all in microseconds."""
    if not len(activity.times_us):
        raise CannotEvaluate("Nobody is known by an id: `events` need `user_id`.")
    first = int(activity.times_us.min()) // DAY_US * DAY_US
    cut = (int(activity.times_us.max()) // DAY_US + 1 - days) * DAY_US
    newest = cut - days * DAY_US
    if newest <= first:
        held = (cut - first) // DAY_US + days
        raise CannotEvaluate(
            f"Windows of {days} days need more than {2 * days} days of events. Received {held}. Load more, or ask for fewer."
        )
    return first, cut, [newest, *range(newest - WEEK_US, first + days * DAY_US - 1, -WEEK_US)]


def by_lifetimes(activity: "Activity", cut_us: int, days: int, python: Path) -> "np.ndarray":
    """Expected money of all users by BG/NBD and Gamma-Gamma, `(users,)`; 0 for those who had not bought before `cut_us`."""
    import numpy as np
    import pandas as pd

    rows = pd.DataFrame({"user": activity.places, "day": activity.times_us // DAY_US, "spend": activity.adds["spend"]})
    rows = rows.assign(is_purchase=activity.adds["purchases"] > 0)[activity.times_us < cut_us]
    bought = rows[rows["is_purchase"]].groupby("user")["day"].agg(["min", "max", "nunique"])
    later = rows[rows["day"] > bought["min"].reindex(rows["user"]).to_numpy()].groupby("user")["spend"].sum()
    frequency = bought["nunique"] - 1
    buyers = pd.DataFrame(
        {
            "frequency": frequency,
            "recency": bought["max"] - bought["min"],
            "T": cut_us // DAY_US - bought["min"],
            "monetary_value": (later.reindex(bought.index).fillna(0.0) / frequency.where(frequency > 0)).fillna(0.0),
        }
    )
    with tempfile.TemporaryDirectory(prefix="portrait-lifetimes-") as folder:
        given, out = Path(folder) / "buyers.csv", Path(folder) / "spend.csv"
        buyers.to_csv(given, index=False)
        command = [str(python), "-P", "-W", "ignore", str(Path(__file__).with_name("bg_nbd.py")), str(given), str(days), str(out)]
        subprocess.run(command, check=True)
        said = pd.read_csv(out)["spend"].to_numpy()
    spend = np.zeros(activity.users)
    spend[bought.index] = said
    return spend
