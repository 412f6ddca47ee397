"""Drawn defaults teach the credit model only where the shop wants them and where they are shown to help."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from settings import get_settings
from tests.training.credit_shop import applications
from training import gan_augmentation
from training.credit_augmentation import credit_augmentation
from training.gan.verdict import Use

NAMES = ["amount", "x_debt", "x_job"]
STEP = {"mean": 0.004, "low": -0.001, "high": 0.009}


@pytest.fixture
def wanted(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_CREDIT_AUGMENTATION", "true")
    get_settings.cache_clear()


def answering(monkeypatch: pytest.MonkeyPatch, *, is_allowed: bool) -> list[pd.DataFrame]:
    """What `augment` is given; it adds three rows where it may."""
    given: list[pd.DataFrame] = []

    def augment(table: pd.DataFrame, target: str, seed: int) -> gan_augmentation.Augmented:
        given.append(table)
        rows = pd.concat([table, table.iloc[:3].assign(defaulted=1.0)], ignore_index=True) if is_allowed else table
        step = {"average_precision_lift": STEP, "auc_lift": STEP}
        return gan_augmentation.Augmented(rows, 3 * is_allowed, Use(is_allowed, ("told",)), np.arange(len(table)) % 2 > 0, step)

    monkeypatch.setattr(gan_augmentation, "augment", augment)
    return given


def test_nothing_is_drawn_unless_the_setting_asks_for_it(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = answering(monkeypatch, is_allowed=True)
    found = credit_augmentation(applications(2000), NAMES, 1)
    assert found.facts() == {"used": False, "rows": 0, "reason": "PORTRAIT_CREDIT_AUGMENTATION is off."} and not given


def test_a_refused_lift_adds_nothing_and_its_reason_is_told(wanted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    given = answering(monkeypatch, is_allowed=False)
    learn = applications(2000)
    found = credit_augmentation(learn, NAMES, 1)
    assert found.drawn is None
    assert found.facts() == {"used": False, "rows": 0, "reason": "told", "average_precision_lift": STEP}
    pd.testing.assert_frame_equal(given[0], learn[[*NAMES, "defaulted"]])  # no id, nothing protected


def test_an_allowed_lift_adds_the_drawn_rows_alone_and_says_what_they_were_learned_from(
    wanted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, is_allowed=True)
    learn = applications(2000)
    found = credit_augmentation(learn, NAMES, 1)
    assert found.drawn is not None and found.facts()["used"] and found.facts()["rows"] == 3
    pd.testing.assert_frame_equal(found.drawn.rows, learn[[*NAMES, "defaulted"]].iloc[:3].assign(defaulted=1.0))
    assert found.drawn.is_source.tolist() == (np.arange(2000) % 2 > 0).tolist()


def test_too_few_rows_cost_no_minutes(wanted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    given = answering(monkeypatch, is_allowed=True)
    few = applications(999)
    assert credit_augmentation(few, NAMES, 1).reason.startswith("A generator needs 1,000 rows, 100 of the rarer outcome. Found 999 with")
    rare = pd.concat([few[few["defaulted"] == 0]] * 9).iloc[:1950]
    rare = pd.concat([rare, few[few["defaulted"] > 0].iloc[:50]], ignore_index=True)
    assert credit_augmentation(rare, NAMES, 1).reason.endswith("Found 2,000 with 50.") and not given
