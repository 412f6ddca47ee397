"""Recommendations from a real feature store and a real recommender (random weights) behind the real model server."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from benchmarks.recommendation_house import house, model_server
from settings import get_settings

pytestmark = pytest.mark.slow

ITEMS = 400


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    from serving.shop_front import ShopFront

    before = {name: os.environ.get(name) for name in ("PORTRAIT_HOME", "PORTRAIT_MODEL_SERVER_PORT")}
    folder = tmp_path_factory.mktemp("house")
    with house(folder, ITEMS) as process:
        shop = ShopFront()
        patient = replace(shop.rules(), deadline_ms=10_000.0)  # a busy machine is no fault of the list
        shop.rules = lambda: patient  # type: ignore[method-assign]
        yield shop, process, folder
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    get_settings.cache_clear()


def test_a_list_with_reasons_is_the_models_own_order_and_every_reason_is_an_event_of_the_user(served: tuple) -> None:
    from serving.recommend import recommend
    from training.signatures import RECOMMENDER

    shop = served[0]
    answer = recommend("u17", 5, shop=shop, reasons=True, overrides={"diversity": 0.0}, debug=True)
    assert (answer.source, answer.model_version, answer.note) == ("model", 1, None)
    proposed = [item for item, _ in (answer.stages or ())[0].items]
    places = [proposed.index(place.card.item_id) for place in answer.items]
    assert places == sorted(places)
    assert all(place.card.in_stock and place.card.title == f"Lamp number {place.card.item_id[1:]}" for place in answer.items)
    row = shop.user_row(RECOMMENDER.feature_service, "u17")
    events = set(zip(row["event_item_ids"], row["event_types"], row["event_times_us"].tolist(), strict=True))
    named = [reason for place in answer.items for reason in place.because]
    assert named
    assert {(r.item_id, r.event_type, round(r.occurred_at.replace(tzinfo=UTC).timestamp() * 1e6)) for r in named} <= events
    assert all(reason.effect > 0 for reason in named)


def test_the_newest_live_event_changes_the_list(served: tuple) -> None:
    from serving.recommend import SessionEvent, recommend_session

    quiet = recommend_session([SessionEvent("i1")], 10, shop=served[0])
    asked = recommend_session([SessionEvent("i1"), SessionEvent("i200")], 10, shop=served[0])
    assert quiet.source == asked.source == "model"
    assert [place.card.item_id for place in quiet.items] != [place.card.item_id for place in asked.items]


def test_a_killed_model_server_gives_popular_lists_and_a_new_one_the_models_again(served: tuple) -> None:
    from serving.recommend import recommend

    shop, process, folder = served
    process.kill()
    process.wait(30)
    began = time.monotonic()
    away = [recommend("u3", 10, shop=shop) for _ in range(50)]
    assert time.monotonic() - began < 3
    assert {(answer.source, len(answer.items)) for answer in away} == {("popularity", 10)}
    with model_server(Path(folder) / "models"):
        until = time.monotonic() + 30
        while (back := recommend("u3", 10, shop=shop)).source != "model":
            assert time.monotonic() < until, back.note
            time.sleep(0.1)
