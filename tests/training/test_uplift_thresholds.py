"""Effects that hang on combinations of small counts, as a shop's do: found from a few thousand exposures, with and without `x_*`."""

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow

OFFERS = ["gift", "mail"]


def shop(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A campaign whose offers move who has a cart and no purchase, and put off who only looks; and the true effects on visits."""
    random = np.random.default_rng(seed)
    is_gone = random.random(rows) < 0.25
    counts = {
        name: np.where(is_gone, 0, random.poisson(mean, rows))
        for name, mean in (("carts_30d", 0.8), ("purchases_30d", 0.7), ("views_30d", 6))
    }
    counts |= {"favourites_30d": random.poisson(0.5, rows), "sessions_30d": 1 + random.poisson(1.5, rows)}
    frame = pd.DataFrame(counts).astype(float).assign(events_30d=counts["views_30d"] + counts["carts_30d"] + counts["purchases_30d"])
    moved = (frame["carts_30d"] > 0) & (frame["purchases_30d"] == 0)
    put_off = (
        ~moved & (frame["purchases_30d"] == 0) & (frame["views_30d"] > 0) & (frame["sessions_30d"] > 1) & (frame["favourites_30d"] == 0)
    )
    true = np.select([moved, put_off], [0.2, -0.35], 0.0)
    frame["treatment"] = random.choice(["control", *OFFERS], rows, p=[0.4, 0.3, 0.3])
    frame["propensity"] = np.where(frame["treatment"] == "control", 0.4, 0.3)
    base = np.clip(0.2 + 0.04 * frame["views_30d"] + 0.1 * (frame["purchases_30d"] > 0), 0, 0.75)
    chance = base + np.where(frame["treatment"] == "control", 0.0, true)
    frame["visited"] = (random.random(rows) < chance).astype(float)
    frame["converted"] = frame["visited"] * (random.random(rows) < 0.4)
    return frame.assign(x_channel=random.choice(["app", "web"], rows)), true


def test_whom_an_offer_moves_and_whom_it_puts_off_is_found_as_well_as_by_boosting():
    from training.effect_measures import recovery
    from training.uplift import fit_uplift
    from training.uplift_config import UpliftConfig
    from training.uplift_learners import HELD_BACK, LEARNERS, Taught

    learn, _ = shop(3000, seed=1)
    asked, true = shop(3000, seed=2)
    fitted = fit_uplift(learn, OFFERS, ["visited", "converted"], ["x_channel"], UpliftConfig(), seed=1)
    numbers = [name for name in learn if name.endswith("_30d")]
    is_pair = learn["treatment"].isin(["control", "mail"])
    pair = learn[is_pair]
    taught = Taught(
        pair[numbers].to_numpy(), pair["visited"].to_numpy(), (pair["treatment"] == "mail").to_numpy(), np.full(len(pair), 0.3 / 0.7)
    )
    boosted = recovery(LEARNERS["dr_learner"](taught, asked[numbers].to_numpy(), HELD_BACK, 1), true)
    for own in (asked, asked.assign(x_channel="")):  # as a plan asks
        added = fitted.predict(own)
        found = recovery(added["visited"].mean[:, 1], true)
        assert found["rank correlation"] > max(0.45, boosted["rank correlation"] - 0.03)
        assert found["pehe"] < min(0.65 * found["pehe_of_average"], 1.05 * boosted["pehe"])
        assert recovery(added["converted"].mean[:, 1], 0.4 * true)["rank correlation"] > 0.3
