"""The review queue: what waits, in which order, the verdict that is logged once, and what the warehouse makes of it."""

import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from serving.decisions import Decision, DecisionLog
from serving.errors import AlreadyReviewed, UnknownReview
from serving.fraud import asked_orders
from serving.reviews import ReviewQueue, by_priority, review_queue
from settings import get_settings
from tests.serving.fakes import AS_OF
from tests.serving.fraud_house import OrderFront
from tests.serving.test_fraud import ORDER
from tests.serving.web_client import caller, form_token, put, visitor

WAITING = Decision("ann", "order", "o9", "fraud", "3", AS_OF, 1, 0.3, 1.0, "review", json.dumps(["shared_device", "new_account"]))


def folder() -> Path:
    return get_settings().landing_dir / "decisions"


def logged(*decisions: Decision, at: timedelta = timedelta(0)) -> list[str]:
    """Ids of decisions that are on disk."""
    log = DecisionLog(folder(), is_wall_clock=False)
    ids = [f"{log.log([one], AS_OF + at)}.1" for one in decisions]
    log.close()
    return ids


def queue() -> ReviewQueue:
    return ReviewQueue(folder(), get_settings().home / "api" / "reviews.lock", is_wall_clock=False)


def test_only_what_was_left_to_a_person_waits(house: Path) -> None:
    credit = replace(WAITING, kind="credit", subject="a1", model="risk", reason=None)
    others = (replace(WAITING, subject="o1", arm="approve"), replace(WAITING, kind="recommendation", subject="i1"))
    ids = logged(WAITING, *others, credit)
    assert [(one.decision_id, one.kind, one.subject, one.verdict) for one in reversed(queue().all())] == [
        (ids[0], "order", "o9", None),
        (ids[3], "credit", "a1", None),
    ]
    found = next(one for one in queue().all() if one.kind == "order")
    assert (found.reason_codes, found.probability, found.user_id, found.features_at) == (
        ("shared_device", "new_account"),
        0.3,
        "ann",
        AS_OF,
    )


def test_a_verdict_is_a_row_of_the_log_and_nothing_that_was_there_changes(house: Path) -> None:
    (id,) = logged(WAITING)
    before = {path: path.read_bytes() for path in folder().rglob("*.parquet")}
    at = AS_OF + timedelta(hours=3)
    decided = queue().decide(id, "refuse", "three accounts, one device", "lee", at)
    assert (decided.decision_id, decided.verdict.verdict, decided.verdict.by, decided.verdict.decided_at) == (id, "refuse", "lee", at)
    assert {path: path.read_bytes() for path in before} == before
    (new,) = set(folder().rglob("*.parquet")) - set(before)
    (row,) = pq.read_table(new, partitioning=None).to_pylist()
    assert (row["kind"], row["subject"], row["user_id"], row["arm"], row["model"], row["model_version"]) == (
        *("order", "o9", "ann", "refuse", "person", "lee"),
    )
    assert json.loads(row["reason"]) == {"of": id, "note": "three accounts, one device"}
    assert queue().all() == [decided]


def test_what_is_decided_is_decided_once(house: Path) -> None:
    (id,) = logged(WAITING)
    first = queue()
    decided = first.decide(id, "approve", "", "lee", AS_OF)
    assert first.decide(id, "approve", "again", "kim", AS_OF) == decided
    with pytest.raises(AlreadyReviewed, match=r"lee decided approve before\. Received refuse"):
        queue().decide(id, "refuse", "", "kim", AS_OF)
    with pytest.raises(UnknownReview, match=r"Received '20240301-00-ab\.1'"):
        first.decide("20240301-00-ab.1", "refuse", "", "kim", AS_OF)


def test_of_two_people_at_the_same_moment_one_decides(house: Path) -> None:
    ids = logged(*(replace(WAITING, subject=f"o{number}") for number in range(6)))
    said: list[str] = []

    def decide(verdict: str) -> None:
        own = queue()
        for id in ids:
            try:
                own.decide(id, verdict, "", verdict, AS_OF)
                said.append(id)
            except AlreadyReviewed:
                pass

    threads = [threading.Thread(target=decide, args=(verdict,)) for verdict in ("approve", "refuse")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == sorted(ids)
    assert all(one.verdict is not None for one in queue().all())


def test_asked_again_after_a_verdict_it_waits_again_and_asked_twice_it_waits_once(house: Path) -> None:
    first, second = logged(WAITING, WAITING)
    own = queue()
    (one,) = own.all()
    assert one.decision_id == second != first
    own.decide(second, "approve", "", "lee", AS_OF)
    (third,) = logged(WAITING)
    assert sorted((one.decision_id, one.verdict is None) for one in own.all()) == sorted([(second, False), (third, True)])


def test_the_largest_saving_stands_first_and_what_nobody_can_price_last(house: Path) -> None:
    logged(*(replace(WAITING, subject=name, score=score) for name, score in (("small", 0.5), ("large", 0.2), ("unknown", 0.9))))
    logged(replace(WAITING, kind="credit", subject="a1", score=0.95))
    for name, amount in (("small", 10.0), ("large", 900.0)):
        asked_orders(get_settings()).add(replace(ORDER, order_id=name, amount=amount), AS_OF)
    found = by_priority(queue().all(), get_settings())
    assert [review.subject for review, _ in found] == ["large", "small", "a1", "unknown"]
    # 900 at 20 %: approving costs .2 x 920, refusing .8 x 285; a look costs 4 + .1 x 184 + .05 x 228
    assert found[0][1] == pytest.approx(184 - (4 + 18.4 + 11.4))
    assert [saved for _, saved in found[2:]] == [None, None]


def test_only_the_newest_days_are_read(house: Path) -> None:
    logged(replace(WAITING, subject="old"))
    logged(replace(WAITING, subject="new"), at=timedelta(days=30))
    assert [one.subject for one in queue().all()] == ["new"]


@pytest.fixture
def shop(house: Path, monkeypatch: pytest.MonkeyPatch) -> OrderFront:
    return put(monkeypatch, OrderFront({}))


def test_the_api_lists_what_waits_and_takes_a_verdict(shop: OrderFront) -> None:
    (id,) = logged(WAITING)
    asked_orders(get_settings()).add(ORDER, AS_OF)
    client = caller("risk")
    listed = client.get("/v1/reviews").json()
    assert (listed["waiting"], listed["reviews_a_day"], listed["decided_today"]) == (1, 10, 0)
    assert (listed["reviews"][0]["decision_id"], listed["reviews"][0]["reason_codes"][0]) == (id, "shared_device")
    assert listed["reviews"][0]["saved_by_review"] == pytest.approx(31.5 - (4 + 3.6 + 0.05 * 31.5))
    assert client.get("/v1/reviews?kind=credit").json()["reviews"] == []
    answer = client.post(f"/v1/reviews/{id}", json={"verdict": "refuse", "note": "known ring"})
    assert (answer.status_code, answer.json()["verdict"]["verdict"], answer.json()["verdict"]["by"]) == (200, "refuse", "test")
    assert (client.get("/v1/reviews").json()["waiting"], client.get("/v1/reviews").json()["decided_today"]) == (0, 1)
    again = client.post(f"/v1/reviews/{id}", json={"verdict": "approve"})
    assert (again.status_code, again.json()["type"]) == (409, "/docs#already-reviewed")
    nobody = client.post("/v1/reviews/20240301-00-ab.1", json={"verdict": "approve"})
    assert (nobody.status_code, nobody.json()["type"]) == (404, "/docs#unknown-decision")
    assert client.post(f"/v1/reviews/{id}", json={"verdict": "maybe"}).status_code == 422
    assert caller("read:decisions").get("/v1/reviews").status_code == 403


def test_the_page_shows_reasons_in_words_and_takes_a_verdict_with_a_note(shop: OrderFront) -> None:
    logged(WAITING, replace(WAITING, kind="credit", subject="a1", model="risk", reason='["x_other_debt:high", "x_new"]'))
    person = visitor("risk")
    page = person.get("/reviews").text
    assert "Order o9" in page and "Several accounts order by this device" in page and "Application a1" in page and "0 of 10" in page
    assert "debt elsewhere: above a typical good payer&#39;s</li><li>new</li>" in page
    assert "logged decision" not in page  # this key may not look at the log
    id = next(one.decision_id for one in review_queue().all() if one.kind == "order")
    form = {"form_token": form_token(page), "decision_id": id, "verdict": "refuse", "note": " <b>ring</b> ", "kind": "order"}
    answer = person.post("/reviews", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/reviews?done=refuse&kind=order")
    after = person.get("/reviews?done=refuse&kind=order").text
    assert "Refused. The verdict is logged." in after and "&lt;b&gt;ring&lt;/b&gt;" in after and "1 of 10" in after
    assert "Nothing waits" in after
    assert "该设备" not in after and "多个账户使用同一设备下单" not in after
    assert person.post("/reviews", data=form | {"form_token": "x"}).status_code == 403
    assert person.post("/reviews", data=form | {"verdict": "burn"}).status_code == 400
    chinese = visitor("risk", language="zh").get("/reviews").text
    assert "人工审核" in chinese and "申请 a1" in chinese
    assert visitor("read:portrait").get("/reviews").status_code == 403
