"""The rules of a release: what each of them reads, what breaks it, and what is refused in the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.release_compare import Comparison, Live, Online, Side, is_sound, ks, psi, top_overlap
from serving.release_rules import BadReleaseRules, ReleaseRules, decide, rules_of, times
from training.signatures import SERVED_MODELS

GOOD = Side(2, 40, 0, "", 0, 5.0, 9.0, ())
PAIR = Comparison("m", GOOD, replace(GOOD, version=1))


SLOW = ("slow", {"times_stable": 3.0, "ms": 50.0, "alone_ms": 9.0})
WITH_USERS = replace(PAIR, live={"canary": Live(50, 1, 5, 9)})
DRIFTED = replace(PAIR, psi={"y": 2.5}, ks={"y": 0.9})


def ask(comparison: Comparison, name: str, **parameters: float) -> str | None:
    verdict = decide(comparison, ReleaseRules(0.1, "spend_7d", [(name, parameters)]))
    return None if verdict.passed else verdict.reason


def canary(**changed: object) -> Comparison:
    return replace(PAIR, canary=replace(GOOD, **changed))


def test_the_house_has_rules_for_every_served_model() -> None:
    assert times() == {"watch_minutes": 30.0, "answer_minutes": 60.0}
    for model in SERVED_MODELS:
        rules = rules_of(model)
        assert rules.rules[0][0] == "errors" and rules.share == 0.1
        assert decide(replace(PAIR, model=model), rules).passed


@pytest.mark.parametrize(
    ("comparison", "rule", "reason"),
    [
        (canary(errors=2, first_error="boom"), ("errors", {"share": 0.01}), "2 of 40 recorded requests failed, the first with: boom"),
        (WITH_USERS, ("errors", {"share": 0.01}), "1 of 50 users' requests failed and were answered by"),
        (canary(not_finite=1), ("not_finite", {"share": 0.0}), "1 of 40 answers hold NaN or infinity"),
        (canary(constant=("y",)), ("constant", {"requests": 40}), "y is the same in all 40 answers"),
        (canary(p50_ms=61.0), SLOW, "its median is 61 ms, the stable version's 5 ms"),
        (canary(p99_ms=61.0), SLOW, "its 99 % point is 61 ms, the stable version's 9 ms"),
        (DRIFTED, ("drift", {"psi": 2.0}), "`y` is distributed unlike the stable version's: PSI 2.50, KS 0.90"),
        (replace(PAIR, overlap=0.01), ("overlap", {"least": 0.02}), "of the first ten items only 1.0%"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_names_it_and_the_figures(comparison: Comparison, rule: tuple, reason: str) -> None:
    name, parameters = rule
    said = ask(comparison, name, **parameters)
    assert said and said.startswith(reason) and said.endswith(f"(rule {name})")
    assert ask(PAIR, name, **parameters) is None


def test_what_the_stable_version_does_as_well_is_no_fault() -> None:
    both = Comparison("m", replace(GOOD, errors=4, constant=("y",), p50_ms=100.0), replace(GOOD, errors=4, constant=("y",), p50_ms=90.0))
    assert ask(both, "errors", share=0.0) is None
    assert ask(both, "constant", requests=20) is None
    assert ask(both, "slow", times_stable=3.0, ms=50.0, alone_ms=1.0) is None
    live = replace(both, live={"canary": Live(50, 1, 5, 9), "stable": Live(50, 1, 5, 9)})
    assert ask(live, "errors", share=0.0) is None


def test_a_first_version_is_judged_alone() -> None:
    first = Comparison("m", replace(GOOD, constant=("y",), p50_ms=20.0), None)
    assert ask(first, "constant", requests=20) == "y is the same in all 40 answers (rule constant)"
    assert ask(first, "constant", requests=41) is None
    assert ask(first, "slow", times_stable=3.0, ms=1.0, alone_ms=19.0) == "its median is 20 ms, above 19 ms (rule slow)"
    assert ask(first, "drift", psi=0.0) is ask(first, "overlap", least=1.0) is ask(first, "worse_online", decisions=1) is None


@pytest.mark.parametrize(("decisions", "high", "is_broken"), [(1000, -0.01, True), (999, -0.01, False), (1000, 0.0, False)])
def test_the_online_metric_speaks_only_where_it_is_sure(decisions: int, high: float, is_broken: bool) -> None:
    online = Online("spend_7d", decisions, 0.4, 0.5, {"mean": -0.1, "low": -0.2, "high": high})
    assert (ask(replace(PAIR, online=online), "worse_online", decisions=1000) is not None) == is_broken


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[m", "The rules of a release are a TOML file"),
        ("[other]", r"`\[m\]` must have \['metric', 'rules', 'share'\].* has \[\]"),
        ('[m]\nshare = 0.0\nmetric = "x"\nrules = []', r"`share` of `\[m\]` must be above 0 and at most 1.* has 0.0"),
        ('[m]\nshare = 0.1\nmetric = "x"\nrules = [{ name = "fast" }]', r"A rule must be one of .*'errors'.* has \{'name': 'fast'\}"),
        ('[m]\nshare = 0.1\nmetric = "x"\nrules = [{ name = "drift", ks = 1 }]', "with those parameters"),
    ],
)
def test_a_file_that_no_release_can_follow_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(BadReleaseRules, match=message):
        rules_of("m", tmp_path / "r.toml")
    with pytest.raises(BadReleaseRules):
        times(tmp_path / "r.toml")


def test_psi_and_ks_are_what_a_hand_computes() -> None:
    """Halves at the median against a quarter and three quarters: (0.25 ln 0.5) x -1 + 0.25 ln 1.5 twice counted by two bins."""
    expected, found = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    assert psi(expected, found, bins=2) == pytest.approx((0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5))
    assert psi(expected, expected) == 0
    assert ks(expected, found) == pytest.approx(0.25)
    assert ks(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1.0


def test_overlap_is_the_share_of_the_first_ten_that_both_name() -> None:
    one = np.array([[f"i{n}" for n in range(12)], ["a", "b", *[""] * 10]], object)
    other = np.array([[f"i{n}" for n in range(5, 17)], ["b", "c", *[""] * 10]], object)
    assert top_overlap(one, other) == pytest.approx((5 / 10 + 1 / 2) / 2)


def test_numbers_that_are_none_are_found_where_the_signature_allows_none() -> None:
    assert is_sound({"scores": np.array([1.0, -np.inf]), "expected_spend_90d": np.array([np.nan]), "name": np.array(["x"], object)})
    for name, value in (("scores", np.nan), ("scores", np.inf), ("y", -np.inf), ("expected_spend_90d", np.inf), ("vector", np.nan)):
        assert not is_sound({name: np.array([value])}), (name, value)


def test_a_comparison_is_a_table_for_a_person() -> None:
    online = Online("spend_7d", 1200, 0.4, 0.5, {"mean": -0.1, "low": -0.2, "high": -0.05})
    whole = replace(
        canary(errors=1, first_error="boom"), psi={"y": 0.1}, ks={"y": 0.2}, overlap=0.5, live={"canary": Live(9, 0, 1, 2)}, online=online
    )
    text = whole.as_text()
    assert "| on trial | 2 | 40 | 1 | 0 | 5.0 | 9.0 |" in text and "| stable | 1 |" in text
    for part in (
        "boom",
        "`y`: PSI 0.100, KS 0.200",
        "50% are the same",
        "users, canary: 9 requests",
        "-0.1000 (-0.2000 to -0.0500) on 1200",
    ):
        assert part in text
