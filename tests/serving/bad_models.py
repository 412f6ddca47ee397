"""Tiny SavedModels that each go wrong in one way, and still load and answer their golden request: what only a trial can find."""

import json
from pathlib import Path

from training.signatures import GOLDEN_FILE

KINDS = ("good", "better", "nan", "constant", "slow", "erroring")
#: The golden request's `x`; the bad models go wrong on others alone, or are wrong in a way that a golden answer repeats.
GOLDEN_X = [[1.0, 2.0]]


def export(folder: Path, kind: str, scale: float = 1.0) -> Path:
    """`y = scale * sum of x's row`, and text, as `tiny_models.export_tiny`; or one of KINDS."""
    import tensorflow as tf

    class Bad(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = tf.Variable(scale)

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x"), tf.TensorSpec([None], tf.string, "name")])
        def serve(self, x: tf.Tensor, name: tf.Tensor) -> dict[str, tf.Tensor]:
            total = tf.reduce_sum(x, axis=1)
            y = self.scale * total
            if kind == "nan":
                y = y / tf.cast(total < 10, tf.float32) * tf.cast(total < 10, tf.float32)  # 0 / 0 for large sums
            if kind == "constant":
                y = 3.0 * self.scale + 0.0 * total
            if kind == "slow":
                square = tf.fill([700, 700], tf.reduce_mean(x) / 1e6)
                for _ in range(12):
                    square = tf.matmul(square, square)
                y = y + 0.0 * tf.reduce_sum(square)
            if kind == "erroring":
                y = y * tf.gather(tf.ones([10]), tf.cast(total, tf.int32))  # out of range for large sums
            return {"y": y, "greeting": tf.strings.join(["hello ", name])}

    model = Bad()
    tf.saved_model.save(model, str(folder), signatures=model.serve)
    (folder / GOLDEN_FILE).parent.mkdir()
    golden = {"inputs": {"x": GOLDEN_X, "name": ["ann"]}, "outputs": {"y": [3.0 * scale], "greeting": ["hello ann"]}}
    (folder / GOLDEN_FILE).write_text(json.dumps(golden))
    return folder
