"""The file of card clients, small: its lines end in CR alone."""

from datetime import date, datetime
from pathlib import Path

import pytest

from sources.credit_default import COLUMNS, TARGET
from sources.errors import FileRefused
from sources.files import read_table
from sources.registry import deliver

PUBLISHED_ORDER = [name for name in COLUMNS if name != TARGET] + [TARGET]


def line(**cells: object) -> str:
    return ",".join(str(cells.get(name, 0)) for name in PUBLISHED_ORDER)


@pytest.fixture
def clients(tmp_path: Path) -> Path:
    rows = [
        ",".join(PUBLISHED_ORDER),
        line(ID=1, LIMIT_BAL=20000, SEX=2, EDUCATION=2, MARRIAGE=1, AGE=24, PAY_0=-2, BILL_AMT6=-5, **{TARGET: 1}),
        line(ID=2, LIMIT_BAL=1000000, SEX=1, EDUCATION=5, MARRIAGE=3, AGE=60),
    ]
    path = tmp_path / "UCI_Credit_Card.csv"
    path.write_bytes("\r".join(rows).encode() + b"\r")
    return path


def test_lines_that_end_in_cr_alone_become_applications(clients: Path, house: Path):
    deliver("credit_default", clients, house)
    rows = read_table(house, "credit_applications").to_pylist()
    assert [(row["application_id"], row["amount"], row["defaulted"]) for row in rows] == [("1", 20_000.0, True), ("2", 1_000_000.0, False)]
    assert [(row["x_sex"], row["x_education"], row["x_marriage"]) for row in rows] == [
        ("female", "university", "married"),
        ("male", "code 5", "other"),
    ]
    assert [(row["x_age"], row["x_pay_0"], row["x_bill_amt6"]) for row in rows] == [(24.0, -2.0, -5.0), (60.0, 0.0, 0.0)]
    assert (rows[0]["applied_at"], rows[0]["outcome_at"], rows[0]["ds"]) == (
        datetime(2005, 9, 30),  # noqa: DTZ001
        datetime(2005, 10, 31),  # noqa: DTZ001
        date(2005, 10, 31),
    )


def test_a_cell_that_is_no_number_refuses_the_file(clients: Path, house: Path):
    clients.write_bytes(clients.read_bytes().replace(b",24,", b",young,"))
    with pytest.raises(FileRefused, match=r"Every AGE must be a float"):
        deliver("credit_default", clients, house)
