"""Histories and the rows cut from them, checked against lists written by hand."""

import numpy as np
import pyarrow as pa
import pytest

from tests.training.conftest import HOUR_US, START_US, make_histories
from training.catalogue import catalogue_from_items, content_of
from training.hashing import buckets_of
from training.histories import histories_from_events
from training.layers import BUCKETS, RESERVED
from training.windows import Steps, gap_buckets, newest_steps, packed_windows, steps_of


def events_table(rows: list[tuple[str | None, str, int]]) -> pa.Table:
    users, items, times = zip(*rows, strict=True)
    return pa.table(
        {"user_id": users, "item_id": items, "event_type": ["view"] * len(rows), "occurred_at": pa.array(times, pa.timestamp("us"))},
        schema=pa.schema(
            [("user_id", pa.string()), ("item_id", pa.string()), ("event_type", pa.string()), ("occurred_at", pa.timestamp("us"))]
        ),
    )


def test_events_become_histories_without_guests_and_with_equal_times_in_file_order():
    histories = histories_from_events(
        events_table([("b", "x", 5), ("a", "late", 9), (None, "guest", 1), ("a", "first", 7), ("a", "second", 7)])
    )
    assert histories.user_ids.tolist() == ["a", "b"]
    assert [list(items) for items in histories.item_ids] == [["first", "second", "late"], ["x"]]
    assert histories.times_us[0].tolist() == [7, 7, 9]


def test_before_is_strict_and_keeps_users_who_have_no_event_left():
    histories = make_histories({"a": [1, 2, 3], "b": [4]}).before(np.array([START_US + HOUR_US, START_US]))
    assert [list(items) for items in histories.item_ids] == [["i01"], []]
    assert histories.lengths.tolist() == [1, 0]


def test_slicing_keeps_the_order_asked():
    histories = make_histories({"a": [1], "b": [2], "c": [3]})
    assert histories[[2, 0]].user_ids.tolist() == ["c", "a"]
    assert histories[np.array([False, True, False])].item_ids[0].tolist() == ["i02"]


def test_gap_buckets_are_powers_of_two_of_seconds():
    # first, same second, 1 s, 2 s, 5 s, 200 days (the last bucket)
    seconds = np.cumsum([0, 0, 1, 2, 5, 200 * 86_400])
    assert gap_buckets(seconds * 1_000_000).tolist() == [0, 1, 2, 3, 4, 25]


UP = RESERVED - 2  # items are numbered from 2 here, 1 is one outside the catalogue


def integers(*items: int) -> Steps:
    places = np.array(items, np.int32)
    places[places > 1] += UP
    return Steps(places, np.full(len(items), 2, np.int32), np.zeros(len(items), np.int32), np.arange(1, len(items) + 1, dtype=np.int32))


def test_every_event_but_the_first_is_a_target_once_and_windows_are_cut_from_the_newest_back():
    rows = packed_windows([integers(2, 3, 4, 5, 6, 7), integers(8, 9)], length=3, repeat_weight=0.0, rows_multiple=1, seed=0)
    found = {
        (int(item) - UP, int(target) - UP, int(position))
        for item, target, weight, position in zip(
            *(rows[name].ravel() for name in ("items", "targets", "weights", "positions")), strict=True
        )
        if weight
    }
    # six events give the windows (2 3) and (4 5 6); two give (8); positions start anew in each
    assert found == {(2, 3, 0), (3, 4, 1), (4, 5, 0), (5, 6, 1), (6, 7, 2), (8, 9, 0)}
    assert rows["weights"].sum() == 6
    assert len(rows["items"]) == 2  # three windows, packed into two rows


def test_users_in_one_row_have_segments_of_their_own_and_empty_rows_fill_the_batch():
    rows = packed_windows([integers(2, 3), integers(4, 5)], length=4, repeat_weight=0.0, rows_multiple=4, seed=0)
    assert rows["segments"][0].tolist() == [1, 2, 0, 0]
    assert rows["items"].shape == (4, 4)
    assert rows["weights"][1:].sum() == 0


def test_repeated_and_unknown_targets_weigh_what_the_config_says():
    rows = packed_windows([integers(2, 3, 2, 1, 4)], length=8, repeat_weight=0.25, rows_multiple=1, seed=0)
    assert rows["targets"][0, :4].tolist() == [3 + UP, 2 + UP, 1, 4 + UP]
    assert rows["weights"][0, :4].tolist() == [1.0, 0.25, 0.0, 1.0]


def test_a_step_knows_when_the_next_event_comes_and_the_newest_waits_for_the_question():
    histories = make_histories({"a": [1, 2, 3], "none": []})
    catalogue = catalogue_from_items(None, None, histories.all_item_ids)
    hour = gap_buckets(np.array([0, HOUR_US]))[1]
    unasked, _ = steps_of(histories, catalogue)
    assert unasked.waits.tolist() == [hour, hour, 0]
    asked, empty = steps_of(histories, catalogue, START_US + 2 * HOUR_US + 3_000_000)
    assert asked.waits.tolist() == [hour, hour, 3]  # three seconds: from two to four
    assert len(empty.waits) == 0
    assert asked.waits[:-1].tolist() == asked.gaps[1:].tolist()


def test_a_share_of_the_waits_is_unknown_while_training():
    user = integers(*range(2, 42))
    rows = packed_windows([user] * 50, length=39, repeat_weight=1.0, rows_multiple=1, seed=0, wait_dropout=0.3)
    assert (rows["waits"] == 0).mean() == pytest.approx(0.3, abs=0.03)
    assert packed_windows([user], length=39, repeat_weight=1.0, rows_multiple=1, seed=0)["waits"].all()


def test_newest_steps_keep_the_newest_events_left_aligned():
    catalogue = catalogue_from_items(None, None, ["i01", "i02", "i03"])
    rows = newest_steps(steps_of(make_histories({"long": [1, 2, 3], "none": [], "odd": [9]}), catalogue), 2)
    unknown = 1 + buckets_of(["i09"], BUCKETS)[0]
    assert rows["items"].tolist() == [[RESERVED + 1, RESERVED + 2], [0, 0], [unknown, 0]]  # i02 and i03; nothing; an unknown item
    assert rows["segments"].tolist() == [[1, 1], [0, 0], [1, 0]]


def test_a_catalogue_joins_items_attributes_and_items_seen_in_events():
    items = pa.table(
        {
            "item_id": ["b", "a", "b"],
            "title": ["old", "Red mug", "new"],
            "category": ["x", "home > mugs", "x > y"],
            "price": [1.0, 9.0, 2.0],
        }
    )
    attributes = pa.table({"item_id": ["c"], "attribute": ["colour"], "value": ["dark red"]})
    catalogue = catalogue_from_items(items, attributes, ["z", "a"])
    assert catalogue.item_ids.tolist() == ["a", "b", "c", "z"]
    assert catalogue.title.tolist() == ["Red mug", "new", "", ""]
    assert catalogue.attributes[2] == "colour=dark_red"
    assert catalogue.top_category.tolist() == ["home", "x", "", ""]
    assert catalogue.index_of(np.array(["z", "unheard of"])).tolist() == [3, -1]
    content = content_of(catalogue, make_histories({}))
    assert content.category_ids.tolist() == [[1, 1, 0], [2, 2, 0], [0, 0, 0], [0, 0, 0]]
    assert not content.dense[3].any()  # no words, no company, no price
    assert content.dense[:2, -1].tolist() == [1.0, 1.0]  # price known
