"""The e-mail challenge's file, small and broken."""

import gzip
import logging
from datetime import date
from pathlib import Path

import pytest

from sources.errors import DataNotFound, FileRefused
from sources.files import read_table
from sources.registry import deliver

CSV = """recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend
10,2) $100 - $200,142.44,1,0,Surburban,0,Phone,Womens E-Mail,1,1,29.5
6,3) $200 - $350,329.08,1,1,Rural,1,Web,No E-Mail,0,0,0
"""


def test_arms_outcomes_and_covariates_packed_or_not(tmp_path: Path, caplog):
    landings = []
    for name, content in (("h.csv", CSV.encode()), ("h.csv.gz", gzip.compress(CSV.replace("\n", "\r\n").encode()))):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(content)
        with caplog.at_level(logging.WARNING):
            deliver("hillstrom", tmp_path / name, tmp_path / f"landing-{name}")
        landings.append(tmp_path / f"landing-{name}")
    assert caplog.text.count("is not the published file") == 2
    assert "reading it all the same: 2 rows" in caplog.text
    first, second = (read_table(landing, "campaign_exposures").to_pylist() for landing in landings)
    assert first == second
    wanted = ("user_id", "treatment", "visited", "converted", "spend", "ds", "x_recency", "x_history_segment")
    assert [tuple(row[name] for name in wanted) for row in first] == [
        ("h00000", "womens_email", True, True, 29.5, date(2008, 4, 3), 10.0, "2) $100 - $200"),
        ("h00001", "control", False, False, 0.0, date(2008, 4, 3), 6.0, "3) $200 - $350"),
    ]
    assert {row["propensity"] for row in first} == {1 / 3}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (CSV.replace("recency", "recent"), r"has the columns .* lacks recency"),
        (CSV.replace("No E-Mail", "Letter"), r"A segment must be one of .* has \['Letter'\]"),
        (CSV.replace("29.5", "much"), r"Every spend must be a float"),
    ],
)
def test_another_file_is_refused_by_column(tmp_path: Path, wrong: str, message: str):
    (tmp_path / "h.csv").write_text(wrong)
    with pytest.raises(FileRefused, match=message):
        deliver("hillstrom", tmp_path / "h.csv", tmp_path / "landing")


def test_two_files_are_one_too_many(tmp_path: Path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(CSV)
    with pytest.raises(DataNotFound, match=r"gives \['a.csv', 'b.csv'\]"):
        deliver("hillstrom", tmp_path, tmp_path / "landing")
