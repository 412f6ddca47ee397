"""The web page in a headless Chromium: no fault that axe finds, nothing wider than the screen, usable by keyboard and without a script.

Debian's `chromium` is driven by Playwright, which downloads nothing. Every page is looked at in both languages, light and dark, on a phone
and on a desktop.
"""

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from serving import keys
from serving.api import create_app
from serving.campaign_plan import plan
from serving.campaign_request import CampaignRequest
from serving.release_state import Release, write
from settings import get_settings
from tests.serving.web_client import day, furnish, put, shop

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("needs Debian's chromium, which is not on this machine", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright for Python")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

PAGES = (
    *("/", "/?user=ann", "/?user=ann&as_of=2024-02-21", "/?user=nobody", "/segments", "/segments?name=buyers", "/releases", "/quality"),
    *("/docs", "/decisions?id=l1", "/campaigns", "/campaigns/spring", "/nothing"),
    *("/segments?kind=rfm", "/segments?kind=rules", "/campaigns/spring/results"),
)
SCREENS = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 900}}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running house of hand-written customers, with every page."""
    patch = pytest.MonkeyPatch()
    house = tmp_path_factory.mktemp("house")
    patch.setenv("PORTRAIT_HOME", str(house))
    get_settings.cache_clear()
    furnish()
    plan(CampaignRequest("spring", budget=5.0, holdout=0.0), shop=put(patch, shop()))  # type: ignore[arg-type]
    _judged(house)
    keys.make_secrets(get_settings())
    row: dict[str, Any] = dict.fromkeys(("score", "arm", "propensity"))
    row |= {"decision_id": "l1.1", "kind": "recommendation", "subject": "f", "model": "recommender", "model_version": "3", "user_id": "ann"}
    row |= {"decided_at": day("03-01"), "features_at": day("02-20"), "rank": 1, "reason": "because you bought b"}
    app = create_app(decisions=lambda id: [row], roll_back=lambda model: 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, access_log=False, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    patch.undo()
    get_settings.cache_clear()


def _judged(house: Path) -> None:
    run = house / "candidates" / "portrait" / "run-1"
    run.mkdir(parents=True)
    (run / "report.html").write_text("<h1>report</h1>")
    (run / "verdict.json").write_text(json.dumps({"promoted": False, "reason": "0.7 is not above 0.8.", "figures": {}}))
    for number in (2, 3):
        (house / "models" / "portrait" / str(number)).mkdir(parents=True)
    history = ({"at": "2024-03-01T10:00:00+00:00", "what": "first", "version": 2, "reason": "nothing was served"},)
    write(Release("portrait", stable=2, canary=3, share=0.1, history=history), get_settings())
    rule = {"table": "landing.events", "rule": "x_in_range", "passed": False, "count": 3, "detail": ""}
    window = {"stage": "landing", "start": "2024-01-01", "end": "2024-01-02", "passed": False, "rules": [rule], "skipped": {}}
    (house / "quality" / "results").mkdir(parents=True)
    (house / "quality" / "results" / "landing.json").write_text(json.dumps(window))
    count = {"table": "events", "rule": "event_type_unknown", "rows": 50, "first_ds": "2024-01-01", "last_ds": "2024-01-03"}
    (house / "quality" / "quarantine.json").write_text(json.dumps([count]))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def opened(browser: Any, address: str, **options: Any) -> Any:
    """A tab in which somebody has logged in."""
    tab = browser.new_context(**{"locale": "en-US", "viewport": SCREENS["desktop"]} | options).new_page()
    tab.goto(f"{address}/login")
    tab.fill("#key", keys.house_key(get_settings()))
    tab.press("#key", "Enter")
    tab.wait_for_url(f"{address}/")
    return tab


@pytest.mark.parametrize(
    ("language", "scheme", "screen"),
    [("en-US", "light", "phone"), ("en-US", "dark", "desktop"), ("zh-CN", "light", "desktop"), ("zh-CN", "dark", "phone")],
)
def test_no_page_has_a_fault_of_accessibility_or_is_wider_than_the_screen(
    browser: Any, address: str, language: str, scheme: str, screen: str
) -> None:
    tab = opened(browser, address, locale=language, color_scheme=scheme, viewport=SCREENS[screen])
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    judge, found = axe.Axe(), {}
    for path in (*PAGES, "/login"):
        tab.goto(address + path)
        assert tab.locator("html").get_attribute("lang") == language[:2]
        wider = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        result = judge.run(tab)
        faults = [f"{fault['id']}: {fault['nodes'][0]['html'][:120]}" for fault in result.response["violations"]]
        if faults or wider:
            found[path] = faults + [f"{wider} px wider than the screen"] * bool(wider)
    tab.context.close()
    assert found == {}
    assert [line for line in said if "the server responded with a status of 404" not in line] == []


def test_axe_would_find_a_fault(browser: Any) -> None:
    tab = browser.new_page()
    tab.set_content("<html lang='en'><title>x</title><main><h1>x</h1><input><p style='color:#ccc;background:#fff'>pale</p></main>")
    assert {"label", "color-contrast"} <= {fault["id"] for fault in axe.Axe().run(tab).response["violations"]}
    tab.close()


def test_a_customer_is_found_by_keyboard_alone_and_the_focus_is_seen(browser: Any, address: str) -> None:
    tab = opened(browser, address)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip" and tab.locator(".skip").bounding_box()["x"] >= 0
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "user"
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.keyboard.type("ann")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/?user=ann")
    assert tab.locator("h1").inner_text() == "Customer ann"
    tab.context.close()


def test_the_slider_leads_to_a_past_day_and_back(browser: Any, address: str) -> None:
    tab = opened(browser, address)
    tab.goto(f"{address}/?user=ann")
    slider = tab.locator(".slider")
    assert slider.is_visible()
    slider.focus()
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_url("**as_of=2024-02-20")
    assert "as it was known on 2024-02-20" in tab.locator("main").inner_text()
    tab.get_by_role("link", name="Now", exact=True).click()
    tab.wait_for_url("**/?user=ann")
    tab.context.close()


def test_without_a_script_a_day_is_chosen_by_the_date_field(browser: Any, address: str) -> None:
    tab = opened(browser, address, java_script_enabled=False)
    tab.goto(f"{address}/?user=ann")
    assert not tab.locator(".slider").is_visible()
    tab.fill("#as_of", "2024-02-21")
    tab.click("text=Show")
    assert "as it was known on 2024-02-21" in tab.locator("main").inner_text()
    tab.context.close()


def test_a_model_is_taken_back_by_its_button_and_the_way_out_leads_to_the_login(browser: Any, address: str) -> None:
    tab = opened(browser, address)
    tab.goto(f"{address}/releases")
    tab.click("text=Give up the trial")
    tab.wait_for_url("**/releases?done=*")
    assert tab.locator("[role=status]").inner_text() == "Taken back: portrait 2"
    tab.click("text=Log out")
    tab.wait_for_url("**/login")
    tab.goto(f"{address}/releases")
    assert "/login?next=%2Freleases" in tab.url
    tab.context.close()


def test_the_language_is_changed_by_its_link_and_kept(browser: Any, address: str) -> None:
    tab = opened(browser, address)
    tab.goto(f"{address}/segments?name=buyers")
    tab.click("text=中文")
    tab.wait_for_url("**/segments?name=buyers&lang=zh")
    tab.click("text=模型")
    assert tab.locator("h1").inner_text() == "模型发布"
    tab.context.close()
