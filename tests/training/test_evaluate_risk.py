"""`portrait evaluate risk` on a tiny bank: the promised object, what it reads, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.training.credit_shop import START, applications
from training import credit_config
from training import evaluate_risk as evaluate_risk_module
from training.credit_config import CreditConfig
from training.evaluate import CannotEvaluate, evaluate_risk
from training.splits import folds_of

NAMES = ["amount", "x_debt", "x_job"]


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
    assert result["true_risk"] == {} and not result["is_simulated"]  # nobody knows a bank's
    assert {row["value"] for row in result["fairness"]["groups"]} == {"female", "male"}
    assert result["reasons"]["same_input"] == 1.0 and 0 <= result["calibration"]["thirds_within_95%_of_a_calibrated_model"] <= 2
    for name, row in result["baselines"].items():
        difference = result["differences"][name]["auc"]["mean"]
        assert difference == pytest.approx(result["metrics"]["auc"]["mean"] - row["auc"]["mean"])
    json.dumps(result, allow_nan=False)


@pytest.mark.slow
def test_on_the_simulated_shop_probabilities_are_held_against_the_true_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from training import credit, oracle
    from training.credit_columns import CreditColumns

    shop = applications(900, 5)
    told = shop.drop(columns="risk").assign(ds=START.date(), defaulted=shop["defaulted"] > 0)
    monkeypatch.setattr(evaluate_risk_module, "TRIALS", 1)
    monkeypatch.setattr(evaluate_risk_module, "landing_tables", lambda *_: {"credit_applications": pa.Table.from_pandas(told)})
    truth = shop[["application_id", "risk"]].rename(columns={"risk": "default_probability"})
    monkeypatch.setattr(oracle, "shop_credit_risk", lambda seed, options: truth.sample(frac=1, random_state=1))  # in another order

    class HalfRight:
        """Says .1 more than is true, of half the people; of the others the same for all."""

        def __init__(self, learn: pd.DataFrame, names: list[str], *_: object) -> None:
            self.columns = CreditColumns.of(learn, names, 9)
            self.reference = {kind: values[:1] for kind, values in self.columns.inputs(learn).items()}

        def predict(self, asked: pd.DataFrame) -> np.ndarray:
            risk = asked["application_id"].map(truth.set_index("application_id")["default_probability"]).to_numpy()
            return np.where(asked["application_id"].str[-1].astype(int) % 2, risk + 0.1, 0.4)

        def log_odds(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
            return np.zeros(len(inputs["numbers"]))

    monkeypatch.setattr(credit, "fit_credit", HalfRight)
    result = evaluate_risk(source="shop", data=None, seed=4, thirds=2)
    expected: dict[str, list[float]] = {"rank_correlation": [], "absolute_error": [], "mean_error": []}
    for seed in (4, 5):
        asked = shop[folds_of(shop["defaulted"].to_numpy(), 3, seed) == 0]
        said, risk = HalfRight(asked, NAMES).predict(asked), asked["risk"].to_numpy()
        ranks = [pd.Series(values).rank().to_numpy() for values in (said, risk)]
        expected["rank_correlation"].append(np.corrcoef(*ranks)[0, 1])
        expected["absolute_error"].append(np.abs(said - risk).mean())
        expected["mean_error"].append((said - risk).mean())
    own = result["true_risk"]["risk"]
    assert {name: own[name]["mean"] for name in expected} == pytest.approx({name: np.mean(two) for name, two in expected.items()})
    assert 0 < own["calibration_error"]["mean"] < own["absolute_error"]["mean"]
    assert set(result["true_risk"]) == {"risk", "tuned_boosted_trees", "logistic_regression"}
    assert result["baselines"]["oracle"]["auc"]["mean"] > result["metrics"]["auc"]["mean"]
    assert result["is_simulated"] and set(result["meaning"]) < set(result)
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
