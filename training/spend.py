"""Expected spend: what a user will pay in the coming 90 days, returns taken off, from the frozen encoder and the user's numbers.

Several networks, each fitted without another part of the users and averaged; what they say of users they have not seen sets the level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from training.numbers import NumberEncoder
from training.portrait_config import PortraitConfig
from training.signatures import USER_FEATURES

#: Numbers of windows: those of all time grow with the shop's records, so they mean less at the time of the label than when they are asked.
WINDOWED = [place for place, name in enumerate(USER_FEATURES) if not name.endswith("_total")]
NUMBERS = len(USER_FEATURES) + 2  # then come the days since the last event, and the pace
PURCHASES, SPEND = USER_FEATURES.index("purchases_total"), USER_FEATURES.index("spend_total")
PACE_DAYS = 30  # beyond those seen: a user of yesterday has no pace yet
PACE_UNIT = 100.0  # days; large enough for a logarithm to tell slow users apart
DAY_US = 86_400_000_000


def lasting(numbers: Any) -> Any:
    """What means the same whenever it is asked, `(batch, len(WINDOWED) + 3)`: windows, days since the last event, pace, money per purchase
    line. `numbers` are `(batch, NUMBERS)`, NaN where unknown.
    """
    windows = ops.take(numbers, WINDOWED, axis=1)
    price = ops.where(numbers[:, PURCHASES] > 0, numbers[:, SPEND] / ops.maximum(numbers[:, PURCHASES], 1.0), np.nan)
    return ops.concatenate([windows, numbers[:, -2:], price[:, None]], axis=1)


def pace(times_us: list[np.ndarray], at_us: int | np.ndarray, length: int) -> np.ndarray:
    """Events in `PACE_UNIT` days at the rate of each user's newest `length`, over the time since the first of them and `PACE_DAYS` more,
    `(users,)`; NaN without any.

    `times_us` are the events before `at_us`: one time, or one a user.
    """
    first = np.array([times[-length:][0] if len(times) else 0 for times in times_us], np.int64)
    counts = np.array([min(len(times), length) for times in times_us])
    return np.where(counts > 0, PACE_UNIT * counts / ((at_us - first) / DAY_US + PACE_DAYS), np.nan).astype(np.float32)


def tweedie(power: float) -> Callable[[Any, Any], Any]:
    """The loss `-y m^(1 - power) / (1 - power) + m^(2 - power) / (2 - power)` with `m = exp(logit)`: deviance of a Tweedie distribution.

    With `power` between 1 and 2 that is a Poisson number of payments, each gamma-distributed: zeros and heavy tails in one likelihood,
    which is greatest at the mean (Jorgensen, J. R. Stat. Soc. B 49, 1987). `y` is not below 0.
    """

    def loss(truth: Any, logits: Any) -> Any:
        truth, logits = ops.reshape(truth, (-1,)), ops.reshape(logits, (-1,))
        return -truth * ops.exp((1 - power) * logits) / (1 - power) + ops.exp((2 - power) * logits) / (2 - power)

    return loss


@dataclass(frozen=True)
class Spend:
    """Networks that give the logarithm `(batch, 1)` of expected money over `level`, in the shop's currency."""

    networks: list[keras.Model]
    level: float

    def expected(self, inputs: dict[str, Any]) -> Any:
        """Money `(batch,)` from `vector` `(batch, dim)` and `numbers` `(batch, NUMBERS)`."""
        said = [ops.exp(network(inputs, training=False)[:, 0]) for network in self.networks]
        return self.level * ops.mean(ops.stack(said), axis=0)

    def predict(self, vectors: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """The same in blocks, `(rows,)`."""
        size = 8192
        blocks = [
            ops.convert_to_numpy(self.expected({"vector": vectors[at : at + size], "numbers": numbers[at : at + size]}))
            for at in range(0, len(vectors), size)
        ]
        return np.concatenate([np.empty(0, np.float32), *blocks])


def build_spend_network(dim: int, encoder: NumberEncoder, config: PortraitConfig, seed: int) -> keras.Model:
    """The logarithm `(batch, 1)` from the portrait vector `(batch, dim)` and raw numbers `(batch, NUMBERS)`, NaN where unknown."""
    inputs = {"vector": keras.Input((dim,), name="vector"), "numbers": keras.Input((NUMBERS,), name="numbers")}
    start = keras.initializers.GlorotUniform
    both = keras.layers.Concatenate()([inputs["vector"], encoder(lasting(inputs["numbers"]))])
    hidden = keras.layers.Dense(config.hidden, activation="gelu", kernel_initializer=start(seed=seed))(both)
    hidden = keras.layers.Dropout(config.spend_dropout, seed=seed)(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, kernel_initializer=start(seed=seed + 1))(hidden), name="spend")


def fit_spend(
    vectors: np.ndarray, numbers: np.ndarray, truth: np.ndarray, part_of: np.ndarray, config: PortraitConfig, seed: int
) -> Spend | None:
    """Fitted on money `truth` `(rows,)`; None where fewer than `config.min_labels` rows hold any, or all of it is in one part.

    `vectors` `(rows, dim)` and `numbers` `(rows, NUMBERS)` must be as of the time of the question; `part_of` `(rows,)` is the
    part, from 0 to `config.spend_parts` less 1, that all rows of a user belong to. Who brings back more than is bought counts as 0 while
    learning; the level is that of the truth itself.
    """
    paid = np.maximum(truth, 0).astype(np.float32)
    if (paid > 0).sum() < config.min_labels or min(paid[part_of != part].sum() for part in range(config.spend_parts)) <= 0:
        return None
    unit, networks, unseen = float(paid.mean()), [], np.zeros(len(truth))
    for part in range(config.spend_parts):
        learn, held = part_of != part, part_of == part
        keras.utils.set_random_seed(seed + part)
        encoder = NumberEncoder(len(WINDOWED) + 3, name="spend_numbers")
        encoder.adapt(ops.convert_to_numpy(lasting(numbers[learn])))
        network = build_spend_network(vectors.shape[1], encoder, config, seed + 10 * part)
        network.compile(
            optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay, clipnorm=1.0),
            loss=tweedie(config.spend_power),
            jit_compile=False,
            steps_per_execution=max(1, min(16, int(learn.sum()) // config.batch)),
        )
        size = min(config.batch, int(learn.sum()))
        network.fit(
            {"vector": vectors[learn], "numbers": numbers[learn]},
            paid[learn] / unit,
            batch_size=size,
            epochs=max(1, -(-config.spend_steps * size // int(learn.sum()))),
            verbose=0,
        )
        networks.append(network)
        unseen[held] = Spend([network], 1.0).predict(vectors[held], numbers[held])
    return Spend(networks, max(float(truth.sum()), 0.0) / float(unseen.sum()))
