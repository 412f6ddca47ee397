"""`portrait evaluate risk` on a tiny bank: the promised object, what it reads, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.training.credit_shop import START, applications
from training import credit_config
from training import evaluate_risk as evaluate_risk_module
from training.credit_config import CreditConfig
from training.evaluate import CannotEvaluate, evaluate_risk


def bank(folder: Path, rows: int, seed: int = 3) -> Path:
    frame = applications(rows, seed).drop(columns="risk").assign(applied_at=START, outcome_at=START + pd.Timedelta(days=20))
    frame["defaulted"] = np.where(frame["defaulted"] > 0, "true", "false")
    frame.to_csv(folder / "credit_applications.csv", index=False)
    return folder


@pytest.mark.slow
def test_the_risk_of_a_bank_is_measured_beside_tuned_trees_and_a_regression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_risk_module, "TRIALS", 1)
    small = {"parts": 2, "members": 2, "projected": 8, "hidden": 8, "number_dim": 2}
    monkeypatch.setattr(credit_config, "CreditConfig", lambda **chosen: CreditConfig(**small | chosen))
    result = evaluate_risk(source="landing", data=bank(tmp_path, 600), seed=1, thirds=2, epochs=4)
    assert set(result["metrics"]) == {"auc", "ece", "brier", "logloss"} and set(result["baselines"]) == {
        "tuned_boosted_trees",
        "logistic_regression",
    }
    assert result["counts"] == {"applications": 600, "known": 600, "defaults": result["counts"]["defaults"], "columns": 7, "thirds": 2}
    assert result["protected"] == ["x_sex"] and result["seeds"] == [1, 2]
    assert {row["value"] for row in result["fairness"]["groups"]} == {"female", "male"}
    assert result["reasons"]["same_input"] == 1.0 and 0 <= result["calibration"]["thirds_within_95%_of_a_calibrated_model"] <= 2
    for name, row in result["baselines"].items():
        difference = result["differences"][name]["auc"]["mean"]
        assert difference == pytest.approx(result["metrics"]["auc"]["mean"] - row["auc"]["mean"])
    json.dumps(result, allow_nan=False)


def test_a_bank_with_too_few_defaults_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotEvaluate, match=r"Both outcomes need 30 applications\. Source landing gave \d+ defaults among 50\."):
        evaluate_risk(source="landing", data=bank(tmp_path, 50))


def test_a_source_without_applications_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"user_id": ["u"], "item_id": ["i"], "event_type": ["view"], "occurred_at": [START]}).to_csv(
        tmp_path / "events.csv", index=False
    )
    with pytest.raises(CannotEvaluate, match=r"needs the table `credit_applications`\. Source landing gave"):
        evaluate_risk(source="landing", data=tmp_path)
