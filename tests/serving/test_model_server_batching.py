"""Requests merged across clients: the same answers as apart, a bounded queue, nobody hurt by a neighbour."""

import threading
import time
from contextlib import nullcontext

import grpc
import numpy as np
import pytest

pytestmark = pytest.mark.slow  # imports TensorFlow

pytest.importorskip("tensorflow")
from tensorflow_serving.apis import model_pb2  # noqa: E402

from serving.model_server import merging  # noqa: E402
from serving.model_server.batching import Batcher  # noqa: E402
from serving.model_server.catalogue import Catalogue  # noqa: E402
from serving.model_server.core import Core  # noqa: E402
from serving.model_server.errors import ServingError, invalid  # noqa: E402
from serving.model_server.metrics import Metrics  # noqa: E402
from serving.model_server.parameters import Batching, read_batching  # noqa: E402
from serving.model_server.signature import Signature  # noqa: E402
from tests.training.conftest import HOUR_US, ITEMS, START_US, catalogue, encoder, shop  # noqa: E402, F401

FOREVER = float("inf")


def signature(inputs, outputs):
    """`{name: (dtype number, dims)}` as a Signature."""
    from tensorflow.core.protobuf import meta_graph_pb2

    proto = meta_graph_pb2.SignatureDef()
    for side, tensors in ((proto.inputs, inputs), (proto.outputs, outputs)):
        for name, (dtype, dims) in tensors.items():
            side[name].dtype = dtype
            for size in dims:
                side[name].tensor_shape.dim.add().size = size
    return Signature(proto)


ROW_SUMS = signature({"x": (1, (-1, -1))}, {"y": (1, (-1,))})


class RowSums:
    """A model `y = sum of x's row` that refuses NaN, remembers the batches that it ran, and runs only while the gate is open."""

    def __init__(self):
        self.gate, self.batches = threading.Event(), []
        self.gate.set()
        self.entered = threading.Event()

    def signature(self, _name):
        return ROW_SUMS

    def call(self, _name, inputs, wanted):
        self.entered.set()
        self.gate.wait()
        self.batches.append(len(inputs["x"]))
        if np.isnan(inputs["x"]).any():
            raise invalid("x must not be NaN")
        return {name: inputs["x"].sum(axis=1) for name in wanted}


def batcher(**changed):
    parameters = {"max_batch_size": 8, "max_enqueued_batches": 1, "num_batch_threads": 1, "allowed_batch_sizes": ()}
    return Batcher(Batching(**{**parameters, "pad_variable_length_inputs": False, **changed}), Metrics())


class Asking:
    """Requests in threads of their own: `ask` returns once the request runs or waits, `answers` waits for all, errors as they were."""

    def __init__(self, under_test, model):
        self.batcher, self.model, self.found, self.threads = under_test, model, {}, []

    def ask(self, rows, deadline=FOREVER):
        place, before = len(self.threads), self.waiting()

        def run():
            try:
                self.found[place] = self.batcher.run(self.model, "m", "s", {"x": np.array(rows, np.float32)}, (), deadline)["y"].tolist()
            except ServingError as error:
                self.found[place] = error

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()
        until = time.monotonic() + 10
        while self.waiting() == before and place not in self.found and not (place == 0 and self.model.entered.is_set()):
            assert time.monotonic() < until
            time.sleep(0.001)

    def waiting(self):
        return sum(value for _, _, value in self.batcher._gauges())

    def answers(self):
        self.model.gate.set()
        for thread in self.threads:
            thread.join(10)
        return [self.found[place] for place in range(len(self.threads))]


@pytest.fixture
def asking():
    def start(**changed):
        model = RowSums()
        model.gate.clear()
        return Asking(batcher(**changed), model)

    return start


def test_what_waits_while_a_batch_runs_is_the_next_batch(asking):
    some = asking()
    for rows in ([[1, 2]], [[3, 4]], [[5, 6], [7, 8]], [[9, 10]]):
        some.ask(rows)
    assert some.answers() == [[3], [7], [11, 15], [19]]
    assert some.model.batches == [1, 4]


def test_a_lone_request_runs_in_its_own_thread_at_once():
    ran_in = []
    model = RowSums()
    model.call = lambda _name, inputs, wanted: ran_in.append(threading.current_thread()) or {"y": inputs["x"].sum(axis=1)}
    batcher().run(model, "m", "s", {"x": np.ones((1, 2), np.float32)}, (), FOREVER)
    assert ran_in == [threading.current_thread()]


def test_an_input_without_a_batch_is_run_by_itself():
    model = RowSums()
    model.signature = lambda _name: signature({"x": (1, ())}, {"y": (1, ())})
    model.call = lambda _name, inputs, wanted: {"y": 2 * inputs["x"]}
    assert batcher().run(model, "m", "s", {"x": np.array(3, np.float32)}, (), FOREVER)["y"] == 6


def test_other_shapes_and_too_many_rows_wait_for_a_batch_of_their_own(asking):
    some = asking(max_batch_size=3, max_enqueued_batches=9)
    for rows in ([[0, 0]], [[1, 2]], [[1, 2, 3]], [[3, 4], [5, 6]], [[7, 8]], [[1, 1]] * 5):
        some.ask(rows)
    assert some.answers() == [[0], [3], [6], [7, 11], [15], [2] * 5]
    assert sorted(some.model.batches) == [1, 1, 1, 3, 5]


def test_a_full_queue_refuses_at_once_and_the_accepted_ones_are_answered(asking):
    some = asking(max_batch_size=2)
    for _ in range(5):
        some.ask([[1, 1]])
    assert isinstance(some.found[3], ServingError)  # while the first still runs
    *accepted, fourth, fifth = some.answers()
    assert accepted == [[2], [2], [2]]
    for refused in (fourth, fifth):
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "queue to which this task was submitted is full; 2 rows of model m wait, of at most 2" in refused.message


def test_a_full_queue_refuses_before_the_tensors_of_a_request_are_read(asking):
    some = asking(max_batch_size=2)
    for _ in range(2):
        some.ask([[1, 1]])
    some.batcher.check_room(some.model, "m")
    some.ask([[1, 1]])

    def unread(_servable):
        raise AssertionError("a refusal must cost less than an answer")

    served = Catalogue(lambda *_: some.model)
    served.borrow = lambda _spec: nullcontext((1, some.model))
    core = Core(served, Metrics(), some.batcher)
    with pytest.raises(ServingError, match="2 rows of model m wait, of at most 2"):
        core.predict(model_pb2.ModelSpec(name="m"), unread, (), FOREVER, "GRPC")
    assert some.answers() == [[2]] * 3


def test_a_request_larger_than_the_queue_may_wait_where_it_is_empty(asking):
    some = asking(max_batch_size=2)
    some.ask([[1, 1]])
    some.ask([[2, 2]] * 5)
    some.ask([[3, 3]])
    first, large, refused = some.answers()
    assert (first, large, refused.code) == ([2], [4] * 5, grpc.StatusCode.RESOURCE_EXHAUSTED)


def test_an_expired_request_leaves_the_queue_and_is_not_run(asking):
    some = asking()
    some.ask([[1, 1]])
    some.ask([[2, 2]], deadline=time.monotonic() + 0.05)
    some.ask([[3, 3]])
    some.threads[1].join(10)
    assert some.found[1].code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert some.answers()[::2] == [[2], [6]]
    assert some.model.batches == [1, 1]


def test_nobody_is_refused_for_what_a_neighbour_asked(asking):
    some = asking()
    for rows in ([[0, 0]], [[1, 2]], [[np.nan, 1]], [[3, 4]]):
        some.ask(rows)
    first, second, bad, last = some.answers()
    assert (first, second, last) == ([0], [3], [7])
    assert (bad.code, bad.message) == (grpc.StatusCode.INVALID_ARGUMENT, "x must not be NaN")


def test_batches_are_filled_up_to_an_allowed_size_and_the_filling_is_cut_off(asking):
    some = asking(allowed_batch_sizes=(4, 8))
    for rows in ([[0, 0]], [[1, 2]], [[3, 4]], [[5, 6]]):
        some.ask(rows)
    assert some.answers() == [[0], [3], [7], [11]]
    assert some.model.batches == [4, 4]


def test_a_hundred_clients_each_get_their_own_answer():
    under_test, model = batcher(max_enqueued_batches=100, num_batch_threads=2), RowSums()
    wrong = []

    def client(number):
        for turn in range(30):
            rows = np.full((1 + turn % 3, 2), 1000 * number + turn, np.float32)
            if under_test.run(model, "m", "s", {"x": rows}, (), FOREVER)["y"].tolist() != rows.sum(axis=1).tolist():
                wrong.append((number, turn))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (wrong, under_test._running, len(under_test._queue), dict(under_test._waiting_rows)) == ([], 0, 0, {})


class TestWhatMayBeMerged:
    def part(self, inputs, outputs, arrays, model="m", pad=True):
        return merging.part(model, "serving_default", signature(inputs, outputs), arrays, pad)

    def test_inputs_without_a_batch_and_outputs_of_free_length_run_apart(self):
        one = np.ones((1, 2), np.float32)
        assert self.part({"x": (1, (-1, 2))}, {"y": (1, (-1, 3))}, {"x": one}).rows == 1
        assert self.part({"x": (1, (2,))}, {"y": (1, (-1,))}, {"x": one[0]}) is None
        assert self.part({"x": (1, (-1, 2))}, {"y": (1, (-1, -1))}, {"x": one}) is None
        assert self.part({"x": (1, (-1, 2))}, {"y": (1, ())}, {"x": one}) is None
        assert self.part({"x": (1, (-1, 2))}, {"y": (1, (-1,))}, {"x": one[:0]}) is None
        two = {"x": (1, (-1, 2)), "z": (1, (-1,))}
        assert self.part(two, {"y": (1, (-1,))}, {"x": one, "z": np.ones(2, np.float32)}) is None

    def recommender(self, steps, excluded, k, rows=1, types=None):
        text, number = (7, (-1, -1)), (9, (-1, -1))
        inputs = {"event_item_ids": text, "event_types": text, "event_times_us": number, "as_of_us": (9, (-1,))}
        inputs |= {"exclude_item_ids": text, "k": (3, (-1,))}
        arrays = {name: np.full((rows, steps), b"a", object) for name in ("event_item_ids", "event_types")}
        arrays["event_types"] = arrays["event_types"][:, :types]
        arrays |= {"event_times_us": np.ones((rows, steps), np.int64), "as_of_us": np.full(rows, 9, np.int64)}
        arrays |= {"exclude_item_ids": np.full((rows, excluded), b"b", object), "k": np.full(rows, k, np.int32)}
        outputs = {"item_ids": (7, (-1, -1)), "scores": (1, (-1, -1))}
        return self.part(inputs, outputs, arrays, "recommender")

    def test_histories_are_padded_and_lists_cut_to_what_each_asked_for(self):
        parts = [self.recommender(2, 1, 3), self.recommender(4, 3, 1, rows=2)]
        assert parts[0].key == parts[1].key
        merged = merging.merge(parts)
        assert merged["event_item_ids"].tolist() == [[b"a", b"a", b"", b""], [b"a"] * 4, [b"a"] * 4]
        assert merged["event_times_us"].tolist() == [[1, 1, 0, 0], [1] * 4, [1] * 4]
        assert merged["exclude_item_ids"].tolist() == [[b"b", b"", b""], [b"b"] * 3, [b"b"] * 3]
        outputs = {"item_ids": np.arange(9).reshape(3, 3), "scores": np.zeros((3, 3))}
        first, second = merging.split(outputs, parts, 3)
        assert (first["item_ids"].tolist(), second["item_ids"].tolist()) == ([[0, 1, 2]], [[3], [6]])

    def test_what_contradicts_itself_runs_apart(self):
        assert self.recommender(2, 1, 0) is None
        assert self.recommender(3, 1, 5, types=2) is None

    def test_an_output_without_a_row_for_each_is_no_batch(self):
        part = self.recommender(2, 1, 3)
        with pytest.raises(ValueError, match=r"output y of a batch of 2 rows has shape \[1, 3\]"):
            merging.split({"y": np.zeros((1, 3))}, [part, part], 2)


def test_the_parameters_are_tensorflow_servings_own_file(tmp_path):
    file = tmp_path / "batching.config"
    text = "max_batch_size { value: 16 }\nbatch_timeout_micros { value: 5 }\nmax_enqueued_batches { value: 2 }\n"
    file.write_text(
        text + "num_batch_threads { value: 3 }\nallowed_batch_sizes: 4\nallowed_batch_sizes: 16\npad_variable_length_inputs: true"
    )
    assert read_batching(file) == Batching(16, 2, 3, (4, 16), True)
    assert read_batching(None).max_batch_size == 1000
    for content, words in (
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1; was 0"),
        ("allowed_batch_sizes: 4", "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 1000"),
        ("allowed_batch_sizes: 4 allowed_batch_sizes: 2", "must be positive and in increasing order"),
        ("nonsense: 1", "Invalid protobuf file"),
    ):
        file.write_text(content)
        with pytest.raises(ServingError, match=words):
            read_batching(file)


@pytest.mark.parametrize("signature_name", ["serving_default", "explain"])
def test_a_trained_model_answers_merged_as_apart(recommender, signature_name):
    """Users of different histories, exclusions and `k`, each by itself and all in one batch: text is equal, numbers to a few units in the
    last place of float32 (logits are about 12 here, where one unit is 1e-6; effects are differences of logits)."""
    asked = [request(number, signature_name) for number in range(12)]
    apart = [recommender.run(signature_name, inputs) for inputs in asked]
    parts = [merging.part("recommender", signature_name, recommender.signature(signature_name), inputs, True) for inputs in asked]
    assert len({part.key for part in parts}) == 1
    together = recommender.run(signature_name, merging.merge(parts))
    for own, answer in zip(apart, merging.split(together, parts, 12), strict=True):
        for name, expected in own.items():
            if expected.dtype.kind == "O":
                assert answer[name].tolist() == expected.tolist(), name
            else:
                np.testing.assert_allclose(answer[name], expected, rtol=1e-6, atol=5e-6, err_msg=name)


def request(number, signature_name):
    """A user of `number % 7 + 1` events."""
    length = number % 7 + 1
    items = [f"i{(number + 2 * step) % ITEMS:02d}".encode() for step in range(length)]
    inputs = {
        "event_item_ids": np.array([items], object),
        "event_types": np.full((1, length), b"view", object),
        "event_times_us": START_US + HOUR_US * np.arange(length, dtype=np.int64)[None],
        "as_of_us": np.array([START_US + 30 * HOUR_US]),
    }
    if signature_name == "explain":
        return inputs | {"item_ids": np.array([[b"i01", b"i02", b"none"]], object)}
    excluded = np.array([[f"i{step:02d}".encode() for step in range(number % 4)] or [b""]], object)
    return inputs | {"exclude_item_ids": excluded, "k": np.array([1 + number % 5], np.int32)}


@pytest.fixture(scope="module")
def recommender(encoder, tmp_path_factory):  # noqa: F811
    from serving.model_server.servable import Servable
    from training.export import export_model
    from training.recommender import Recommender
    from training.signatures import RECOMMENDER

    path, served = tmp_path_factory.mktemp("recommender"), Recommender(encoder)
    export_model(served, served.serve, RECOMMENDER, path, explain=served.explain, golden=request(3, "serving_default"), provenance={})
    return Servable(path)
