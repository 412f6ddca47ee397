"""A trainer gets synthetic rows only where they help; else its own rows and the reason."""

import numpy as np
import pandas as pd
import pytest

import training.gan_augmentation as augmentation
from training.gan.config import GanConfig
from training.gan.monitors import CollapsedGan

QUICK = {"max_iter": 40, "max_leaf_nodes": 7}


def rows(count: int, seed: int, rare: float = 0.04) -> pd.DataFrame:
    """A rare class that lies where the sum of six numbers is large."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(random.normal(size=(count, 6)), columns=list("abcdef"))
    total = table.sum(axis=1) + random.normal(0, 0.5, count)
    return table.assign(bad=(total > np.quantile(total, 1 - rare)).astype(int))


class Oracle:
    """Draws rows as they truly are, or shuffled ones of which nothing can be learned."""

    is_true = True

    def __init__(self, table: pd.DataFrame, *_: object, **__: object) -> None:
        self.table = table

    def sample_table(self, count: int, seed: int) -> pd.DataFrame:
        table = rows(count, seed + 100)
        if self.is_true:
            return table
        return table.assign(**{name: np.random.default_rng(seed).permutation(table[name]) for name in "abcdef"})


def unaided(gan: object, real: pd.DataFrame, seed: int, target: str) -> object:
    """The generator alone, so that what it draws decides."""
    from training.gan.synthesis import Synthesis, rare_rows

    return Synthesis(gan, rare_rows(real))


def test_rows_that_help_are_taken_and_stand_behind_the_trainers_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(augmentation, "fit_gan", Oracle)
    monkeypatch.setattr(augmentation, "synthesis_of", unaided)
    monkeypatch.setattr(augmentation, "tune", lambda *_: QUICK)
    monkeypatch.setattr(augmentation, "lift", lambda *_: {"average_precision_lift": {"mean": 0.02, "low": 0.01, "high": 0.03}})
    given = rows(3000, 1)
    found = augmentation.augment(given, "bad", 7, GanConfig())
    assert found.use.allowed
    assert found.added == 120
    pd.testing.assert_frame_equal(found.table.iloc[:3000], given)
    assert (found.table["bad"].iloc[3000:] == 1).all()
    assert found.is_source.sum() == 1800  # three of five parts: the others are unseen by the generator


def test_the_lift_is_that_of_the_average_precision_beside_the_same_rows_alone():
    from sklearn.metrics import average_precision_score

    from training.gan.augment import DRAWS, lift
    from training.gan.utility import predicted

    learn, held = rows(1200, 1, 0.1), rows(1000, 2, 0.1)
    drawn = unaided(Oracle(learn), learn, 0, "bad")
    found = lift(learn, held, "bad", drawn, QUICK, 5, samples=50)

    def precision(table: pd.DataFrame) -> float:
        return float(average_precision_score(held["bad"], predicted(table, held, "bad", QUICK, 5)[0][:, 1]))

    more = [precision(pd.concat([learn, drawn.draw(120, 5 + number, {"bad": 1}).table], ignore_index=True)) for number in range(DRAWS)]
    assert found["average_precision_alone"]["mean"] == pytest.approx(precision(learn))
    assert found["average_precision_lift"]["mean"] == pytest.approx(np.mean(more) - precision(learn))
    assert found["average_precision_lift"]["low"] < found["average_precision_lift"]["mean"] < found["average_precision_lift"]["high"]


def test_rows_that_do_not_help_are_refused_and_the_table_stays_as_it_was(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(augmentation, "fit_gan", Oracle)
    monkeypatch.setattr(augmentation, "synthesis_of", unaided)
    monkeypatch.setattr(augmentation, "tune", lambda *_: QUICK)
    monkeypatch.setattr(Oracle, "is_true", False)
    given = rows(2000, 1)
    found = augmentation.augment(given, "bad", 7, GanConfig())
    assert not found.use.allowed
    assert found.use.reasons[0].startswith("average precision of the rare class on held-out rows changes by")
    assert found.table is given and found.added == 0


def test_a_gan_that_collapsed_leaves_the_trainer_its_own_rows(monkeypatch: pytest.MonkeyPatch):
    def collapsed(*_: object, **__: object) -> None:
        raise CollapsedGan("3 runs collapsed")

    monkeypatch.setattr(augmentation, "fit_gan", collapsed)
    given = rows(500, 1)
    found = augmentation.augment(given, "bad", 7, GanConfig())
    assert (found.table is given, found.use.allowed, found.use.reasons) == (True, False, ("3 runs collapsed",))
