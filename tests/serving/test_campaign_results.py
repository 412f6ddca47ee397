"""A campaign's ledger over a house of hand-written days: what was known when, who may see it, and what the page and the command say."""

import json
from collections import defaultdict
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import campaign_approval
from serving.campaign_evaluate import Evaluation
from serving.campaign_files import ASSIGNMENTS, PLAN, assignments_file, folder, plan_file, read_table, write_table
from serving.campaign_plan import plan
from serving.campaign_results import results, terms_of
from serving.errors import BadRequest, NoResults
from serving.roi import ALL, Terms
from serving.roi_outcomes import before_as_known, outcomes_as_known
from serving.web.interval_chart import interval_chart
from settings import get_settings
from tests.serving import campaign_house
from tests.serving.fakes import FakeFront
from tests.serving.web_client import caller, day, publish, put, shop, visitor

START, USERS = day("02-24"), 330
Event = tuple[str, datetime, datetime, int, float]  # user, day, when it became known, purchases, spend


@cache
def events(seed: int = 4) -> list[Event]:
    """Visits of every second day around the start; the coupon's users buy more. A tenth of the records comes three days late."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(USERS):
        for step in range(-6, 6):
            if rng.random() < 0.5:
                at = START + timedelta(days=step)
                bought = int(rng.random() < (0.7 if step >= 0 and n % 3 else 0.3))
                known = at + timedelta(days=1 if rng.random() < 0.9 else 4)
                found.append((f"u{n:03d}", at, known, bought, 20.0 * bought))
    return found


def daily_rows(records: list[Event]) -> list[dict[str, Any]]:
    """The versions of the mart `user_daily` that dbt would build: after every active day, and again whenever one becomes known."""
    own: dict[str, list[Event]] = defaultdict(list)
    for record in records:
        own[record[0]].append(record)
    rows = []
    for user, mine in own.items():
        for features_at in sorted({at + timedelta(days=1) for _, at, _, _, _ in mine}):
            for created_at in sorted({max(features_at, known) for _, at, known, _, _ in mine if at < features_at}):
                seen = sorted(record for record in mine if record[1] < features_at and record[2] <= created_at)
                if not any(record[1] + timedelta(days=1) == features_at for record in seen):
                    continue
                row: dict[str, Any] = {"user_id": user, "features_at": features_at, "created_at": created_at}
                row |= {"day_numbers": [(at - datetime.fromisoformat("1970-01-01")).days for _, at, _, _, _ in seen]}
                row |= {"daily_sessions": [1] * len(seen), "daily_purchases": [record[3] for record in seen]}
                rows.append(row | {"daily_spend": [record[4] for record in seen]})
    return rows


def naive(records: list[Event], users: pd.Series, first: datetime, last: datetime, known_at: datetime) -> list[tuple[float, float, float]]:
    """Visits, purchases and spend in `[first, last)` of what was known."""
    told = []
    for user in users:
        mine = [record for record in records if record[0] == user and first <= record[1] < last and record[2] <= known_at]
        told.append((float(len(mine)), float(sum(record[3] for record in mine)), sum(record[4] for record in mine)))
    return told


def assignments() -> pd.DataFrame:
    users = [f"u{n:03d}" for n in range(USERS)]
    is_treated = np.array([n % 3 > 0 for n in range(USERS)])
    return pd.DataFrame(
        {
            "user_id": users,
            "segment": ["quiet" if n % 2 else "lively" for n in range(USERS)],
            "intended_offer": "coupon",
            "arm": np.where(is_treated, "coupon", "control"),
            "propensity": np.where(is_treated, 2 / 3, 1 / 3),
            "assigned_at": pd.Timestamp(START + timedelta(hours=9)),
            "planned_cost": np.where(is_treated, 1.0, 0.0),
        }
    )


def windows(rows: pd.DataFrame, days: int = 4) -> pd.DataFrame:
    first = rows["assigned_at"].dt.normalize()
    return pd.DataFrame({"first_at": first, "until_at": first + timedelta(days=days)})


def approve(name: str = "spring") -> None:
    rows = assignments()
    write_table(assignments_file(get_settings(), name), rows, ASSIGNMENTS)
    is_held = rows["arm"] == "control"
    plan = rows.assign(holdout=is_held, offer=rows["intended_offer"].mask(is_held), cost=1.0, expected_profit=2.0)
    plan = plan.assign(visit_uplift=0.1, conversion_uplift=0.1, spend_uplift=6.0)
    write_table(plan_file(get_settings(), name), plan, PLAN)
    request = {"name": name, "margin": 0.5, "starts_on": "2024-02-24", "ends_on": "2024-02-27"}
    offers = [{"name": "coupon", "contact_cost": 1.0, "redemption_cost": 0.0}]
    (folder(get_settings(), name) / "plan.json").write_text(json.dumps({"request": request, "offers": offers}))
    sent = {"state": "sent", "sent_at": (START + timedelta(hours=10)).isoformat()}
    (folder(get_settings(), name) / "status.json").write_text(json.dumps({"name": name, "state": "sent", "history": [sent]}))


@pytest.fixture
def front(house: Path, monkeypatch: pytest.MonkeyPatch) -> FakeFront:
    publish("user_daily", daily_rows(events()))
    publish("campaign_outcomes", [])
    made = put(monkeypatch, shop())
    approve()
    return made


def test_outcomes_are_those_of_the_window_as_they_were_known(front: FakeFront) -> None:
    rows, records = assignments(), events()
    for known_at in (day("02-26"), day("02-29"), day("03-05")):
        found = outcomes_as_known(rows, windows(rows), known_at)
        last = min(START + timedelta(days=4), known_at)
        assert list(found.itertuples(index=False, name=None)) == naive(records, rows["user_id"], START, last, known_at)
    before = before_as_known(rows)
    assert list(before.itertuples(index=False, name=None)) == naive(records, rows["user_id"], day("01-27"), START, START)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000))
def test_a_ledger_does_not_depend_on_the_order_in_which_rows_arrive(front: FakeFront, seed: int) -> None:
    """However they are spread over files, and in whatever order users are asked for."""
    random, rows, known_at = np.random.default_rng(seed), assignments(), day("02-27")
    published = daily_rows(events())
    order = random.permutation(len(published))
    cut = int(random.integers(1, len(order)))
    publish("user_daily", [published[n] for n in order[:cut]])
    publish("user_daily", [published[n] for n in order[cut:]], day("03-01"))
    asked = rows.iloc[random.permutation(len(rows))]
    found = outcomes_as_known(asked, windows(asked), known_at)
    assert list(found.itertuples(index=False, name=None)) == naive(events(), asked["user_id"], START, known_at, known_at)


def test_the_results_are_those_of_every_day_and_the_effect_is_found(front: FakeFront) -> None:
    found = results("spring")
    assert [snapshot.as_of for snapshot in found.days] == [START + timedelta(days=n) for n in range(1, 7)]
    assert [snapshot.is_over for snapshot in found.days] == [False] * 3 + [True] * 3
    (line,) = found.snapshot.lines
    assert (line.offer, line.planned, line.sent, line.holdout, line.cost) == ("coupon", 220, 220, 110, 220.0)
    assert (line.expected_profit, line.action, line.redeemed) == (440.0, "stop_benefit", 0)
    told = naive(events(), assignments()["user_id"], START, START + timedelta(days=4), day("03-01"))
    spend, is_treated = np.array([row[2] for row in told]), np.array([n % 3 > 0 for n in range(USERS)])
    bare = spend[is_treated].mean() - spend[~is_treated].mean()
    assert line.gains["spend"].per_user.mean == pytest.approx(bare, abs=line.gains["spend"].standard_error)
    assert line.profit is not None and line.profit.low < 0.5 * 220 * bare - 220 < line.profit.high


def test_a_snapshot_of_a_day_stays_as_it_was_and_later_ones_are_corrected(front: FakeFront) -> None:
    then = results("spring", day("02-27")).snapshot
    late = [("u001", day("02-25"), day("02-29"), 1, 9000.0)]
    publish("user_daily", daily_rows(events() + late))
    again = results("spring")
    assert again.days[2] == then
    spend = [snapshot.lines[0].gains["spend"].per_user.mean for snapshot in again.days[3:]]
    assert spend[1] - spend[0] == pytest.approx(9000 / 220, rel=0.5)
    ledger = folder(get_settings(), "spring") / "ledger"
    assert sorted(path.name for path in ledger.iterdir()) == [f"{snapshot.as_of:%Y-%m-%d}.json" for snapshot in again.days]
    assert results("spring", day("02-29")).days == again.days[:5]


def test_what_the_shop_reported_is_what_was_sent_and_paid(front: FakeFront) -> None:
    rows = [
        {"campaign_id": "spring", "user_id": f"u{n:03d}", "assigned_at": day("02-25"), "treatment": "coupon", "cost": 2.5}
        for n in (1, 2, 4)
    ]
    publish("campaign_outcomes", [*rows, rows[0] | {"campaign_id": "winter", "user_id": "u005"}])
    found = results("spring")
    assert [(one.lines[0].sent, one.lines[0].cost, one.is_reported) for one in found.days[:3]] == [
        (0, 0.0, True),
        (3, 7.5, True),
        (3, 7.5, True),
    ]


def test_costs_and_days_are_those_of_the_plan_and_offers_given_together_cost_what_they_cost(front: FakeFront) -> None:
    file, rows = folder(get_settings(), "spring"), assignments()
    known = {"starts_on": date(2024, 2, 24), "ends_on": date(2024, 2, 27)}
    assert terms_of(file, rows) == Terms(0.5, 14, {"coupon": 1.0}, {"coupon": 0.0}, {"coupon": 440.0}, **known)
    offers = [
        {"name": "coupon", "contact_cost": 0.1, "redemption_cost": 2.0},
        {"name": "mail", "contact_cost": 0.25, "redemption_cost": 0.5},
    ]
    (file / "plan.json").write_text(json.dumps({"request": {"margin": 0.2}, "offers": offers}))
    rows.loc[:99, "intended_offer"] = "coupon+mail"
    told = terms_of(file, rows)
    assert (told.margin, told.days) == (0.2, 14)
    assert (told.contact, told.redemption) == ({"coupon": 0.1, "coupon+mail": 0.35}, {"coupon": 2.0, "coupon+mail": 2.5})
    for ends_on, problem in (
        ("2024-05-24", "over at most 90 days. Received 91 up to"),
        ("2024-02-22", "`ends_on` 2024-02-22, 2 days before it"),
    ):
        request = {"margin": 0.2, "starts_on": "2024-01-01", "ends_on": ends_on}
        (file / "plan.json").write_text(json.dumps({"request": request, "offers": offers}))
        with pytest.raises(BadRequest, match=problem):
            terms_of(file, rows)


def test_a_window_is_from_the_later_of_assignment_and_start_through_the_campaigns_last_day() -> None:
    assigned_at = pd.Series(pd.to_datetime(["2024-02-20 09:00", "2024-02-26 23:59"]))
    first, last = date(2024, 2, 24), date(2024, 2, 27)
    for days, told in (
        ({}, [("02-20", "03-05"), ("02-26", "03-11")]),
        ({"starts_on": first}, [("02-24", "03-09"), ("02-26", "03-11")]),
        ({"ends_on": last}, [("02-20", "02-28"), ("02-26", "02-28")]),
        ({"starts_on": first, "ends_on": last}, [("02-24", "02-28"), ("02-26", "02-28")]),
    ):
        found = Terms(0.5, 14, {}, {}, {}, **days).windows(assigned_at)  # type: ignore[arg-type]
        assert list(found.itertuples(index=False, name=None)) == [tuple(pd.Timestamp(day(one)) for one in window) for window in told]


def test_a_campaign_that_starts_after_its_approval_is_measured_on_its_own_days(front: FakeFront) -> None:
    """Approved on the 22nd, it runs from the 24th to the 27th: what users did on the 22nd and 23rd is not its work."""
    rows = assignments().assign(assigned_at=pd.Timestamp(day("02-22") + timedelta(hours=9)))
    write_table(assignments_file(get_settings(), "spring"), rows, ASSIGNMENTS)
    found = results("spring")
    assert [snapshot.as_of for snapshot in found.days] == [START + timedelta(days=n) for n in range(1, 7)]
    assert (found.outcome_days, [snapshot.is_over for snapshot in found.days]) == (4, [False] * 3 + [True] * 3)
    assert [snapshot.lines[0].elapsed for snapshot in found.days] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    told = naive(events(), rows["user_id"], START, START + timedelta(days=4), day("03-01"))
    visits, is_treated = np.array([row[0] for row in told]), (rows["arm"] == "coupon").to_numpy()
    gain = found.snapshot.lines[0].gains["visits"]
    bare = visits[is_treated].mean() - visits[~is_treated].mean()
    assert gain.per_user.mean == pytest.approx(bare, abs=gain.standard_error)
    before = before_as_known(rows)  # from before anybody could have heard of it
    assert list(before.itertuples(index=False, name=None)) == naive(events(), rows["user_id"], day("01-25"), day("02-22"), day("02-22"))
    with pytest.raises(BadRequest, match=r"Results begin when the first day is over, 2024-02-25. Received 2024-02-23"):
        results("spring", day("02-23"))


def test_without_the_shops_word_nothing_is_sent_paid_or_measured_before_somebody_says_that_it_was(front: FakeFront) -> None:
    status = folder(get_settings(), "spring") / "status.json"
    status.write_text(json.dumps({"name": "spring", "state": "approved", "history": [{"state": "approved"}]}))
    (line,) = results("spring", day("02-28")).snapshot.lines
    assert (line.planned, line.sent, line.cost, line.gains, line.profit, line.action) == (220, 0, 0.0, {}, None, "go_on")
    assert "0 of 220 sent against 110 held out; cost 0.00; not known to be sent" in results("spring", day("02-28")).as_text()
    campaign_approval.mark_sent("spring", get_settings(), who="ann", sent_at=day("02-28") + timedelta(hours=8))
    assert [(one.lines[0].sent, one.lines[0].cost, bool(one.lines[0].gains)) for one in results("spring").days[3:]] == [
        (0, 0.0, False),
        (220, 220.0, True),
        (220, 220.0, True),
    ]


def test_results_are_refused_for_a_campaign_that_nobody_approved_and_for_days_that_are_not_loaded(front: FakeFront) -> None:
    for name in ("winter", "../spring", ""):
        with pytest.raises(NoResults, match=r"Results are those of a campaign that was approved"):
            results(name)
    with pytest.raises(BadRequest, match=r"`as_of` must be no later than what is loaded, 2024-03-01. Received 2024-03-02"):
        results("spring", day("03-02"))
    with pytest.raises(BadRequest, match=r"Results begin when the first day is over, 2024-02-25. Received 2024-02-24"):
        results("spring", day("02-24"))


def test_the_api_tells_the_same_and_asks_for_a_key_of_marketing(front: FakeFront) -> None:
    told = caller("marketing").get("/v1/campaigns/spring/results", params={"as_of": "2024-02-28"}).json()
    found = results("spring", day("02-28"))
    assert [one["as_of"] for one in told["days"]] == [f"{snapshot.as_of.isoformat()}Z" for snapshot in found.days]
    (account,), (line,) = told["days"][-1]["offers"], found.snapshot.lines
    assert account["profit"]["low"] == pytest.approx(line.profit.low)  # type: ignore[union-attr]
    assert (account["cost"], account["action"], account["spend"]["total"]["mean"]) == (
        line.cost,
        line.action,
        pytest.approx(line.gains["spend"].total.mean),
    )
    assert caller("read:portrait").get("/v1/campaigns/spring/results").status_code == 403
    missing = caller().get("/v1/campaigns/winter/results")
    assert (missing.status_code, missing.json()["type"]) == (404, "/docs#no-results")


@pytest.mark.parametrize(("language", "words"), [("en", ("stop: it pays", "Every day")), ("zh", ("停止：已见成效", "每一天"))])
def test_the_page_shows_accounts_and_a_chart(front: FakeFront, language: str, words: tuple[str, ...]) -> None:
    text = visitor(language=language).get("/campaigns/spring/results").text
    assert all(word in text for word in (*words, "+440", 'class="band"', "220.00"))
    assert visitor().get("/campaigns/winter/results").status_code == 404


def test_the_results_in_words_are_one_line_an_offer(front: FakeFront) -> None:
    told = results("spring").as_text()
    assert told.startswith(
        "campaign spring, as known at 2024-03-01 (over):\n  coupon: 220 of 220 sent against 110 held out; cost 220.00; profit "
    )
    assert told.endswith("(planned 440.00); stop benefit")


def test_a_chart_spans_zero_and_every_interval() -> None:
    from serving.sequential import Interval

    told = [(day(f"02-0{n}"), Interval(mean, mean - 30, mean + 45)) for n, mean in ((1, -20.0), (2, 10.0), (3, 60.0))]
    chart = interval_chart(told)
    assert chart is not None and interval_chart(told[:1]) is None
    assert [label for _, label in chart.grid] == ["\u221250", "0", "50", "100", "150"]
    heights = {label: y for y, label in chart.grid}
    assert (chart.zero, heights["150"] < heights["\u221250"]) == (heights["0"], True)
    tops = [float(point.split()[1]) for point in chart.band.replace("M", "").replace("L", "|").split("|") if point.strip()]
    assert len(tops) == 6


def test_a_campaign_that_was_planned_and_approved_has_results_of_what_was_assigned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = campaign_house.house(tmp_path, monkeypatch)
    put(monkeypatch, made)
    publish("user_daily", [])
    offers = [{"name": "coupon", "channel": "coupon", "contact_cost": 0.5, "redemption_cost": 1.0}, {"name": "mail", "contact_cost": 0.25}]
    plan(campaign_house.asked(holdout=0.4, offers=offers), shop=made)
    monkeypatch.setattr(campaign_approval, "read_evaluation", lambda *_: Evaluation("spring", "blessed", "", None, (), 0, 0, 0))
    campaign_approval.approve("spring", get_settings(), who="ann", assigned_at=day("02-27"))
    campaign_approval.mark_sent("spring", get_settings(), who="ann", sent_at=day("02-27"))
    rows = read_table(assignments_file(get_settings(), "spring")).to_pandas()
    told = {line.offer: line for line in results("spring").snapshot.lines}
    for offer, cost in (("coupon", 0.5), ("mail", 0.25)):
        own = rows[rows["intended_offer"] == offer]
        if len(own):
            sent = int((own["arm"] == offer).sum())
            assert (told[offer].sent, told[offer].holdout, told[offer].contact_cost) == (sent, len(own) - sent, cost * sent)
            assert (told[offer].profit, told[offer].action) == (None, "go_on")
    assert sum(line.planned for name, line in told.items() if name != ALL) == (rows["arm"] != "control").sum() > 0
