"""Raw event inputs into portrait vectors, inside the exported graph: the same steps as `training.windows`, in TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from training.encoder import TrainedEncoder
from training.hashing import KEY
from training.last_state import last_state
from training.layers import BUCKETS, RESERVED
from training.windows import EVENT_TYPE_IDS, GAP_SECONDS

DAY_US = 86_400_000_000


@dataclass(frozen=True)
class ReadHistory:
    """What a batch of raw histories holds; the newest `length` real events are left-aligned, oldest first, zeros behind them.

    `inputs` of the encoder `(batch, length)`; `vectors` `(batch, dim)` of length 1, zeros without events; `times` `(batch, length)` in
    microseconds; `raw_places` `(batch, length)` where each stood in the raw arrays; `all_places` `(batch, steps)` the item places of all
    that was given, not only of the newest, 0 for no event; `counts` `(batch,)`; `days_since_last` `(batch,)` float32, NaN without events.
    """

    inputs: dict[str, tf.Tensor]
    as_of_us: tf.Tensor
    vectors: tf.Tensor
    times: tf.Tensor
    raw_places: tf.Tensor
    all_places: tf.Tensor
    counts: tf.Tensor
    days_since_last: tf.Tensor

    @property
    def places(self) -> tf.Tensor:
        """Item places of the newest events, `(batch, length)`."""
        return self.inputs["items"]

    def places_without(self, rows: tf.Tensor, left_out: tf.Tensor) -> tf.Tensor:
        """`all_places` of the histories `rows` `(n,)`, each without what stands at `left_out` `(n,)` in the raw arrays, -1 for all."""
        places = tf.gather(self.all_places, rows)
        return tf.where(tf.range(tf.shape(places)[1]) == left_out[:, None], 0, places)


def lookup(keys: np.ndarray, values: np.ndarray, default: int) -> tf.lookup.StaticHashTable:
    """A table from strings to int32."""
    initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(list(keys), tf.string), tf.constant(values, tf.int32))
    return tf.lookup.StaticHashTable(initializer, default)


def unit(vectors: tf.Tensor) -> tf.Tensor:
    return vectors / tf.sqrt(tf.reduce_sum(vectors**2, axis=-1, keepdims=True) + 1e-12)


class HistoryReader(tf.Module):
    """The encoder with string lookups in front. Steps with an empty item id or not before `as_of_us` are ignored, wherever they stand."""

    def __init__(self, encoder: TrainedEncoder) -> None:
        super().__init__()
        places = np.arange(len(encoder.catalogue)) + RESERVED
        self._item_places = lookup(np.append(encoder.catalogue.item_ids, ""), np.append(places, 0), -1)
        self.type_ids = lookup(np.array(list(EVENT_TYPE_IDS)), np.array(list(EVENT_TYPE_IDS.values())), EVENT_TYPE_IDS["?"])
        self.config, self.body = encoder.config, encoder.network.get_layer("body")
        self.length = encoder.config.sequence_length
        every_place = np.arange(encoder.item_encoder.places, dtype=np.int32)
        # In place of the item encoder, whose table of content is larger and whose sums would be made anew for every event asked about.
        self.item_table = tf.Variable(keras.ops.convert_to_numpy(encoder.item_encoder(every_place)), trainable=False)  # (places, dim)

    def places_of(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Item places as in `training.layers`, same shape int32: '' is 0, an item outside the catalogue has the place of its bucket."""
        found = self._item_places.lookup(item_ids)
        signed = [key - (1 << 64) if key >> 63 else key for key in KEY]
        buckets = tf.strings.to_hash_bucket_strong(item_ids, BUCKETS, signed)
        return tf.where(found < 0, 1 + tf.cast(buckets, tf.int32), found)

    def read(self, event_item_ids: tf.Tensor, event_types: tf.Tensor, event_times_us: tf.Tensor, as_of_us: tf.Tensor) -> ReadHistory:
        is_real = (event_item_ids != "") & (event_times_us < as_of_us[:, None])
        order = tf.argsort(tf.where(is_real, 0, 1), axis=1, stable=True)  # real steps first, their order kept
        counts = tf.reduce_sum(tf.cast(is_real, tf.int32), axis=1)  # (batch,)
        reach = tf.range(self.length)[None]
        newest = tf.maximum(counts - self.length, 0)[:, None] + reach  # (batch, length)
        kept = tf.minimum(counts, self.length)
        is_kept = reach < kept[:, None]

        def take(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(tf.pad(values, [[0, 0], [0, self.length]]), newest, batch_dims=1) * tf.cast(is_kept, values.dtype)

        times = tf.gather(event_times_us, order, batch_dims=1)
        inputs = {
            "items": take(tf.gather(self.places_of(event_item_ids), order, batch_dims=1)),
            "types": take(tf.gather(self.type_ids.lookup(event_types), order, batch_dims=1)),
            "gaps": take(gap_buckets(times)),
            "waits": waits(take(times), kept, as_of_us),
            "segments": tf.cast(is_kept, tf.int32),
            "positions": tf.tile(reach, [tf.shape(counts)[0], 1]),
        }
        newest_time = tf.reduce_max(tf.where(is_real, event_times_us, 0), axis=1)
        days = tf.cast((as_of_us - newest_time) / DAY_US, tf.float32)
        return ReadHistory(
            inputs,
            as_of_us,
            self.vectors_of(inputs, tf.gather(self.item_table, inputs["items"]), kept),
            take(times),
            take(tf.cast(order, tf.int32)),
            self.places_before(event_item_ids, event_times_us, as_of_us),
            kept,
            tf.where(counts > 0, days, np.nan),
        )

    def vectors_of(self, inputs: dict[str, tf.Tensor], item_vectors: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """The vectors of histories of `counts` `(batch,)` events, `(batch, dim)` of length 1, zeros without events.

        `item_vectors` `(batch, length, dim)`, rows of `item_table`, are what is read of the items.
        """
        last = unit(last_state(self.body, self.config, inputs, item_vectors, tf.maximum(counts - 1, 0)))
        return tf.where(counts[:, None] > 0, last, 0.0)

    def states_of(self, history: ReadHistory) -> tf.Tensor:
        """The states after each event, `(batch, length, dim)` of length 1."""
        others = {name: tensor for name, tensor in history.inputs.items() if name != "items"}
        return unit(self.body({"vectors": tf.gather(self.item_table, history.places), **others}, training=False))

    def places_before(self, event_item_ids: tf.Tensor, event_times_us: tf.Tensor, as_of_us: tf.Tensor) -> tf.Tensor:
        """Item places of all events before the question, not only of the newest, `(batch, steps)`; 0 elsewhere."""
        return tf.where(event_times_us < as_of_us[:, None], self.places_of(event_item_ids), 0)


def waits(times_us: tf.Tensor, counts: tf.Tensor, as_of_us: tf.Tensor) -> tf.Tensor:
    """Bucket of the time from each of the first `counts` steps to the next, the last one's to the question, `(batch, length)` int32."""
    length = tf.shape(times_us)[1]
    at = tf.range(length)[None]
    following = tf.pad(times_us[:, 1:], [[0, 0], [0, 1]])
    ends = tf.where(at == counts[:, None] - 1, as_of_us[:, None], following)
    buckets = tf.searchsorted(tf.constant(GAP_SECONDS), tf.reshape((ends - times_us) // 1_000_000, [-1]), side="right") + 1
    return tf.where(at < counts[:, None], tf.reshape(buckets, tf.shape(times_us)), 0)


def gap_buckets(times_us: tf.Tensor) -> tf.Tensor:
    """Bucket of the time since the step before, `(batch, steps)` int32: see `windows.gap_buckets`."""
    seconds = (times_us[:, 1:] - times_us[:, :-1]) // 1_000_000
    buckets = tf.searchsorted(tf.constant(GAP_SECONDS), tf.reshape(seconds, [-1]), side="right") + 1
    return tf.pad(tf.reshape(buckets, tf.shape(seconds)), [[0, 0], [1, 0]])[:, : tf.shape(times_us)[1]]
