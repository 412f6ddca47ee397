"""What is repaired in delivered text, under which name, and what is left as it came."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quality.load import load_window
from quality.repairs import decode_bytes, mend_text
from quality.warehouse import open_warehouse
from tests.quality.delivery import DAY, NEXT_DAY, row, write_day


def _stored(columns: str, table: str = "items") -> list[tuple]:
    with open_warehouse() as connection:
        return connection.execute(f"select {columns}, repairs from landing.{table} order by all").fetchall()


@pytest.mark.parametrize("text", ["Crème", "naïve £5 – “ok”", "àÍÝ", "日本語のタイトル", "Ελλάδα", "😀 sale", "Łódź"])
def test_utf8_read_as_latin_1_or_cp1252_is_mended_once_or_twice_over(text: str) -> None:
    wrong = text.encode().decode("latin-1")
    assert mend_text(wrong) == text
    assert mend_text(wrong.encode().decode("latin-1")) == text
    as_cp1252 = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode())
    assert mend_text(as_cp1252) == text


@pytest.mark.parametrize("text", ["Crème", "SÃO PAULO", "Â", "100 Â", "CrÃ¨me 漢字", "", "plain", "Ã©tÃ© SÃO"])
def test_text_that_does_not_turn_back_exactly_is_left_as_it_came(text: str) -> None:
    assert mend_text(text) == text


def test_random_text_in_any_script_survives_being_misread() -> None:
    draw = random.Random(3)
    for _ in range(300):
        text = "".join(
            chr(draw.choice((draw.randrange(0x20, 0x7F), draw.randrange(0x391, 0x3A1), draw.randrange(0x4E00, 0x9FA5)))) for _ in range(12)
        )
        assert mend_text(text) == text
        assert mend_text(text.encode().decode("latin-1")) == text


def test_bytes_that_are_no_text_are_not_decoded() -> None:
    assert decode_bytes(b"Cr\xe8me") == "Crème"
    assert decode_bytes(b"\x81") is None
    assert decode_bytes(b"\x00\x01\xe8") is None


def test_every_repair_is_named_in_its_row_and_counted_exactly(house: Path) -> None:
    def item(number: int, **cells: Any) -> dict[str, Any]:
        return row("items", item_id=f"i{number}", **cells)

    write_day(
        house,
        "items",
        [
            item(0),
            item(1, title="CrÃ¨me"),
            item(2, title=" \u00a0Crème\t\n", brand="\ufeffAcme"),
            item(3, title="La\x00mp\x07", category="home > light "),
            item(4, title=" LÃ©a ", description="two\nlines"),
            item(5, title="CrÃ¨me", price=-1.0),  # goes to quarantine as it came: not counted as repaired
            item(6, title="  "),
        ],
    )
    report = load_window(house / "landing", DAY, NEXT_DAY)
    assert _stored("item_id, title, brand, category") == [
        ("i0", "Lamp", "b", "home > light", None),
        ("i1", "Crème", "b", "home > light", ["title_encoding"]),
        ("i2", "Crème", "Acme", "home > light", ["title_trimmed", "brand_trimmed"]),
        ("i3", "Lamp", "b", "home > light", ["title_trimmed", "category_trimmed"]),
        ("i4", "Léa", "b", "home > light", ["title_encoding", "title_trimmed"]),
        ("i6", "", "b", "home > light", ["title_trimmed"]),
    ]
    assert report.tables["items"].repaired == {"brand_trimmed": 1, "category_trimmed": 1, "title_encoding": 2, "title_trimmed": 4}
    assert "    repaired title_encoding: 2\n" in report.as_text()
    with open_warehouse() as connection:
        assert connection.execute("select repaired from landing._loads").fetchall() == [
            ('{"brand_trimmed":1,"category_trimmed":1,"title_encoding":2,"title_trimmed":4}',)
        ]
        assert connection.execute("select row_json ->> '$.title' from quarantine.rows").fetchall() == [("CrÃ¨me",)]


def test_an_id_that_is_trimmed_meets_its_clean_copy(house: Path) -> None:
    write_day(house, "events", [row("events", event_id="e1 "), row("events", event_id="e1"), row("events", event_id="e2", user_id="\tu1")])
    events = load_window(house / "landing", DAY, NEXT_DAY).tables["events"]
    assert (events.accepted, events.exact_duplicates, events.repaired) == (2, 1, {"user_id_trimmed": 1})
    assert _stored("event_id, user_id", "events") == [("e1", "u1", None), ("e2", "u1", ["user_id_trimmed"])]


@pytest.mark.parametrize("declared", ["bytes", "text"])
def test_bytes_that_are_not_utf8_are_decoded_as_cp1252_whatever_the_file_calls_them(house: Path, declared: str) -> None:
    write_day(house, "items", [row("items", item_id="i0", title="Lamp")])
    raw = pa.array([b"Cr\xe8me \x80 5", "Crème".encode(), b"Lamp"])
    title = raw if declared == "bytes" else pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    path = house / "landing" / "items" / f"ds={DAY}" / "part-1.parquet"
    pq.write_table(pa.table({"item_id": ["i1", "i2", "i3"], "title": title}), path)
    report = load_window(house / "landing", DAY, NEXT_DAY)
    assert report.tables["items"].repaired == {"title_encoding": 1}
    assert [(r[0], r[1], r[2]) for r in _stored("item_id, title")] == [
        ("i0", "Lamp", None),
        ("i1", "Crème € 5", ["title_encoding"]),
        ("i2", "Crème", None),
        ("i3", "Lamp", None),
    ]
