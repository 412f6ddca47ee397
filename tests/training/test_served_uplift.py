"""The exported uplift model and its networks, and which version is the champion."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.training.conftest import make_histories
from tests.training.test_served_models import declared, raw, signature_of
from training.signatures import UPLIFT, USER_FEATURES

pytestmark = pytest.mark.slow


def campaign(rows: int = 4000) -> pd.DataFrame:
    """`mail` adds .3 to the visits of people with a high x_score and takes .1 from the others; `gift` does nothing."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user_id": [f"u{row}" for row in range(rows)],
            "treatment": random.choice(["control", "mail", "gift"], rows),
            "propensity": 1 / 3,
            "x_score": random.uniform(0, 1, rows),
            "x_town": random.choice(["north", "south"], rows),
            "spend": random.exponential(2.0, rows),
        }
    )
    effect = np.where(frame["treatment"] == "mail", np.where(frame["x_score"] > 0.5, 0.3, -0.1), 0.0)
    frame["visited"] = (random.uniform(size=rows) < 0.3 + effect).astype(float)
    frame.loc[frame["treatment"] == "mail", "spend"] += 1.0
    return frame


@pytest.fixture(scope="module")
def uplift():
    from training.uplift import fit_uplift
    from training.uplift_config import UpliftConfig

    return fit_uplift(campaign(), ["gift", "mail"], ["visited", "spend"], ["x_score", "x_town"], UpliftConfig(), seed=1)


def test_the_planted_effect_is_found_where_it_was_planted(uplift):
    people = pd.DataFrame({"x_score": np.linspace(0, 1, 100), "x_town": ["north", "south"] * 50})
    added = uplift.predict(people)
    assert added["visited"].mean[50:, 1].mean() == pytest.approx(0.3, abs=0.08)
    assert added["visited"].mean[:50, 1].mean() == pytest.approx(-0.1, abs=0.08)
    assert added["visited"].mean[:, 0].mean() == pytest.approx(0.0, abs=0.06)
    assert added["spend"].mean[:, 1].mean() == pytest.approx(1.0, abs=0.3)


def test_intervals_stand_around_the_effects_and_are_as_wide_as_the_campaign_is_uncertain(uplift):
    """Nobody's effect on money is told apart, so that the average counts: as the plain difference says, and no surer than it is."""
    frame = campaign()
    added = uplift.predict(frame)
    for effects in added.values():
        assert (effects.low <= effects.mean).all()
        assert (effects.mean <= effects.high).all()
    mail, control = (frame["spend"][frame["treatment"] == arm] for arm in ("mail", "control"))
    error = np.sqrt(mail.var() / len(mail) + control.var() / len(control))
    spend = added["spend"]
    assert spend.mean[:, 1].mean() == pytest.approx(mail.mean() - control.mean(), abs=0.5 * error)
    assert ((spend.high - spend.low)[:, 1] / 2).min() > 1.96 * 0.9 * error


def test_where_people_chose_for_themselves_the_plain_difference_is_wrong_and_the_adjusted_effect_right():
    """Whoever buys a lot anyway asks for the mail: it seems to add .28 to the visits and adds .1."""
    from training.effect_chances import NotRandomised
    from training.uplift import fit_uplift
    from training.uplift_config import UpliftConfig

    random = np.random.default_rng(4)
    loyal = random.normal(size=6000)
    likely = 1 / (1 + np.exp(-loyal))
    is_treated = random.random(6000) < likely
    visited = random.random(6000) < np.clip(0.1 + 0.5 * likely, 0, 1) + 0.1 * is_treated
    frame = pd.DataFrame(
        {"treatment": np.where(is_treated, "mail", "control"), "propensity": np.nan, "visited": visited.astype(float), "x_loyal": loyal}
    )
    naive = frame["visited"][is_treated].mean() - frame["visited"][~is_treated].mean()
    assert naive > 0.17
    asked = frame, ["mail"], ["visited"], ["x_loyal"]
    with pytest.raises(NotRandomised, match="6000 of 6000 rows have none"):
        fit_uplift(*asked, UpliftConfig(), seed=1)
    fitted = fit_uplift(*asked, UpliftConfig(adjust=True), seed=1)
    assert fitted.calibration.average[0, 0] == pytest.approx(0.1, abs=2.5 * fitted.calibration.average_error[0, 0])
    assert fitted.calibration.average_error[0, 0] < 0.02
    assert fitted.adjustment.as_text().startswith("NOT RANDOMISED")


def test_the_exported_uplift_takes_the_shops_covariates_and_says_what_the_networks_say(uplift, encoder, tmp_path):
    from training.export import export_model
    from training.served import SavedPredictor, number_inputs
    from training.uplift_served import ServedUplift

    served = ServedUplift(uplift, None)
    assert [(tensor.name, tensor.dtype) for tensor in served.extra_inputs] == [("x_score", "float32"), ("x_town", "string")]
    people = pd.DataFrame({"x_score": [0.9, 0.1, np.nan], "x_town": ["north", "elsewhere", "south"]})
    inputs = raw(make_histories({"a": [1], "b": [], "c": [2, 3]})) | number_inputs(np.full((3, len(USER_FEATURES)), np.nan))
    inputs |= {"x_score": people["x_score"].to_numpy(np.float32), "x_town": people["x_town"].to_numpy(object)}
    export_model(served, served.serve, UPLIFT, tmp_path / "m", golden=inputs, provenance={}, extra_inputs=served.extra_inputs)
    names, outputs = signature_of(tmp_path / "m")
    assert names == declared(UPLIFT.inputs, UPLIFT.outputs)[0] | {"x_score": ("float32", 1), "x_town": ("string", 1)}
    assert outputs == declared(UPLIFT.inputs, UPLIFT.outputs)[1]
    answer = SavedPredictor(tmp_path / "m")(inputs)
    assert answer["treatments"].tolist() == [["gift", "mail"]] * 3
    expected = uplift.predict(people)
    for output, effects in (("visit_uplift", expected["visited"]), ("spend_uplift", expected["spend"])):
        np.testing.assert_allclose(answer[output], effects.mean, atol=1e-5)
        np.testing.assert_allclose(answer[f"{output}_low"], effects.low, atol=1e-5)
        np.testing.assert_allclose(answer[f"{output}_high"], effects.high, atol=1e-5)
    for name in ("conversion_uplift", "conversion_uplift_low", "conversion_uplift_high"):
        assert np.isnan(answer[name]).all()  # the campaign did not tell


def test_an_arm_without_rows_is_refused_by_name():
    from training.uplift import fit_uplift
    from training.uplift_config import UpliftConfig

    frame = pd.DataFrame({"treatment": ["mail", "mail"], "visited": [1.0, 0.0]})
    with pytest.raises(ValueError, match=r"Every arm must have rows\. Received none for \['control'\]; `treatment` holds \['mail'\]"):
        fit_uplift(frame, ["mail"], ["visited"], [], UpliftConfig(), seed=1)


def test_the_champion_is_the_version_that_answers_users_and_not_the_highest_number(house):
    from training.served import champion

    assert champion("uplift") is None
    for number in (1, 2, 10):
        (house / "models" / "uplift" / str(number)).mkdir(parents=True)
    assert champion("uplift") == (10, house / "models" / "uplift" / "10")
    (house / "releases").mkdir()
    for stable in (2, None):
        (house / "releases" / "uplift.json").write_text(json.dumps({"stable": stable, "canary": 10}))
        assert champion("uplift") == ((2, house / "models" / "uplift" / "2") if stable else None)
