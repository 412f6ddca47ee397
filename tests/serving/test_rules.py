"""The file of rules: what it may say, what is said of a mistake, and that an edit is read while the shop runs."""

import math
import os
from pathlib import Path

import pytest

from serving.rules import RULES_FILE, BadRules, Rules, RulesFile, rules_of


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_file_says_every_rule() -> None:
    rules = rules_of()
    assert rules.had == {"purchase": math.inf, "rate": math.inf}
    assert rules.in_stock
    assert set(rules.as_dict()) == set(Rules.__dataclass_fields__)


def test_what_a_file_leaves_out_is_as_shipped_and_had_replaces_the_whole_section(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.toml", '[had]\nview = 7\n[promoted]\nitems = ["a"]\nshare = 0.2\n')
    rules, shipped = rules_of(path), rules_of(RULES_FILE)
    assert (rules.had, rules.promoted, rules.promoted_share) == ({"view": 7}, ("a",), 0.2)
    assert (rules.diversity, rules.candidates) == (shipped.diversity, shipped.candidates)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[had", "The rules of recommendation are a TOML file"),
        ("[hat]\nview = 7", r"A section must be one of .* has \[hat\]"),
        ("[filters]\nstock = true", r"\[filters\] may have .*'in_stock'.* has \['stock'\]"),
        ("[had]\nview = 0", "`had.view` must be days above 0, or inf. Received 0"),
        ("[promoted]\nshare = 1.5", "`promoted_share` must be from 0 to 1. Received 1.5"),
        ("[variety]\ndiversity = 1.0", "`diversity` must be from 0 to below 1. Received 1.0"),
        ("[variety]\ncategory_cap = 1.5", "`category_cap` must be a whole number from 0. Received 1.5"),
        ("[exploration]\ntemperature = 0.0", "`temperature` must be above 0. Received 0.0"),
        ('[filters]\nblocked = "i1"', "`blocked` must be a list of texts. Received 'i1'"),
        ('[model]\ndeadline_ms = "soon"', "not supported between"),
    ],
)
def test_a_broken_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadRules, match=message):
        rules_of(written(tmp_path / "mine.toml", text))


def test_an_edit_is_read_and_a_broken_one_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "mine.toml", "[variety]\ndiversity = 0.3\n")
    file = RulesFile(path)
    assert file.read().diversity == 0.3
    os.utime(written(path, "[variety]\ndiversity = 0.4\n"), ns=(1, 1))
    assert file.read().diversity == 0.4
    os.utime(written(path, "[variety]\ndiversity = 4\n"), ns=(2, 2))
    assert file.read().diversity == 0.4
    assert "The rules before stay in force" in caplog.text
    path.unlink()
    assert file.read().diversity == 0.4
