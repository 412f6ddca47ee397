# ruff: noqa: DTZ001 - the house's times are UTC without a zone
"""Which campaigns count as drawn by chance."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from serving.campaign_files import ASSIGNMENTS, write_table
from sources.shop_campaigns import CAMPAIGNS
from training.effect_chances import NotRandomised, chances_of
from training.randomised import draws, misfit, randomised


def drawn(chances: dict[str, float], rows: int = 2000, seed: int = 0) -> pd.DataFrame:
    arms = list(chances)
    arm = np.random.default_rng(seed).choice(arms, rows, p=list(chances.values()))
    return pd.DataFrame({"campaign_id": "spring", "treatment": arm, "propensity": [chances[one] for one in arm]})


def found(frame: pd.DataFrame) -> np.ndarray:
    return randomised(frame, frame["campaign_id"].to_numpy(object))


SHOP = [dict(zip(plan.arms, plan.propensity, strict=True)) for plan in CAMPAIGNS]
HILLSTROM = dict.fromkeys(("control", "mens_email", "womens_email"), 1 / 3)


@pytest.mark.parametrize("chances", [*SHOP, HILLSTROM, {"control": 0.1, "mail": 0.9}, {"control": 0.99, "mail": 0.01}])
@pytest.mark.parametrize("rows", [40, 2000])
def test_campaigns_drawn_as_logged_are_randomised(chances: dict[str, float], rows: int) -> None:
    for seed in range(50):
        frame = drawn(chances, rows, seed)
        assert found(frame).all() == (frame["treatment"].nunique() > 1 and "control" in set(frame["treatment"]))


def test_chances_that_differ_by_person_are_randomised_and_rounding_is_forgiven() -> None:
    draw = np.random.default_rng(1)
    likely = draw.uniform(0.05, 0.95, 3000)
    is_treated = draw.random(3000) < likely
    frame = pd.DataFrame(
        {"campaign_id": "a", "treatment": np.where(is_treated, "mail", "control"), "propensity": np.where(is_treated, likely, 1 - likely)}
    )
    assert found(frame).all()
    thirds = pd.DataFrame({"campaign_id": "a", "treatment": ["control", "mail", "gift"] * 4000, "propensity": 0.33})
    assert found(thirds).all()


def test_a_campaign_in_which_a_rule_decided_is_not_randomised_whatever_it_logged() -> None:
    rule = pd.DataFrame({"campaign_id": "rule", "treatment": ["control", "mail"] * 500, "propensity": 1.0})
    assert not found(rule).any()
    assert not found(rule.assign(propensity=0.999)).any()


def test_chances_that_are_not_the_shares_of_the_arms_are_not_those_of_a_draw() -> None:
    half = pd.DataFrame({"campaign_id": "half", "treatment": ["control", "mail"] * 500})
    assert not found(half.assign(propensity=0.3)).any()  # together .6
    assert not found(half.assign(propensity=np.where(half["treatment"] == "control", 0.2, 0.8))).any()
    assert found(half.assign(propensity=0.5)).all()


def test_rows_that_could_not_have_been_otherwise_are_left_out_and_the_rest_judged_without_them() -> None:
    frame = pd.concat(
        [drawn({"control": 0.5, "mail": 0.5}), pd.DataFrame({"campaign_id": "spring", "treatment": ["mail"] * 300, "propensity": 1.0})]
    )
    assert found(frame).tolist() == [True] * 2000 + [False] * 300
    offers_only = drawn({"control": 0.1, "mail": 0.9}).assign(propensity=lambda rows: rows["propensity"].where(rows["treatment"] == "mail"))
    assert not found(offers_only).any()


def test_an_arms_count_is_off_by_what_is_beyond_a_tenth_and_four_standard_errors() -> None:
    treatment, propensity = np.array(["control", "mail"] * 200, object), np.full(400, 0.9)
    chance = np.sqrt(400 * 0.1 / 0.9)  # of a sum of 1/p over those drawn with p: (1 - p) / p each
    assert misfit(treatment, propensity) == pytest.approx([-(400 - 200 / 0.9 - 40 - 4 * chance)] * 2)


def test_effects_are_not_claimed_from_a_campaign_in_which_a_rule_decided() -> None:
    for logged in (1.0, 0.999):
        frame = pd.DataFrame({"treatment": ["control", "mail"] * 100, "propensity": logged})
        with pytest.raises(NotRandomised, match=r"200 of 200 rows have none that a draw would have"):
            chances_of(frame, ["control", "mail"], np.zeros((200, 1)), adjust=False, seed=1)
        told = chances_of(frame, ["control", "mail"], np.zeros((200, 1)), adjust=True, seed=1).adjustment
        assert told is not None and told.rows == 200


def own_campaign(folder: Path, rows: int = 3000) -> pd.DataFrame:
    """A campaign of the house as the shop reports it: mail or gift was intended for each, a tenth was held out."""
    draw = np.random.default_rng(5)
    users = [f"u{number:05d}" for number in range(rows)]
    intended = draw.choice(["mail", "gift"], rows)
    is_held = draw.random(rows) < 0.1
    write_table(
        folder / "autumn" / "assignments.parquet",
        {
            "user_id": users,
            "segment": users,
            "intended_offer": intended,
            "arm": np.where(is_held, "control", intended),
            "propensity": np.where(is_held, 0.1, 0.9),
            "assigned_at": [datetime(2024, 3, 5, 9)] * rows,
            "planned_cost": [0.0] * rows,
        },
        ASSIGNMENTS,
    )
    treatment = np.where(is_held, "control", intended)
    return pd.DataFrame(
        {
            "campaign_id": "autumn",
            "user_id": users,
            "assigned_at": pd.Timestamp("2024-03-05"),
            "treatment": treatment,
            "propensity": np.where(is_held, 0.1, 0.9),
            "intended": intended,
        }
    )


def test_of_the_houses_own_campaigns_chance_only_chose_between_the_intended_offer_and_nothing(tmp_path: Path) -> None:
    frame = own_campaign(tmp_path)
    assert not found(frame).any()  # taken for one draw it had chances of .1, .9 and .9
    draw = draws(frame, tmp_path)
    assert (draw == "autumn/" + frame["intended"]).all()
    assert randomised(frame, draw).all()
    chances = chances_of(frame.assign(draw=draw), ["control", "gift", "mail"], np.zeros((len(frame), 1)), adjust=False, seed=1).chances
    wanted = np.where((frame["intended"] == "gift").to_numpy()[:, None], [[0.1, 0.9, 0]], [[0.1, 0, 0.9]])
    np.testing.assert_allclose(chances, wanted)


def test_draws_of_other_campaigns_of_earlier_days_and_of_users_who_were_not_assigned(tmp_path: Path) -> None:
    frame = own_campaign(tmp_path).iloc[:4].copy()
    frame["campaign_id"] = ["winter", "autumn", "autumn", "autumn"]
    frame["assigned_at"] = [pd.Timestamp("2024-03-06"), pd.Timestamp("2024-03-04"), pd.Timestamp("2024-03-06"), pd.Timestamp("2024-03-06")]
    frame.loc[2, "user_id"] = "somebody"
    assert draws(frame, tmp_path).tolist() == ["winter", "autumn", "autumn/", f"autumn/{frame['intended'][3]}"]
