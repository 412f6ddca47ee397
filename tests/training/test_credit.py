"""The credit network: what it learns, what its groups never see, its served form, and its run. TensorFlow: slow."""

import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from serving.model_server.operations import check, read_allowed
from settings import get_settings
from tests.training.credit_shop import START, applications, as_mart
from tests.training.fake_features import FakeFeatures, events_of, no_labels
from tests.training.test_served_models import declared, signature_of
from training.credit_config import CreditConfig
from training.credit_explain import directions
from training.run_folder import TrainingWindow
from training.signatures import CREDIT_BEHAVIOUR, EXPLAIN, RISK, SCORE

pytestmark = pytest.mark.slow

SMALL = CreditConfig(parts=3, members=4, projected=12, hidden=12, number_dim=4, batch=64, epochs=25, learning_rate=0.01)
NAMES = ["amount", "x_debt", "x_late_1", "x_late_2", "x_late_3", "x_late_4", "x_job"]
WINDOW = (date(2024, 1, 1), date(2024, 3, 1))


@pytest.fixture(scope="module")
def credit():
    from training.credit import fit_credit

    return fit_credit(applications(900), NAMES, SMALL, seed=1)


def test_risk_is_found_where_it_was_planted_and_the_probabilities_mean_it(credit):
    from training.metrics import auc, ece

    asked = applications(1500, seed=9)
    chances, truth = credit.predict(asked), asked["defaulted"].to_numpy()
    best = auc(truth > 0, asked["risk"].to_numpy())
    assert auc(truth > 0, chances) > best - 0.03
    assert ece(truth > 0, chances) < 0.06


def test_each_rows_unseen_probability_is_that_of_the_group_that_never_saw_it(credit):
    from training.credit import _chances, log_odds_of
    from training.splits import folds_of

    frame = applications(900)
    own = _chances(credit.network, credit.columns.inputs(frame))[np.arange(900), folds_of(frame["defaulted"].to_numpy(np.float32), 3, 1)]
    expected = 1 / (1 + np.exp(-(credit.slope * log_odds_of(own) + credit.shift)))
    np.testing.assert_allclose(credit.unseen, expected, atol=1e-6)


def test_a_group_learns_nothing_from_its_own_part():
    """Other outcomes of the rows that group 0 may not learn from change every group but group 0."""
    import keras

    from training.credit_columns import CreditColumns
    from training.credit_network import TaughtLoss, build_credit
    from training.credit_series import Series

    frame = applications(192)
    columns = CreditColumns.of(frame, NAMES, 30)
    inputs, held = columns.inputs(frame), np.arange(192)[:, None] % 3 == np.arange(3)

    def kernels(truth: np.ndarray) -> np.ndarray:
        keras.utils.set_random_seed(1)
        network = build_credit(inputs["numbers"], columns.sizes, Series.of(columns.numbers, inputs["numbers"]), SMALL, seed=1)
        network.compile(optimizer=keras.optimizers.AdamW(0.01), loss=TaughtLoss())
        network.fit(inputs, np.column_stack([truth, ~held]).astype(np.float32), batch_size=64, epochs=2, shuffle=False, verbose=0)
        return next(np.array(weight) for weight in network.trainable_weights if weight.name == "kernel_1")

    truth = frame["defaulted"].to_numpy()
    first, second = kernels(truth), kernels(np.where(held[:, 0], 1 - truth, truth))
    assert np.array_equal(first[0], second[0])
    assert not np.allclose(first[1], second[1], atol=1e-4) and not np.allclose(first[2], second[2], atol=1e-4)


def test_the_served_model_says_what_the_network_says_and_its_effects_add_up(credit, tmp_path):
    from training.credit_served import ServedCredit
    from training.export import export_model
    from training.run_credit import inputs_of
    from training.served import SavedPredictor

    served, people = ServedCredit(credit, ["mind this"]), applications(5, seed=4)
    people.loc[0, ["x_debt", "x_job"]] = [np.nan, None]
    people.loc[1, "x_job"] = "astronaut"
    inputs = inputs_of(people, (*RISK.inputs, *served.extra_inputs))
    export_model(
        served, served.score, RISK, tmp_path / "m", explain=served.explain, golden=inputs, provenance={}, extra_inputs=served.extra_inputs
    )
    check(tmp_path / "m", read_allowed())  # the model server takes it
    names, outputs = signature_of(tmp_path / "m")
    assert outputs == declared(RISK.inputs, RISK.outputs)[1]
    assert set(names) == {*NAMES, *CREDIT_BEHAVIOUR}  # x_sex is no input: nobody can send it
    model = SavedPredictor(tmp_path / "m")
    answer, scored = model(inputs), model.asked_by(SCORE)(inputs)
    np.testing.assert_allclose(answer["default_probability"], credit.predict(people), atol=1e-5)
    np.testing.assert_allclose(scored["default_probability"], answer["default_probability"])
    explained = model.asked_by(EXPLAIN)(inputs)
    assert {name: len(np.shape(values)) for name, values in explained.items()} == {t.name: len(t.dims) for t in RISK.explain_outputs}
    assert explained["groups"][0].tolist() == ["amount", "x_debt", "x_late", "x_job"] and explained["warnings"][0].tolist() == ["mind this"]
    np.testing.assert_allclose(explained["effects"], credit.explain(people), atol=1e-4)
    sides = directions(credit.columns.inputs(people), credit.reference, credit.columns)
    assert explained["directions"].tolist() == sides.tolist() and sides[0, 1] == "unknown" and sides[0, 3] == sides[1, 3] == "other"
    np.testing.assert_allclose(explained["effects"].sum(axis=1) + explained["reference_log_odds"], explained["log_odds"], atol=1e-4)
    strongest = explained["effects"].mean(axis=0)
    assert np.argmax(strongest) == 2  # late months decide


def test_a_saved_network_is_loaded_again(credit, tmp_path):
    import keras

    from training.credit_network import CreditEnsemble

    credit.network.save(tmp_path / "n.keras")
    again = keras.models.load_model(tmp_path / "n.keras", custom_objects={"CreditEnsemble": CreditEnsemble}, compile=False)
    inputs = credit.columns.inputs(applications(7))
    np.testing.assert_allclose(again.predict_on_batch(inputs), credit.network.predict_on_batch(inputs), atol=1e-6)


def test_drawn_rows_teach_every_group_and_nothing_is_judged_by_them_or_by_rows_they_came_from(monkeypatch: pytest.MonkeyPatch):
    import keras

    from training import credit as credit_module
    from training.credit_augmentation import DrawnRows

    given, real_fit, real_platt = {}, keras.Model.fit, credit_module.platt

    def fit(self, inputs, taught, **more):
        given.update(amount=inputs["numbers"][:, 0], taught=taught)
        return real_fit(self, inputs, taught, **more)

    def platt(odds, truth):
        given.update(calibrated=truth)
        return real_platt(odds, truth)

    monkeypatch.setattr(keras.Model, "fit", fit)
    monkeypatch.setattr(credit_module, "platt", platt)
    real, is_source = applications(400), np.arange(400) % 5 > 1
    drawn = applications(96, seed=8).assign(amount=-1.0, defaulted=1.0)
    config = CreditConfig(**SMALL.to_dict() | {"epochs": 1, "batch": 31})  # 496 rows in whole batches
    credit_module.fit_credit(real, NAMES, config, 1, drawn=DrawnRows(drawn, is_source))
    is_drawn = given["amount"] == -1.0
    assert (len(is_drawn), is_drawn.sum()) == (496, 96)
    assert (given["taught"][is_drawn] == 1).all()  # they defaulted, and every group may learn from them
    assert (given["taught"][~is_drawn, 1:].sum(axis=1) == 2).all()  # a real row is kept from one of three groups, as ever
    assert given["calibrated"].tolist() == real["defaulted"][~is_source].tolist()


def test_a_groups_epoch_goes_by_its_own_rows_that_the_generator_never_saw_at_their_own_share_of_defaults(monkeypatch: pytest.MonkeyPatch):
    from training import credit as credit_module

    truth = np.array([1.0, 0.0, 0.0, 0.0])
    monkeypatch.setattr(credit_module, "_chances", lambda model, inputs: np.array([[0.5], [0.5], [0.9], [0.9]]))
    best = credit_module._BestOfGroups({}, truth, np.ones((4, 1), bool), np.array([True, True, False, False]), np.log(3.0), 5, None)
    best.set_model(type("Network", (), {"trainable_weights": []})())
    best.on_epoch_end(0)
    # odds of 1 among rows of which three times as many default are odds of 1 to 3 among the real ones
    assert best.curve == [pytest.approx(-(np.log(0.25) + np.log(0.75)) / 2)]


def test_one_outcome_alone_teaches_nothing():
    from training.credit import fit_credit

    with pytest.raises(ValueError, match=r"Both outcomes need two rows\. Received 0 defaults among 50 applications"):
        fit_credit(applications(50).assign(defaulted=0.0), NAMES, SMALL, seed=1)


@pytest.fixture
def shop(house, monkeypatch):
    from training import credit_rows, frames

    def install(mart: pd.DataFrame, traits: pd.DataFrame | None = None) -> None:
        marts = {**no_labels(), "credit_outcomes": mart} | ({} if traits is None else {"trait_labels": traits})
        fake = FakeFeatures(events_of(3, 4, days=0), marts)
        for name in ("training_frame", "rows_as_of", "read_mart"):
            monkeypatch.setattr(frames, name, getattr(fake, name))
        for name in ("training_frame", "read_mart"):
            monkeypatch.setattr(credit_rows, name, getattr(fake, name))

    return install


def test_a_house_with_applications_alone_gets_a_judged_model_that_reads_nothing_protected(shop, monkeypatch):
    from training import credit_augmentation, gan_augmentation
    from training.gan.verdict import Use
    from training.runs import train_encoder, train_model

    given: list[pd.DataFrame] = []

    def augment(table: pd.DataFrame, target: str, seed: int) -> gan_augmentation.Augmented:
        given.append(table)
        rows = pd.concat([table, table[table[target] > 0].iloc[:20]], ignore_index=True)
        step = {"average_precision_lift": {"mean": 0.02, "low": 0.01, "high": 0.03}}
        return gan_augmentation.Augmented(rows, 20, Use(True, ("it helps",)), np.arange(len(table)) % 2 > 0, step)

    monkeypatch.setenv("PORTRAIT_CREDIT_AUGMENTATION", "true")
    get_settings.cache_clear()
    monkeypatch.setattr(credit_augmentation, "LEAST_ROWS", 100)
    monkeypatch.setattr(gan_augmentation, "augment", augment)
    shop(as_mart(applications(600)))
    encoder = train_encoder(WINDOW, {"seed": 1})
    run = train_model("risk", encoder.path, WINDOW, {"seed": 1, "epochs": 6})
    facts = json.loads((run.path / "saved_model/assets.extra/provenance.json").read_text())
    verdict, told = (json.loads((run.path / name).read_text()) for name in ("verdict.json", "metrics.json"))
    assert told["augmentation"]["used"] and (told["augmentation"]["rows"], told["augmentation"]["reason"]) == (20, "it helps")
    assert len(given[0]) + verdict["figures"]["rows"] == 600 and "x_sex" not in given[0]  # what is asked teaches no generator
    assert facts["drawn_rows"] == 20
    assert facts["protected"] == ["x_sex"] and facts["columns"] == NAMES[:1] + sorted(NAMES[1:])
    assert "accepted applicants alone" in facts["warnings"][0]
    assert run.promoted and verdict["figures"]["metric"] == "auc"
    report = (run.path / "report.html").read_text()
    assert "Fairness not measured" not in verdict["reason"] + str(facts["warnings"])
    assert "Fairness, by groups of at least 30" in report and "sex" in report and "reject inference" in report
    assert "Drawn defaults beside the real ones" in report and "it helps" in report and "0.0200, 0.0100, 0.0300" in report


def test_fairness_is_measured_by_what_users_had_declared_at_application_and_not_read(shop):
    from training.credit_rows import credit_rows, with_declared

    rows = applications(100).drop(columns="x_sex")
    day = timedelta(days=1)
    told = [("u00000", "gender", "f", START - day), ("u00001", "gender", "m", START + day), ("u00002", "gender", "m", None)]
    told += [("u00003", "colour", "red", None), ("u00003", "job", "none", None)]
    shop(as_mart(rows), pd.DataFrame(told, columns=["user_id", "trait", "value", "known_at"]))
    known = credit_rows(TrainingWindow(*WINDOW).end_at)
    assert "x_gender" not in known.columns and "x_gender" not in known.known
    found = with_declared(known.known, ("x_gender", "x_job"))
    assert found["x_gender"].fillna("").tolist()[:4] == ["f", "", "m", ""]
    assert set(found) == {*known.known, "x_gender"} and found["x_job"].equals(known.known["x_job"])  # its own column stands


def test_a_run_that_can_measure_no_fairness_says_so_wherever_its_verdict_is_read(shop):
    from training.runs import train_encoder, train_model

    shop(as_mart(applications(300).drop(columns="x_sex")))
    encoder = train_encoder(WINDOW, {"seed": 1})
    run = train_model("risk", encoder.path, WINDOW, {"seed": 1, "epochs": 2})
    said = "Fairness not measured: neither applications nor declared traits tell a protected column (x_sex, "
    assert said in json.loads((run.path / "verdict.json").read_text())["reason"]
    assert said in (run.path / "report.html").read_text()
    assert said in json.loads((run.path / "saved_model/assets.extra/provenance.json").read_text())["warnings"][-1]


def test_a_shop_without_enough_outcomes_is_skipped_by_name_with_the_reason(shop, house):
    from training.runs import TrainingSkipped, train_encoder, train_model

    shop(as_mart(applications(59)))
    encoder = train_encoder(WINDOW, {"seed": 1})
    with pytest.raises(TrainingSkipped, match=r"risk: `credit_applications` needs 60 known outcomes, 10 of them defaults .*Found 59 with"):
        train_model("risk", encoder.path, WINDOW, {"seed": 1})
    assert json.loads((house / "candidates" / "risk" / "skipped.json").read_text())["model"] == "risk"


def test_applications_whose_outcome_was_not_known_yet_teach_nothing(shop):
    from training.credit_rows import credit_rows

    shop(as_mart(applications(100)))
    assert len(credit_rows(TrainingWindow(*WINDOW).end_at)) == 100
    early = credit_rows(TrainingWindow(date(2024, 1, 1), date(2024, 1, 21)).end_at)
    assert len(early) == 1  # the first alone is 20 days old at the midnight that ends the window
