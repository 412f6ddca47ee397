"""Which past events drove an answer: exact leave-one-out of the events that a gradient finds most likely to matter.

One backward pass ranks a user's events by gradient times input; each of the best `SCREENED` is then taken out of the history and the answer
asked anew, so that every effect is what really happens without that event (Li et al. 2016, erasure). Leaving out all of 50 events would
cost 50 answers; integrated gradients some tens, and state no effect that can be checked.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from training.raw_history import HistoryReader, ReadHistory, gap_buckets, waits

SCREENED = 10  # events left out one by one
DRIVERS = 5  # events named

#: Unit vectors `(rows, dim)`, which row of the batch each is `(rows,)`, and the place in the raw arrays of the event that each does without
#: `(rows,)`, -1 for none; gives `(rows, answers)`.
Answer = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def drivers(
    reader: HistoryReader, history: ReadHistory, answer: Answer, recalled: tf.Tensor | float = 0.0
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Answers `(batch, answers)`, and of each the events that raise it most: places in the raw arrays `(batch, answers, DRIVERS)`, -1
    where there is none, and by how much the answer falls without each, same shape, by falling effect.

    `recalled` `(batch, length)` is what each event adds to the answers past the encoder, where no gradient sees it.
    """
    batch, length = tf.shape(history.counts)[0], reader.length
    everyone = tf.range(batch)
    whole = answer(history.vectors, everyone, tf.fill([batch], -1))
    screened = min(SCREENED, length)
    steps = tf.math.top_k(_screen(reader, history, answer, recalled), screened).indices  # (batch, screened)
    is_event = tf.gather(history.inputs["segments"], steps, batch_dims=1) > 0

    rows = tf.repeat(everyone, screened)  # (batch * screened,)
    shorter = without(history, rows, tf.reshape(steps, [-1]))
    counts = tf.maximum(tf.gather(history.counts, rows) - 1, 0)
    vectors = reader.vectors_of(shorter, tf.gather(reader.item_table, shorter["items"]), counts)
    raw_places = tf.gather(history.raw_places, steps, batch_dims=1)
    left = tf.reshape(answer(vectors, rows, tf.reshape(raw_places, [-1])), [batch, screened, tf.shape(whole)[1]])
    effects = tf.where(is_event[..., None], whole[:, None] - left, -tf.float32.max)  # (batch, screened, answers)

    best = tf.math.top_k(tf.transpose(effects, [0, 2, 1]), min(DRIVERS, screened))  # (batch, answers, drivers)
    places = tf.gather(raw_places, best.indices, batch_dims=1)
    is_driver = best.values > 0
    return whole, tf.where(is_driver, places, -1), tf.where(is_driver, best.values, 0.0)


def _screen(reader: HistoryReader, history: ReadHistory, answer: Answer, recalled: tf.Tensor | float) -> tf.Tensor:
    """How much each event may matter to the answers together, `(batch, length)`: |gradient times input| of its item vector, with what is
    recalled; -1 for none."""
    vectors = tf.gather(reader.item_table, history.places)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        last = reader.vectors_of(history.inputs, vectors, history.counts)
        everyone = tf.range(tf.shape(last)[0])
        total = tf.reduce_sum(answer(last, everyone, tf.fill(tf.shape(everyone), -1)))
    gradient = tape.gradient(total, vectors)
    return tf.where(history.inputs["segments"] > 0, tf.abs(tf.reduce_sum(gradient * vectors, axis=-1) + recalled), -1.0)


def without(history: ReadHistory, rows: tf.Tensor, steps: tf.Tensor) -> dict[str, tf.Tensor]:
    """The encoder's inputs of the histories `rows` `(n,)` without their step `steps` `(n,)`: later events move up, the gap is closed.

    Of a history longer than the encoder reads, no older event moves in at the other end.
    """
    length = history.inputs["items"].shape[1]
    at = tf.range(length)[None]
    source = at + tf.cast(at >= steps[:, None], tf.int32)  # (n, length); the last reads one beyond

    def moved(values: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.pad(tf.gather(values, rows), [[0, 0], [0, 1]]), source, batch_dims=1)

    inputs = {name: moved(history.inputs[name]) for name in ("items", "types", "segments")}
    is_joint = (at == steps[:, None]) & (inputs["segments"] > 0)
    gaps = tf.where(is_joint, gap_buckets(moved(history.times)), moved(history.inputs["gaps"]))
    counts = tf.reduce_sum(inputs["segments"], axis=1)
    return {
        **inputs,
        "gaps": gaps * inputs["segments"],
        "waits": waits(moved(history.times), counts, tf.gather(history.as_of_us, rows)),
        "positions": tf.tile(at, [tf.shape(rows)[0], 1]),
    }


def named(values: tf.Tensor, places: tf.Tensor, blank: tf.Tensor) -> tf.Tensor:
    """`values` `(batch, steps)` at `places` `(batch, answers, drivers)`, `blank` where a place is -1."""
    found = tf.gather(values, tf.maximum(places, 0), batch_dims=1)
    return tf.where(places >= 0, found, blank)
