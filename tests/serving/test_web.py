"""The web page over hand-written customers: who gets in, and what each page says, in both languages, and when something is missing."""

import json
import re
from pathlib import Path
from string import Formatter

import pytest
from fastapi.testclient import TestClient

from feature_repo.contract import mart
from serving import keys
from serving.api import create_app
from serving.release import ReleaseRefused, Shown
from serving.release_state import Release, write
from serving.web import texts
from serving.web.charts import interests_over_time, share_bar
from serving.web.customer import KNOWN
from settings import ROOT, get_settings
from tests.serving.fakes import FakeFront
from tests.serving.web_client import PAGE, day, form_token, furnish, put, shop, visitor
from training.signatures import SERVED_MODELS

TEMPLATES = ROOT / "serving" / "templates"


@pytest.fixture
def front(house: Path, monkeypatch: pytest.MonkeyPatch) -> FakeFront:
    furnish()
    return put(monkeypatch, shop())


@pytest.fixture
def page(front: FakeFront) -> TestClient:
    return visitor()


def test_both_languages_have_the_same_words_with_the_same_places() -> None:
    english, chinese = texts.words("en"), texts.words("zh")
    assert list(english) == list(chinese)
    assert all(english.values()) and all(chinese.values())
    places = [{language: {field for _, field, _, _ in Formatter().parse(told[key]) if field} for language, told in
               (("en", english), ("zh", chinese))} for key in english]  # fmt: skip
    assert [key for key, found in zip(english, places, strict=True) if found["en"] != found["zh"]] == []
    assert [key for key in english if english[key].count("`") != chinese[key].count("`")] == []


def test_every_word_that_a_page_asks_for_is_there_and_every_word_is_asked_for() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in TEMPLATES.glob("*.html"))
    exact = set(re.findall(r'\bt\(\s*"([a-z_0-9.]+)"\s*[,)]', source)) | set(re.findall(r'"([a-z_]+\.[a-z_.]+)" (?:if|else) ', source))
    exact |= set(re.findall(r' else "([a-z_]+\.[a-z_.]+)"', source))
    groups = set(re.findall(r't\("([a-z_.]+)\." ~', source)) | set(re.findall(r't\.named\("([a-z_]+)"', source))
    known = set(texts.words("en"))
    assert exact - known == set()
    assert {key for key in known - exact if key.rpartition(".")[0] not in groups} == set()


def test_every_feature_that_the_page_shows_is_in_the_contract_and_has_a_name_in_both_languages() -> None:
    shown = {name for names in KNOWN.values() for name in names}
    told = {column.name for column in mart("user_features").features if not column.kind.endswith("_list")}
    assert shown == told
    assert all(f"feature.{name}" in texts.words(language) for name in shown for language in texts.LANGUAGES)


@pytest.mark.parametrize("path", ["/", "/?user=ann", "/segments", "/releases", "/quality", "/docs", "/reports/portrait/x/"])
def test_a_person_who_is_not_logged_in_is_sent_to_the_login_and_back(front: FakeFront, path: str) -> None:
    keys.make_secrets(get_settings())
    bare = TestClient(create_app(), headers=PAGE)
    sent = bare.get(path, follow_redirects=False)
    assert sent.status_code == 303 and sent.headers["location"].startswith("/login?next=")
    form = bare.get(sent.headers["location"])
    back = re.search(r'name="next" value="([^"]*)"', form.text)
    assert back is not None and back[1] == path
    answer = bare.post("/login", data={"key": keys.house_key(get_settings()), "next": path}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert all(word in answer.headers["set-cookie"] for word in ("HttpOnly", "SameSite=lax", "Path=/"))
    assert keys.house_key(get_settings()) not in answer.headers["set-cookie"]


@pytest.mark.parametrize("elsewhere", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"])
def test_a_login_leads_to_no_other_site(front: FakeFront, elsewhere: str) -> None:
    keys.make_secrets(get_settings())
    bare = TestClient(create_app(), headers=PAGE)
    answer = bare.post("/login", data={"key": keys.house_key(get_settings()), "next": elsewhere}, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_a_wrong_key_is_told_so_and_opens_nothing(front: FakeFront) -> None:
    keys.make_secrets(get_settings())
    bare = TestClient(create_app(), headers=PAGE)
    answer = bare.post("/login", data={"key": "pk_x_y"})
    assert (answer.status_code, "unknown or was revoked" in answer.text, 'aria-invalid="true"' in answer.text) == (401, True, True)
    assert bare.get("/", follow_redirects=False).status_code == 303
    forged = TestClient(
        create_app(), headers=PAGE, cookies={"portrait_session": '["' + keys.house_key(get_settings()).split("_")[1] + '","x"].a.b'}
    )
    assert forged.get("/", follow_redirects=False).status_code == 303


def test_whoever_logged_in_with_a_key_is_out_when_it_is_revoked(front: FakeFront) -> None:
    person = visitor("read:portrait")
    assert person.get("/").status_code == 200
    [key] = [key for key in keys.KeyRing.of(get_settings()).all() if key.name == "test"]
    keys.KeyRing.of(get_settings()).revoke(key.id)
    assert person.get("/", follow_redirects=False).headers["location"] == "/login?next=%2F"


def test_a_form_without_its_token_or_from_another_site_does_nothing(page: TestClient) -> None:
    token = form_token(page.get("/").text)
    for data, headers in (({}, {}), ({"form_token": "x"}, {}), ({"form_token": token}, {"sec-fetch-site": "cross-site"})):
        answer = page.post("/logout", data=data, headers=headers)
        assert (answer.status_code, "sent from the page that showed it" in answer.text) == (403, True)
    other = form_token(visitor().get("/").text)
    assert page.post("/logout", data={"form_token": other}).status_code == 403
    assert page.get("/").status_code == 200
    assert page.post("/logout", data={"form_token": token}, follow_redirects=False).headers["location"] == "/login"
    assert page.get("/", follow_redirects=False).status_code == 303


def test_a_portrait_says_what_is_inferred_known_recommended_and_offered_and_since_when(page: TestClient) -> None:
    text = page.get("/", params={"user": "ann"}).text
    for shown in (
        "Portrait model, version 3, asked now about 2024-03-01 00:00",
        "female",
        "70.0\u202f%",
        "90.0\u202f%",
        "<strong>42.50",
        "The taste changed at once",
        "+50.0",
        "Recommender, version 3",
        "Title f",
        "because this customer viewed Title a",
        "Best: coupon",
        "+0.70",
        "spent, 90 days",
        "12.50",
        "put into the cart",
        "by 2 stored portraits from 2024-02-05 to 2024-02-20",
        'aria-label="Interests over time: toys 75',
    ):
        assert shown in text, shown


def test_the_past_shows_what_was_known_then_and_says_so(page: TestClient, front: FakeFront) -> None:
    text = page.get("/", params={"user": "ann", "as_of": "2024-02-21"}).text
    for shown in ("as it was known on 2024-02-21", "stored on 2024-02-20", "Recommendations are made for now only", "50.0\u202f%"):
        assert shown in text, shown
    assert "Title f" not in text and front.asked == []
    assert "One portrait is stored so far (2024-02-05)" in page.get("/", params={"user": "ann", "as_of": "2024-02-06"}).text
    early = page.get("/", params={"user": "ann", "as_of": "2024-02-02"}).text
    assert "no portrait of this customer had been stored yet" in early and "No portrait is stored yet" in early
    assert "as of 2024-03-01" in page.get("/", params={"user": "ann", "as_of": "soon"}).text


def test_what_a_visitor_or_a_shop_wrote_is_text(page: TestClient, front: FakeFront) -> None:
    script = "<script>alert(1)</script>"
    answer = page.get("/", params={"user": script})
    assert (answer.status_code, script in answer.text, "Nobody of that id is known" in answer.text) == (404, False, True)
    front.rows[script] = front.rows["ann"]
    front._table = None
    front.items = {name: card.__class__(name, script, script, None, 1.0, True) for name, card in front.items.items()}
    shown = page.get("/", params={"user": script})
    assert shown.status_code == 200 and "&lt;script&gt;" in shown.text and script not in shown.text


def test_without_a_model_the_page_shows_the_rest_and_the_reason(page: TestClient, front: FakeFront) -> None:
    front.away = "No model `portrait` is served: too few labels."
    text = page.get("/", params={"user": "ann"}).text
    assert text.count("is served: too few labels.") == 3
    for shown in ("No model speaks of this customer", "By popularity, not by the model", "No uplift model is served", "12.50"):
        assert shown in text, shown


def test_a_customer_who_did_nothing_has_empty_places_and_no_gaps(page: TestClient) -> None:
    text = page.get("/", params={"user": "bob"}).text
    assert "No event is known yet." in text and "no history of this user is known" in text


def test_a_key_that_may_not_see_offers_is_told_so(front: FakeFront) -> None:
    person = visitor("read:portrait")
    text = person.get("/", params={"user": "ann"}).text
    assert text.count("Your key may not see this.") == 2 and "coupon" not in text and "Title f" not in text
    refused = person.get("/releases")
    assert (refused.status_code, "read:operations" in refused.text, "<h1>" in refused.text) == (403, True, True)


def test_before_anything_is_published_the_first_page_says_what_to_run(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.errors import NotServed

    front = put(monkeypatch, shop())

    def clock() -> None:
        raise NotServed("No features are published yet. Run the `ingest` DAG, or `portrait demo`.")

    monkeypatch.setattr(front, "clock", clock)
    person = visitor()
    answer = person.get("/")
    assert (answer.status_code, "Nothing is published yet" in answer.text, "<code>portrait demo</code>" in answer.text) == (503, True, True)
    assert "No segments yet" in person.get("/segments").text
    assert "No gate has run yet" in person.get("/quality").text and "No load has counted" in person.get("/quality").text
    releases = person.get("/releases").text
    assert releases.count("None published yet.") == releases.count("No candidate was judged yet.") == len(SERVED_MODELS)


def test_the_language_is_what_was_asked_else_chosen_else_accepted_else_english(front: FakeFront) -> None:
    person = visitor(language="fr, zh-CN;q=0.8, en;q=0.5")
    assert '<html lang="zh">' in person.get("/").text and "查询客户" in person.get("/").text
    assert '<html lang="en">' in person.get("/?lang=en").text
    assert '<html lang="en">' in person.get("/").text  # remembered
    assert '<html lang="en">' in person.get("/?lang=xx").text
    assert '<html lang="en">' in visitor(language="").get("/").text
    assert "zh" in person.get("/?user=ann").text and '"/?user=ann&amp;lang=zh"' in person.get("/?user=ann").text


def test_segments_lead_to_profiles_and_those_to_customers(page: TestClient) -> None:
    listed = page.get("/segments").text
    assert "2 customers, by portraits of 2024-02-20, model version 2, 3" in listed
    assert 'href="/segments?name=browsers%2C%20quiet"' in listed
    one = page.get("/segments", params={"name": "buyers"}).text
    assert "1 customers, 50.0\u202f% of all" in one and "×2.00" in one and 'href="/?user=ann"' in one
    assert page.get("/segments", params={"name": "no such"}).status_code == 404


def judged(house: Path, model: str = "portrait", promoted: bool = True) -> None:
    run = house / "candidates" / model / "run-1"
    run.mkdir(parents=True)
    (run / "report.html").write_text("<h1>report</h1>")
    (run / "verdict.json").write_text(json.dumps({"promoted": promoted, "reason": "0.9 is above 0.8.", "figures": {"metric": "auc"}}))
    for number in (2, 3):
        (house / "models" / model / str(number) / "assets.extra").mkdir(parents=True)
    (house / "models" / model / ".ledger.json").write_text(json.dumps({"1": {"state": "failed", "reason": "no variables"}}))


def test_releases_show_versions_verdicts_and_reports(page: TestClient, house: Path) -> None:
    judged(house)
    text = page.get("/releases").text
    for shown in ("Version 3 answers", "not loaded", "AVAILABLE", "0.9 is above 0.8.", 'href="/reports/portrait/run-1/"', "no variables"):
        assert shown in text, shown
    assert page.get("/reports/portrait/run-1/").text == "<h1>report</h1>"
    for other in ("/reports/portrait/run-2/", "/reports/portrait/../", "/reports/portrait/%2e%2e/", "/reports/encoder/run-1/"):
        assert page.get(other).status_code == 404, other


def test_a_model_is_taken_back_by_who_may_through_the_form_alone(front: FakeFront, house: Path) -> None:
    judged(house)
    history = ({"at": "2024-03-01T10:00:00+00:00", "what": "first", "version": 2, "reason": "nothing was served"},)
    write(Release("portrait", stable=3, refused={"9": "drifts by PSI 0.4"}, history=history), get_settings())
    taken: list[object] = []

    def roll_back(model: str, shown: Shown) -> int:
        if taken:
            raise ReleaseRefused("Rolling back needs a version on trial or an earlier one. portrait has neither.")
        taken.append((model, shown))
        return 2

    app = create_app(roll_back=roll_back)
    admin, reader = visitor(app=app), visitor("read:operations", app=app)
    seen = reader.get("/releases").text
    assert "Take back" not in seen and "drifts by PSI 0.4" in seen and "nothing was served" in seen
    assert reader.post("/releases/rollback", data={"model": "portrait", "form_token": form_token(seen)}).status_code == 403
    text = admin.get("/releases").text
    assert text.count("Take back to the version before") == 1
    assert admin.post("/releases/rollback", data={"model": "portrait"}).status_code == 403
    assert taken == []
    token = form_token(text)
    assert admin.post("/releases/rollback", data={"model": "encoder", "form_token": token}).status_code == 400
    form = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text.split('action="/releases/rollback"')[1].split("</form>")[0])
    )
    assert form == {"form_token": token, "model": "portrait", "stable": "3"}
    answer = admin.post("/releases/rollback", data=form)
    assert (taken, answer.status_code, "Taken back: portrait 2" in answer.text) == ([("portrait", (3, None))], 200, True)
    again = admin.post("/releases/rollback", data={"model": "portrait", "form_token": token})
    assert (again.status_code, "needs a version on trial or an earlier one" in again.text) == (409, True)


def test_a_trial_is_shown_with_its_share_and_can_be_given_up(front: FakeFront, house: Path) -> None:
    judged(house)
    write(Release("portrait", stable=2, canary=3, share=0.1, canary_since="2024-03-01T00:00:00"), get_settings())
    text = visitor(app=create_app(roll_back=lambda model, shown: 2)).get("/releases").text
    assert '<input type="hidden" name="stable" value="2"><input type="hidden" name="canary" value="3">' in text
    assert "Version 3 on trial for 10\u202f% of the customers" in text and "Give up the trial" in text


def test_quality_shows_what_is_broken_and_what_waits(page: TestClient, house: Path) -> None:
    results = house / "quality" / "results"
    results.mkdir(parents=True)
    rules = [
        {"table": "landing.events", "rule": name, "passed": name == "has_rows", "count": 3, "detail": ""}
        for name in ("has_rows", "x_in_range")
    ]
    window = {"stage": "landing", "start": "2024-01-01", "end": "2024-01-02", "passed": False, "rules": rules, "skipped": {}}
    (results / "landing-2024-01-01-2024-01-02.json").write_text(json.dumps(window))
    count = {"table": "events", "rule": "event_type_unknown", "rows": 50, "first_ds": "2024-01-01", "last_ds": "2024-01-03"}
    (house / "quality" / "quarantine.json").write_text(json.dumps([count]))
    text = page.get("/quality").text
    for shown in ("1 of 2 rules broken", "x_in_range", "3 rows", "event type unknown", "50", "2024-01-01 – 2024-01-03"):
        assert shown in text, shown
    assert "has_rows" not in text


def test_decisions_are_looked_up_by_the_id_that_an_answer_named(front: FakeFront) -> None:
    row = dict.fromkeys(("score", "arm"))
    row |= {"decision_id": "l1.1", "kind": "recommendation", "subject": "f", "model": "recommender", "model_version": "3", "user_id": "ann"}
    row |= {"decided_at": day("03-01"), "features_at": day("02-20"), "rank": 1, "propensity": 0.25, "reason": "because you bought b"}
    app = create_app(decisions=lambda id: [row, row | {"rank": None, "subject": "e"}] if id == "l1" else [])
    person = visitor(app=app)
    text = person.get("/decisions?id=l1").text
    for shown in (
        "because you bought b",
        "25.0\u202f%",
        "considered, not shown",
        'href="/?user=ann"',
        'href="/decisions" aria-current="page"',
    ):
        assert shown in text, shown
    assert person.get("/decisions?id=l2").status_code == 404


def test_a_page_that_does_not_exist_is_told_as_a_page(page: TestClient) -> None:
    answer = page.get("/nothing")
    assert (answer.status_code, answer.headers["content-type"], "Request id" in answer.text) == (404, "text/html; charset=utf-8", True)
    assert answer.headers["x-request-id"] in answer.text


def test_pages_fetch_nothing_from_other_hosts_and_carry_no_script_or_style_of_their_own(page: TestClient) -> None:
    for path in ("/", "/?user=ann", "/segments", "/releases", "/quality", "/docs", "/login"):
        text = page.get(path).text
        assert re.findall(r'(?:src|href)="(?:https?:)?//(?!127\.0\.0\.1)[^"]*"', text) == [], path
        assert "<style" not in text and ' style="' not in text and re.findall(r"<script(?! src=)|\son\w+=", text) == [], path
    sizes = {name: len(page.get(f"/static/{name}").content) for name in ("style.css", "page.js", "icon.svg")}
    assert sum(sizes.values()) < 20_000, sizes
    assert page.get("/static/../api.py").status_code == 404


def test_the_chart_starts_with_two_days_and_keeps_its_largest_lines() -> None:
    assert interests_over_time([(day("01-01"), {"a": 1.0})]) is None
    told = [(day("01-01"), dict.fromkeys("abcdefg", 0.1)), (day("01-11"), {name: place / 100 for place, name in enumerate("abcdefg")})]
    chart = interests_over_time(told)
    assert chart is not None and [line.name for line in chart.lines] == ["g", "f", "e", "d", "c"]
    assert chart.lines[0].points[0][0] == chart.left and chart.lines[0].points[1][0] == chart.right
    assert [label for _, label in chart.grid] == ["0", "5", "10"]
    assert chart.lines[0].points[0][1] == chart.grid[2][0]  # 10 % lies on its grid line


def test_a_bar_never_leaves_its_track() -> None:
    assert 'width="100.0%"' in share_bar(1.7) and 'width="0.0%"' in share_bar(-0.1) and share_bar(None) == ""
    assert 'x="25.0%"' in share_bar(0.5, 0.25)
