"""What is drawn on the console holds every word that the shop wrote, brackets included, and fits 80 columns."""

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from serving.local import show

TITLES = ("LP [mono] 1964", "Mug [/] red", "[bold]", "back\\[slash]")


def drawn(picture: RenderableType, width: int = 200) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(picture)
    return out.getvalue()


def portrait(word: str) -> dict[str, Any]:
    return {
        "user_id": word,
        "as_of": "2024-05-01",
        "features_at": "2024-04-30",
        "known": {"country": word, "spend_total": 9.0, "top_categories": [word, "Tea"]},
        "inferred": {
            "model_version": 3,
            "traits": [{"name": word, "value": word, "probabilities": {word: 0.75, "other": 0.25}}],
            "segment": word,
            "interests": {word: 0.5},
            "interests_30d_ago": {word: 0.2},
            "interest_alarm": True,
            "next_category": word,
            "purchase_probability_7d": 0.1,
            "purchase_probability_30d": 0.2,
            "churn_probability_7d": 0.4,
            "churn_probability_30d": 0.3,
            "expected_spend_90d": 12.5,
        },
        "note": f"note {word}",
        "recent": [{"occurred_at": "2024-04-29", "event_type": "view", "title": word, "item_id": "i1"}],
    }


def recommended(word: str) -> dict[str, Any]:
    item = {"rank": 1, "item_id": word, "title": word, "category": word, "price": 4.5, "score": 0.25}
    return {"user_id": word, "items": [item, item | {"title": None, "category": None, "price": None}], "note": f"note {word}"}


def offered(word: str) -> dict[str, Any]:
    effects = dict.fromkeys(("visit_uplift", "conversion_uplift", "spend_uplift", "cost", "expected_profit"), 0.5)
    return {"user_id": word, "best": word, "model_version": 2, "effects": [{"offer": word} | effects]}


@pytest.mark.parametrize("word", TITLES)
def test_brackets_in_what_a_shop_wrote_are_no_styles(word: str) -> None:
    assert drawn(show.portrait(portrait(word))).count(word) == 11
    assert drawn(show.recommendations(recommended(word))).count(word) == 6
    assert drawn(show.offers(offered(word))).count(word) == 3
    assert drawn(show.checks([{"check": "disk", "state": "warn", "detail": word}])).count(word) == 1


def test_every_column_of_the_sources_has_a_heading() -> None:
    rows = [{"name": "till", "meaning": "a till", "publisher": "a shop", "licence": "none", "carries": [], "tables": [], "options": {}}]
    assert [column.header for column in show.sources(rows).columns] == ["source", "what it is, and what it carries"]


def test_pictures_fit_80_columns_and_lose_no_number() -> None:
    text = drawn(show.recommendations(recommended("a rather long title of an item with many words")), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "4.50" in text and "0.25" in text
    assert max(map(len, drawn(show.portrait(portrait("u1")), width=80).splitlines())) <= 80


def test_expected_spend_is_drawn_where_the_model_says_one() -> None:
    told = portrait("u1")
    assert "12.50" in drawn(show.portrait(told))
    told["inferred"]["expected_spend_90d"] = None
    assert "expected_spend_90d" not in drawn(show.portrait(told))


@pytest.mark.parametrize("reasons", [[{"code": "c", "text": "many [bold] orders"}], []])
def test_risk_decisions_are_counted_and_the_riskiest_is_explained(reasons: list[dict[str, str]]) -> None:
    worst = {"order_id": "o[/]1", "probability": 0.61, "reasons": reasons}
    text = drawn(show.risk([{"kind": "orders", "asked": 7, "decisions": {"approve": 6, "review": 1}, "riskiest": worst}]))
    assert "7 orders" in text and "o[/]1, 61%" in text and (reasons[0]["text"] if reasons else "no single reason") in text
