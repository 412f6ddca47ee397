"""`item_vectors` as published: what was known when, refits, and windows in any order."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from feature_repo import text
from feature_repo.contract import service, views
from feature_repo.export import export_marts
from feature_repo.frames import rows_as_of
from feature_repo.published import mart_dir
from tests.feature_repo.warehouse import write_warehouse

MAY_AND_JUNE = (date(2024, 5, 1), date(2024, 7, 1))
TITLES = {"mug": "Red mug", "pot": "Red tea pot", "lamp": "Desk lamp"}


def at(month: int, day: int) -> datetime:
    return datetime(2024, month, day)  # noqa: DTZ001


def item(item_id: str, month: int, day: int, created: datetime | None = None, **values: Any) -> dict[str, Any]:
    return {"item_id": item_id, "features_at": at(month, day), "created_at": created or at(month, day), **values}


def history(user: str, month: int, day: int, *items: str) -> dict[str, Any]:
    values = {"event_item_ids": list(items), "event_types": ["purchase"] * len(items), "event_times_us": [0] * len(items)}
    return {"user_id": user, "features_at": at(month, day), "created_at": at(month, day), **values}


def items() -> list[dict[str, Any]]:
    """Three items from 2 May; the mug's title is corrected on 20 May; a kettle is listed on 9 June; a blank one never has a title."""
    return [
        *(item(name, 5, 2, title=title) for name, title in TITLES.items()),
        item("mug", 5, 10, title="Red mug", views_7d=3),
        item("mug", 5, 20, title="Blue bowl"),
        item("mug", 5, 10, created=at(5, 20), title="Blue bowl", views_7d=4),  # the same correction in an older row's new version
        item("blank", 5, 2, price=3.0),
        item("kettle", 6, 10, title="Tea kettle"),
        item("mug", 6, 20, title="Blue bowl"),
    ]


def publish(rows: list[dict[str, Any]], sequences: list[dict[str, Any]] | None = None) -> None:
    write_warehouse({"item_features": rows, "user_sequences": sequences or []})
    export_marts(*MAY_AND_JUNE)


def published() -> dict[str, bytes]:
    folder = mart_dir("item_vectors").resolve()
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def as_of(when: datetime) -> dict[str, tuple[list[float], str]]:
    rows = rows_as_of("item_vectors", when).to_dict("records")
    return {row["item_id"]: (list(row["text_vector"]), row["text_version"]) for row in rows if row["text_vector"] is not None}


def test_a_fit_at_the_first_midnight_and_at_every_first_of_a_month_gives_every_item_a_row(house: Path) -> None:
    publish(items())
    report = text.update(*MAY_AND_JUNE)
    assert (report.rows, report.days) == (3 + 1 + 3 + 1, 4)  # first fit, the correction, June's fit, the kettle
    assert {version: (fit.items, fit.dim) for version, fit in report.fits.items()} == {
        "2024-05-02-fused": (3, 3),  # three texts: never more numbers than texts
        "2024-06-01-fused": (3, 3),
    }
    assert "8 rows in 4 days" in report.as_text()
    assert "2024-06-01-fused: 3 items, 0 histories; 3 numbers, 3 of them words that explain 100%" in report.as_text()
    assert sorted(as_of(at(5, 2))) == ["lamp", "mug", "pot"]  # the blank one has no row
    assert {version for _, version in as_of(at(6, 30)).values()} == {"2024-06-01-fused"}
    rows = rows_as_of("item_vectors", at(6, 5))
    assert set(rows["created_at"]) == set(rows["features_at"]) == {at(6, 1)}


def test_a_new_item_has_its_vector_the_midnight_it_is_known_made_by_the_frozen_model(house: Path) -> None:
    publish(items())
    text.update(*MAY_AND_JUNE)
    assert "kettle" not in as_of(at(6, 9))
    vector, version = as_of(at(6, 10))["kettle"]
    assert version == "2024-06-01-fused"
    pot, lamp = as_of(at(6, 10))["pot"][0], as_of(at(6, 10))["lamp"][0]
    assert sum(map(float.__mul__, vector, pot)) > 0.3  # the word tea
    assert sum(map(float.__mul__, vector, lamp)) == pytest.approx(0, abs=1e-6)


def test_a_title_corrected_later_is_not_known_earlier(house: Path) -> None:
    """Without the correction, and with it, everything that was known before it is the same to the byte."""
    publish([row for row in items() if row["created_at"] < at(5, 20)])
    text.update(*MAY_AND_JUNE)
    before = published()
    publish(items())
    text.update(*MAY_AND_JUNE)
    after = published()
    assert {name: content for name, content in after.items() if name < "day=2024-05-20" or name == "schema.parquet"} == before
    mug, corrected = as_of(at(5, 19))["mug"], as_of(at(5, 20))["mug"]
    assert mug[0] != corrected[0]
    assert mug[1] == corrected[1] == "2024-05-02-fused"
    assert not any(corrected[0])  # the frozen model knows none of its words
    assert any(as_of(at(6, 1))["mug"][0])  # the next fit does


def test_windows_in_any_order_and_twice_end_in_the_same_bytes(house: Path) -> None:
    sequences = [history(f"u{n}", 5, 3 + n, "mug", "pot", *(["lamp"] if n % 3 == 0 else [])) for n in range(9)]
    publish(items(), sequences)
    text.update(*MAY_AND_JUNE)
    whole = published()
    may, june = (date(2024, 5, 1), date(2024, 6, 1)), (date(2024, 6, 1), date(2024, 7, 1))
    for windows in ((may, june), (june, may), (june, june, may, june), ((date(2024, 6, 9), date(2024, 6, 10)),)):
        for window in windows:
            text.update(*window)
        assert published() == whole


def test_a_window_that_comes_late_moves_the_first_fit(house: Path) -> None:
    """June is loaded first: its first midnight is the first fit. When May arrives, May's is, and June ends as if it had come in order."""
    publish([row for row in items() if row["created_at"] > at(6, 1)])
    text.update(date(2024, 6, 1), date(2024, 7, 1))
    assert {version for _, version in as_of(at(6, 30)).values()} == {"2024-06-10-fused"}
    publish(items())
    text.update(date(2024, 5, 1), date(2024, 6, 1))
    late = published()
    text.update(*MAY_AND_JUNE)
    assert published() == late


def test_a_day_uses_the_frozen_model_and_an_earlier_window_fits_it_again(house: Path) -> None:
    publish(items())
    text.update(*MAY_AND_JUNE)
    kept = mart_dir(".item_models")
    first = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert sorted(first) == ["2024-05-02.npz", "2024-06-01.npz"]
    report = text.update(date(2024, 6, 9), date(2024, 6, 10))
    assert (report.rows, list(report.fits)) == (1, ["2024-06-01-fused"])  # the kettle
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()} == first
    text.update(date(2024, 5, 31), date(2024, 6, 1))
    second = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert second["2024-05-02.npz"] == first["2024-05-02.npz"]
    assert second["2024-06-01.npz"] > first["2024-06-01.npz"]


def test_company_known_at_the_cut_off_counts_and_later_company_does_not(house: Path) -> None:
    names = ["mug", "pot", "lamp", "bulb"]
    rows = [item(name, 5, 2, title=f"{name} {number}") for number, name in enumerate(names)] + [item("mug", 6, 2, title="mug 0")]
    pairs = [("mug", "pot"), ("lamp", "bulb")]
    known = [history(f"u{n}", 5, 20, *pairs[n % 2]) for n in range(80)]
    publish(rows, known)
    text.update(*MAY_AND_JUNE)
    first = published()
    vectors = {name: vector for name, (vector, _) in as_of(at(6, 1)).items()}
    assert sum(map(float.__mul__, vectors["mug"], vectors["pot"])) > 0.5
    assert sum(map(float.__mul__, vectors["mug"], vectors["lamp"])) < 0.3
    publish(rows, [*known, *(history(f"v{n}", 6, 2, "mug", "lamp") for n in range(50))])
    text.update(*MAY_AND_JUNE)
    assert published() == first


def test_a_text_that_is_taken_back_leaves_a_row_without_a_vector(house: Path) -> None:
    publish([*items(), item("pot", 5, 12)])
    text.update(*MAY_AND_JUNE)
    row = rows_as_of("item_vectors", at(6, 30)).set_index("item_id").loc["pot"]
    assert row["text_vector"] is None
    assert row["created_at"] == at(5, 12)


@pytest.mark.parametrize(("rows", "expected"), [([], {}), ([item("blank", 5, 2)], {}), ([item("mug", 5, 2, title="Mug")], {"mug": [1.0]})])
def test_a_shop_with_no_text_or_one(house: Path, rows: list[dict[str, Any]], expected: dict[str, list[float]]) -> None:
    publish(rows)
    text.update(*MAY_AND_JUNE)
    assert {name: vector for name, (vector, _) in as_of(at(6, 30)).items()} == expected


def test_attributes_count_as_words(house: Path) -> None:
    publish([item("a", 5, 2, attributes=["colour=red", "size=1"]), item("b", 5, 2, attributes=["colour=red"]), item("c", 5, 2, title="x")])
    text.update(*MAY_AND_JUNE)
    known = as_of(at(5, 2))
    assert sum(map(float.__mul__, known["a"][0], known["b"][0])) > 0.4
    assert sum(map(float.__mul__, known["a"][0], known["c"][0])) == pytest.approx(0, abs=1e-6)


def test_an_empty_window_and_a_house_without_marts_are_refused(house: Path) -> None:
    with pytest.raises(ValueError, match=r"A window must end after it starts. Received \[2024-05-01, 2024-05-01\)"):
        text.update(date(2024, 5, 1), date(2024, 5, 1))
    with pytest.raises(FileNotFoundError, match=r"A mart must be exported before it is read"):
        text.update(*MAY_AND_JUNE)


def test_item_vectors_are_a_view_of_the_item_service() -> None:
    assert [column.name for column in views()["item_vectors"].features] == ["text_vector", "text_version"]
    assert service("item_v1")["item_vectors"] == ("text_vector", "text_version")


@pytest.mark.slow
def test_vectors_reach_the_online_store_and_agree_with_the_offline_one(house: Path) -> None:
    from feature_repo.materialise import materialise
    from feature_repo.online import OnlineFeatures
    from feature_repo.parity import check_parity

    publish([*items(), item("pot", 5, 12)])
    text.update(*MAY_AND_JUNE)
    assert materialise(*MAY_AND_JUNE)["item_vectors"] == 4
    mug, pot, blank = OnlineFeatures().read("item_v1", ["mug", "pot", "blank"])
    assert list(mug["text_vector"]) == as_of(at(6, 30))["mug"][0]
    assert mug["text_version"] == "2024-06-01-fused"
    assert pot["text_vector"] is None
    assert blank["text_vector"] is None and blank["price"] == 3.0
    assert check_parity(["item_v1"]).entities == {"item_v1": 5}
