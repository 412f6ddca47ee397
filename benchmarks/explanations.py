"""What an explanation costs, and whether it is true: `python -m benchmarks.explanations`; writes its part of `docs/benchmarks.md`.

On the simulated shop: the time of the signature `explain` over that of the prediction, for one user and for 32, three items each;
and what scores lose when the named event is taken out, beside another event of the same user taken out at random.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.interests import SEED, shop_records
from benchmarks.page import circumstances, write_part

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
EXPLAINED, ASKED, CALLS = 3, 256, 40


def measure(folder: Path) -> dict[str, float]:
    """Milliseconds and ratios by batch, mean losses of score, and the share of users where the named event costs more."""
    import tensorflow as tf

    from training.encoder import train_encoder_network
    from training.encoder_config import EncoderConfig
    from training.histories import Histories
    from training.recommender import Recommender
    from training.served import history_inputs

    histories, catalogue = shop_records(folder)
    encoder = train_encoder_network(histories, catalogue, EncoderConfig(epochs=2), SEED, print)
    served = Recommender(encoder)
    predict, explain = (tf.function(call, reduce_retracing=True) for call in (served.serve, served.explain))
    asked = histories[np.flatnonzero(histories.lengths >= 10)[:ASKED]]
    at = int(max(times[-1] for times in asked.times_us)) + 1

    def inputs(users: Histories) -> dict[str, Any]:
        return {name: tf.constant(values) for name, values in history_inputs(users, at).items()}

    def listed(users: Histories) -> Any:
        many = {"exclude_item_ids": tf.constant([[""]] * len(users)), "k": tf.fill([len(users)], EXPLAINED)}
        return predict(**inputs(users), **many)["item_ids"]

    result: dict[str, float] = {}
    for batch in (1, 32):
        users = asked[:batch]
        raw, items = inputs(users), listed(users)
        many = {"exclude_item_ids": tf.constant([[""]] * batch), "k": tf.fill([batch], EXPLAINED)}
        calls = {
            "predict": lambda raw=raw, many=many: predict(**raw, **many),
            "explain": lambda raw=raw, items=items: explain(**raw, item_ids=items),
        }
        for name, call in calls.items():
            times = []
            for _ in range(CALLS + 3):
                started = time.perf_counter()
                call()
                times.append(time.perf_counter() - started)
            result[f"{name}, batch {batch}, ms"] = 1000 * statistics.median(times[3:])
        result[f"explain / predict, batch {batch}"] = result[f"explain, batch {batch}, ms"] / result[f"predict, batch {batch}, ms"]

    items = listed(asked)[:, :1]
    found = explain(**inputs(asked), item_ids=items)
    generator = np.random.default_rng(SEED)
    lost: dict[str, list[float]] = {"named": [], "random": []}
    for user in np.flatnonzero(found["driver_times_us"][:, 0, 0].numpy()):  # where some event raises the score at all
        own = asked[[user]]
        named = int(np.flatnonzero(own.times_us[0] == found["driver_times_us"][user, 0, 0].numpy())[-1])
        newest = np.arange(max(0, len(own.times_us[0]) - encoder.config.sequence_length), len(own.times_us[0]))
        for kind, step in (("named", named), ("random", int(generator.choice(newest[newest != named])))):
            less = Histories(own.user_ids, *([np.delete(column[0], step)] for column in (own.item_ids, own.event_types, own.times_us)))
            scores = explain(**inputs(less), item_ids=items[user : user + 1])["scores"][0, 0]
            lost[kind].append(float(found["scores"][user, 0] - scores))
    result["mean loss of score, named event"] = float(np.mean(lost["named"]))
    result["mean loss of score, random event"] = float(np.mean(lost["random"]))
    result["users for whom the named event costs more"] = float(np.mean(np.array(lost["named"]) > np.array(lost["random"])))
    return result


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="portrait-explanations-") as folder:
        result = measure(Path(folder))
    where = circumstances()
    head = f"`python -m benchmarks.explanations`, {where['date']}, {where['machine']}, seed {SEED}, {ASKED} users, {EXPLAINED} items each."
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value:.3g} |" for name, value in result.items())]
    write_part("explanations", "\n".join(["## Explanations: cost, and whether they are true", "", head, "", *lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
