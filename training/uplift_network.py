"""The uplift network: a shared representation, a head for what happens anyway, a head per arm for what the arm adds, many members at once.

DragonNet (Shi, Blei and Veitch 2019, Adapting neural networks for the estimation of treatment effects) for several arms, with the outcome
of arm `a` written as in Robinson's decomposition (Nie and Wager 2021, Quasi-oracle estimation of heterogeneous treatment effects):

    expected(x, a) = base(x) + effect_a(x) - sum_b chance_b(x) effect_b(x)

so that `base` is the mean outcome whoever gets what, and an error in it moves no effect. The effect heads read the inputs themselves beside
the shared representation: where little is known, an effect is nearly linear. The targeted term adds `epsilon_a / chance_a(x)`, one
`epsilon` per arm and outcome, and asks for the outcome once more; where chances are not logged a propensity head shapes the representation.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from training.numbers import NumberEncoder
from training.uplift_config import UpliftConfig
from training.uplift_inputs import Covariates


class StackedDense(keras.layers.Layer):
    """A dense layer of its own for each of several networks: `(batch, members, dim)` gives `(batch, members, units)`.

    It starts at zero, since every effect is guessed to be none; `hold` is its L2 penalty.
    """

    def __init__(self, units: int, hold: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.hold = units, hold

    def build(self, shape: Any) -> None:
        _, members, dim = shape
        hold = keras.regularizers.L2(self.hold)
        self.kernel = self.add_weight(shape=(members, dim, self.units), initializer="zeros", regularizer=hold, name="kernel")
        self.bias = self.add_weight(shape=(members, self.units), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        return ops.einsum("bmi,miu->bmu", inputs, self.kernel) + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "hold": self.hold}


class OwnArmLoss(keras.layers.Layer):
    """Half the squared error of the outcome under the arm that was taken, plain and targeted, of the rows that count: `(batch,)`.

    `base` `(batch, members, outcomes)`, `effects` `(batch, members, treatments, outcomes)`; `taken` and `chances` `(batch, arms)`, control
    first; `truth` and `is_known` `(batch, outcomes)`; `counts` `(batch, members)` is 1 where a row belongs to a member's half.
    """

    def __init__(self, targeted: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.targeted = targeted

    def build(self, base_shape: Any, effects_shape: Any) -> None:
        (_, members, outcomes), treatments = base_shape, effects_shape[2]
        self.epsilon = self.add_weight(shape=(members, treatments + 1, outcomes), initializer="zeros", name="epsilon")

    def call(self, base: Any, effects: Any, taken: Any, chances: Any, truth: Any, is_known: Any, counts: Any) -> Any:
        centred = (taken - chances)[:, None, 1:, None]
        expected = base + ops.sum(centred * effects, axis=2)  # (batch, members, outcomes)
        inverse = taken / ops.maximum(chances, 1e-3)
        moved = expected + ops.einsum("ba,mao->bmo", inverse, self.epsilon)
        error = ops.square(truth[:, None] - expected) + self.targeted * ops.square(truth[:, None] - moved)
        return 0.5 * ops.sum(error * is_known[:, None] * counts[:, :, None], axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "targeted": self.targeted}


def build_effect_network(
    covariates: Covariates,
    dim: int,
    treatments: int,
    starts: np.ndarray,
    is_binary: np.ndarray,
    scales: np.ndarray,
    number_encoder: NumberEncoder,
    config: UpliftConfig,
    rows: int,
    varying: int,
    seed: int,
) -> keras.Model:
    """`base` `(batch, members, outcomes)`, `effects` `(batch, members, treatments, outcomes)` and `chances`, logits of the propensity head
    `(batch, members, treatments + 1)`: outcomes in units of `scales`.

    `dim` is the portrait vector's, 0 without one; `starts` are the base's first guess, log odds of the outcomes that are 0 or 1; the
    network is to be fitted on `rows` rows, in which `varying` inputs vary: most shops leave many unknown.
    """
    members, outcomes = config.members, len(scales)
    inputs = {"numbers": keras.Input((len(covariates.numbers),), name="numbers")}
    parts = [number_encoder(inputs["numbers"])]
    if covariates.words:
        inputs["words"] = keras.Input((len(covariates.words),), dtype="int32", name="words")
        parts += [ops.one_hot(inputs["words"][:, place], len(values) + 1) for place, values in enumerate(covariates.words.values())]
    if dim:
        inputs["vector"] = keras.Input((dim,), name="vector")
        parts.append(inputs["vector"])
    known = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    base_hold, effect_hold = 0.5 * config.base_rows / rows, 0.5 * config.effect_rows / rows
    first = keras.layers.Dense(
        members * config.hidden,
        activation="gelu",
        kernel_initializer=keras.initializers.RandomNormal(stddev=float(np.sqrt(2.0 / max(varying, 1))), seed=seed),
        bias_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=seed + 1),
        kernel_regularizer=keras.regularizers.L2(base_hold),
        name="shared",
    )(known)
    shared = keras.layers.Dropout(config.dropout, seed=seed)(keras.layers.Reshape((members, config.hidden))(first))
    base = StackedDense(outcomes, base_hold, name="base")(shared) + starts.astype(np.float32)
    base = ops.where(ops.convert_to_tensor(is_binary), ops.sigmoid(base) / scales.astype(np.float32), base)
    straight = keras.layers.Dense(
        members * treatments * outcomes, kernel_initializer="zeros", kernel_regularizer=keras.regularizers.L2(effect_hold), name="straight"
    )(known)
    bent = StackedDense(treatments * outcomes, effect_hold, name="bent")(shared)
    effects = keras.layers.Reshape((members, treatments, outcomes))(straight) + keras.layers.Reshape((members, treatments, outcomes))(bent)
    chances = StackedDense(treatments + 1, base_hold, name="chances")(shared)
    return keras.Model(inputs, {"base": base, "effects": effects, "chances": chances})


def build_fitted_loss(network: keras.Model, config: UpliftConfig, are_chances_logged: bool) -> keras.Model:
    """The loss of every row, `(batch,)`, of the network on its own inputs and `taken`, `chances`, `outcomes`, `is_known` and `counts`."""
    members, treatments, outcomes = network.output["effects"].shape[1:]
    shapes = {"taken": treatments + 1, "chances": treatments + 1, "outcomes": outcomes, "is_known": outcomes, "counts": members}
    facts = {name: keras.Input((width,), name=f"row_{name}") for name, width in shapes.items()}
    own = dict(zip([tensor.name for tensor in network.inputs], network.inputs, strict=True))
    said = network(own)
    loss = OwnArmLoss(config.targeted, name="own_arm")(said["base"], said["effects"], *facts.values())
    network.get_layer("chances").trainable = not are_chances_logged
    if not are_chances_logged:
        surprise = -ops.sum(facts["taken"][:, None] * ops.log_softmax(said["chances"], axis=-1), axis=-1)  # (batch, members)
        loss = loss + config.propensity * ops.sum(surprise * facts["counts"], axis=1)
    return keras.Model({**own, **{tensor.name: tensor for tensor in facts.values()}}, loss)
