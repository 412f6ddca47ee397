"""The whole road on ten users, by the real DAGs in a real Airflow: numbers by hand from the raw rows to the gRPC answer."""

import json

import httpx
import numpy as np
import pytest

from settings import get_settings
from tests.end_to_end import ten_users
from tests.end_to_end.road import Road

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end, pytest.mark.timeout(1200)]


def test_triggering_ingest_alone_leads_to_served_models(road: Road) -> None:
    assert road.outcome["runs"] == dict.fromkeys(("ingest", "features", "train", "deploy", "campaign", "score"), "success")
    status = httpx.get(f"http://{road.address('MODEL_SERVER_REST')}/v1/models/recommender").json()["model_version_status"]
    assert [(one["version"], one["state"]) for one in status] == [("1", "AVAILABLE")]


@pytest.mark.parametrize(("model", "table"), [("uplift", "campaign_exposures"), ("portrait", "next_purchase_labels")])
def test_a_model_that_the_shop_cannot_carry_is_skipped_by_name(road: Road, model: str, table: str) -> None:
    reason = json.loads((road.home / "candidates" / model / "skipped.json").read_text())["reason"]
    assert table in reason
    assert any(reason in shown for shown in road.outcome["skipped"].values())


def test_what_no_model_serves_is_answered_with_the_reason(road: Road) -> None:
    refused = road.portrait("offers", "ann")
    assert refused.returncode == 4
    assert "No model `uplift` is served: `campaign_exposures`" in refused.stderr
    shown = road.json("show", "ann")
    assert shown["inferred"] is None
    assert shown["note"].startswith("No model `portrait` is served: too few labels: 5 in next_purchase_labels")
    assert shown["known"]["spend_total"] == 9.0


def test_every_raw_row_is_accepted_quarantined_or_a_duplicate(road: Road) -> None:
    [(accepted,)] = road.warehouse("select count(*) from landing.events")
    quarantined = dict(road.warehouse("select rule, count(*) from quarantine.rows where landing_table = 'events' group by 1"))
    assert accepted == len(ten_users.clean_events())
    assert sorted(quarantined.values()) == [1] * len(ten_users.DIRTY)
    assert road.rows == accepted + sum(quarantined.values()) + 1


def test_served_features_equal_the_hand_count(in_house: Road) -> None:
    from feature_repo.online import OnlineFeatures

    ann, ben, cleo = OnlineFeatures().read("user_v1", ["ann", "ben", "cleo"])
    expected = {
        "events_7d": 2,
        "events_30d": 4,
        "events_90d": 6,
        "views_30d": 1,
        "carts_30d": 1,
        "purchases_7d": 1,
        "purchases_30d": 1,
        "purchases_90d": 2,
        "purchases_total": 2,
        "returns_90d": 1,
        "active_days_30d": 3,
        "spend_7d": 0.0,
        "spend_30d": 0.0,
        "spend_90d": 9.0,
        "spend_total": 9.0,
    }
    assert {name: ann[name] for name in expected} == expected
    assert list(ann["event_item_ids"]) == ["tea", "tea", "cup", "cup", "cup", "cup"]
    assert list(ann["event_types"]) == ["view", "purchase", "view", "cart", "purchase", "return"]
    assert ann["event_times_us"][0] == 1_709_632_800_000_000  # 2024-03-05 10:00:00 UTC
    # Ben has been silent for 18 days: nothing in the last 7, though no row of his was written since the window closed on him.
    assert (ben["purchases_7d"], ben["purchases_30d"], ben["spend_30d"]) == (0, 1, 19.0)
    assert (cleo["events_total"], cleo["event_item_ids"]) == (0, None)


def test_served_features_equal_offline_features_for_every_user(in_house: Road) -> None:
    from feature_repo.frames import rows_as_of
    from feature_repo.parity import check_parity
    from serving.shop_front import ShopFront

    users = list(rows_as_of("user_features", ShopFront().clock())["user_id"])
    assert len(users) == 10
    print(check_parity(users=users).as_text())


def predict(road: Road, history: list[tuple[str, str, int]], excluded: list[str], k: int) -> tuple[list[str], list[float]]:
    """By a client built on tensorflow-serving-api alone."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "recommender"
    inputs = {
        "event_item_ids": tf.constant([[item for item, _, _ in history]], tf.string, shape=(1, len(history))),
        "event_types": tf.constant([[kind for _, kind, _ in history]], tf.string, shape=(1, len(history))),
        "event_times_us": tf.constant([[at for _, _, at in history]], tf.int64, shape=(1, len(history))),
        "as_of_us": tf.constant([1_714_435_200_000_000], tf.int64),
        "exclude_item_ids": tf.constant([excluded], tf.string, shape=(1, len(excluded))),
        "k": tf.constant([k], tf.int32),
    }
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    with grpc.insecure_channel(road.address("MODEL_SERVER")) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=30)
    return [item.decode() for item in answer.outputs["item_ids"].string_val], list(answer.outputs["scores"].float_val)


def test_the_grpc_answer_holds_every_item_once_by_falling_score(road: Road) -> None:
    items, scores = predict(road, [("tea", "purchase", 1_709_632_800_000_000)], [], 8)
    assert sorted(items) == sorted(item[0] for item in ten_users.ITEMS)
    assert scores == sorted(scores, reverse=True)
    assert np.isfinite(scores).all()


def test_excluded_items_are_not_answered_and_places_beyond_the_catalogue_are_empty(road: Road) -> None:
    items, scores = predict(road, [("tea", "view", 1_709_632_800_000_000)], ["cup", "unheard of"], 9)
    assert "cup" not in items
    assert items[7:] == ["", ""]
    assert np.isneginf(scores[7:]).all()


def test_an_empty_history_is_answered_by_popularity_as_counted_by_hand(road: Road) -> None:
    items, _ = predict(road, [], [], 3)
    before_holdout = [row for row in ten_users.clean_events() if row[3] < "2024-04-24"]  # a tenth of the 60 days is held out
    counts = {item[0]: sum(row[1] == item[0] and row[0] != "" for row in before_holdout) for item in ten_users.ITEMS}
    assert [counts[item] for item in items] == sorted(counts.values(), reverse=True)[:3]


def test_recommendations_are_the_grpc_answer_less_what_was_bought_or_is_out_of_stock(road: Road) -> None:
    answer = road.json("recommend", "ann", "--k", "5")
    history = [
        ("tea", "view", 1_709_632_800_000_000),
        ("tea", "purchase", 1_709_633_100_000_000),
        ("cup", "view", 1_712_739_600_000_000),
        ("cup", "cart", 1_712_740_200_000_000),
        ("cup", "purchase", 1_714_075_200_000_000),
        ("cup", "return", 1_714_118_400_000_000),
    ]
    titles = {item[0]: item[1] for item in ten_users.ITEMS}
    items, _ = predict(road, history, ["tea", "cup", "rug"], 5)
    assert [item["item_id"] for item in answer["items"]] == items
    assert [item["title"] for item in answer["items"]] == [titles[item] for item in items]
    assert answer["source"] == "model"


def test_an_unknown_user_gets_the_items_most_bought_by_hand_count(road: Road) -> None:
    answer = road.json("recommend", "nobody", "--k", "3")
    assert [item["item_id"] for item in answer["items"]] == [item for item in ten_users.popularity() if item != "rug"][:3]
    assert answer["note"] == "no history of this user is known: popular items instead"
    unknown = road.portrait("show", "nobody")
    assert unknown.returncode == 3
    assert "Received 'nobody'" in unknown.stderr


def test_an_unknown_model_is_not_found(road: Road) -> None:
    answer = httpx.get(f"http://{road.address('MODEL_SERVER_REST')}/v1/models/nonsense")
    assert answer.status_code == 404


def test_the_feature_server_answers_on_its_port(road: Road) -> None:
    body = {"feature_service": "recommender_v1", "entities": {"user_id": ["ben"]}}
    answer = httpx.post(f"http://{road.address('FEAST')}/get-online-features", json=body, timeout=30).json()
    values = dict(zip(answer["metadata"]["feature_names"], (result["values"][0] for result in answer["results"]), strict=True))
    assert values["event_item_ids"] == ["pot", "pot"]


def test_the_page_shows_a_customer_to_who_has_a_key(road: Road) -> None:
    with httpx.Client(base_url=f"http://{road.address('API')}", headers={"accept": "text/html"}, timeout=30) as browser:
        assert browser.get("/", params={"user": "ann"}).status_code == 303  # to the login
        browser.post("/login", data={"key": road.key})
        page = browser.get("/", params={"user": "ann"})
        assert page.status_code == 200
        assert "White cup" in page.text
        assert browser.get("/", params={"user": "nobody"}).status_code == 404


def test_an_answer_of_the_api_is_a_logged_decision_of_the_stable_version(road: Road) -> None:
    with httpx.Client(base_url=f"http://{road.address('API')}", headers={"authorization": f"Bearer {road.key}"}, timeout=30) as caller:
        answer = caller.get("/v1/users/ann/recommendations", params={"k": 2}).json()
        assert (answer["source"], answer["label"]) == ("model", "stable")
        rows = caller.get(f"/v1/decisions/{answer['decision_id']}").json()["rows"]
    assert [row["subject"] for row in rows[:2]] == [item["item_id"] for item in answer["items"]]
    assert {(row["user_id"], row["arm"], row["model_version"]) for row in rows} == {("ann", "stable", str(answer["model_version"]))}


def test_a_planted_future_purchase_changes_no_training_row(in_house: Road) -> None:
    """The same shop, one purchase later: what a model would have been taught before it stays the same to the last value."""
    import pandas as pd

    from feature_repo.export import export_marts
    from feature_repo.frames import training_frame
    from quality.load import load_window
    from quality.transform import build
    from sources.registry import deliver

    labels = pd.DataFrame(
        {"user_id": ["ann", "ben", "cleo", "regular0"] * 2, "event_timestamp": pd.to_datetime(["2024-04-11"] * 4 + ["2024-04-30"] * 4)}
    )
    before = training_frame("portrait_v1", labels)
    settings = get_settings()
    shop = in_house.home.parent / "later"
    ten_users.write(shop, extra=[ten_users.LATER_PURCHASE])
    delivery = deliver("landing", shop, settings.landing_dir, seed=7, options={})
    load_window(settings.landing_dir, delivery.start, delivery.end)
    build(delivery.start, delivery.end)
    export_marts(delivery.start, delivery.end)
    assert in_house.warehouse(
        "select purchases_total from marts.user_features where user_id = 'ann' order by features_at desc limit 1"
    ) == [(3,)]
    pd.testing.assert_frame_equal(training_frame("portrait_v1", labels), before)


def test_a_failing_gate_stops_the_road_and_leaves_the_online_store_as_it_was(in_house: Road) -> None:
    from feature_repo.online import OnlineFeatures

    users = ["ann", "ben", "cleo", *(f"regular{number}" for number in range(7))]
    before = [{name: str(value) for name, value in row.items()} for row in OnlineFeatures().read("user_v1", users)]
    shop = in_house.home.parent / "dirty"
    ten_users.write(shop, extra=[("ann", "tea", "teleport", f"2024-04-02 11:00:{second:02}", "", "") for second in range(40)])
    stopped = in_house.portrait("ingest", "--source", "landing", "--data", str(shop))
    said = " ".join((stopped.stdout + stopped.stderr).split())
    assert stopped.returncode == 1
    assert "landing.events: quarantined_at_most_5% (43 rows)" in said
    assert "features /" not in said
    after = [{name: str(value) for name, value in row.items()} for row in OnlineFeatures().read("user_v1", users)]
    assert after == before


def test_a_released_row_comes_in_by_the_command_that_the_release_names(road: Road) -> None:
    rules = {row["rule"]: row["id"] for row in road.json("quarantine", "list")["rows"] if row["ds"] == "2024-04-01"}
    road.json("quarantine", "release", rules["unit_price_negative"], "--set", "unit_price=4.5")
    said = road.portrait("quarantine", "release", rules["event_type_unknown"], "--set", "event_type=view").stdout
    command = said.split("`portrait ")[1].split("`")[0]
    assert command == "load 2024-04-01 2024-04-02"
    outcome = road.json(*command.split())
    assert (outcome["runs"]["ingest"], outcome["runs"]["features"]) == ("success", "success")
    assert road.warehouse("select unit_price from landing.events where occurred_at = '2024-04-01 10:00'") == [(4.5,)]
