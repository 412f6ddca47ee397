"""The uplift model's run: half of the users teach it, the other half measures what its ranking of people is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from training.encoder import TrainedEncoder
from training.export import export_model
from training.frames import Asked, ask_campaigns, campaign_rows
from training.oracle import MOST_CELLS, ORACLE, house_oracle, question
from training.randomised import CONTROL
from training.run_folder import Evidence, TrainingWindow, skip
from training.run_portrait import part_of
from training.served import SavedPredictor, blocks, champion, history_inputs, number_inputs
from training.signatures import UPLIFT, USER_FEATURES, Tensor
from training.uplift import OUTPUTS, Uplift, fit_uplift
from training.uplift_config import UpliftConfig
from training.uplift_evidence import Trial, evidence, learned_by_boosting
from training.uplift_served import ServedUplift

MEASURED = ("visited", "converted")


def train_uplift(
    encoder: TrainedEncoder | None, config: UpliftConfig, window: TrainingWindow, seed: int, draft: Path, provenance: dict[str, object]
) -> Evidence:
    """Writes `draft/saved_model` and returns how it did. Raises TrainingSkipped without two arms of enough rows, and where no campaign was
    randomised and nobody said to adjust."""
    rows, covariates = campaign_rows(window.end_at)
    if not len(rows):
        raise skip("uplift", window, "`campaign_exposures` has no campaign with a control group whose outcome is known")
    if not config.adjust:
        is_randomised = rows["propensity"].notna()
        if not is_randomised.any():
            raise skip(
                "uplift",
                window,
                f"none of the {len(rows)} rows of `campaign_exposures` was randomised (`propensity` is empty, or not that of a draw), so "
                "that no effect can be claimed. Deliver propensities, or set PORTRAIT_UPLIFT_ADJUST=true to estimate them from what is "
                "known",
            )
        rows = rows[is_randomised].reset_index(drop=True)
    is_asked = part_of(rows["user_id"], seed) < 0.5
    arms = rows[~is_asked].groupby("treatment").size()
    treatments = sorted(arms.index[(arms >= config.min_arm_rows) & (arms.index != CONTROL)])
    if not treatments or arms.get(CONTROL, 0) < config.min_arm_rows:
        raise skip(
            "uplift",
            window,
            f"`campaign_exposures` needs {config.min_arm_rows} users in control and in one offer to learn from. Found {arms.to_dict()}",
        )
    kept = rows["treatment"].isin([CONTROL, *treatments])
    outcomes = [name for name in OUTPUTS if rows.loc[kept & ~is_asked, name].notna().any()]
    measured = next((name for name in outcomes if name in MEASURED), None)
    if measured is None:
        raise skip("uplift", window, "`campaign_exposures` has no outcome `visited` or `converted`")
    learn = ask_campaigns(rows[kept & ~is_asked].reset_index(drop=True))
    test = ask_campaigns(rows[kept & is_asked & rows[measured].notna()].reset_index(drop=True))

    frame, vectors = _frame(learn), encoder.vectors(learn.histories, learn.at_us) if encoder else None
    uplift = fit_uplift(frame, treatments, outcomes, covariates, config, seed, vectors)
    served = ServedUplift(uplift, encoder)
    golden = _inputs(learn, np.arange(min(3, len(frame))), served.extra_inputs)
    provenance |= {"randomised": "yes" if uplift.adjustment is None else uplift.adjustment.as_text()}
    facts = {**provenance, "treatments": treatments, "outcomes": outcomes, "covariates": covariates}
    export_model(served, served.serve, UPLIFT, draft / "saved_model", golden=golden, provenance=facts, extra_inputs=served.extra_inputs)
    return _evidence(draft / "saved_model", uplift, learn, test, encoder, measured, seed)


def _evidence(
    saved_model: Path, uplift: Uplift, learn: Asked, test: Asked, encoder: TrainedEncoder | None, measured: str, seed: int
) -> Evidence:
    """How the exported model, the served one, boosted learners and the oracle order the users that none of them learned from."""
    matrices = [
        uplift.covariates.matrix(
            uplift.covariates.inputs(_frame(part), encoder.vectors(part.histories, part.at_us) if encoder and len(part.labels) else None)
        )
        for part in (learn, test)
    ]
    adjust = uplift.adjustment is not None
    taught = Trial.of(learn.labels, uplift.treatments, measured, matrices[0], adjust, seed)
    trial = Trial.of(test.labels, uplift.treatments, measured, matrices[1], adjust, seed)
    predicted = {"uplift": _predicted(SavedPredictor(saved_model), test, uplift.treatments, measured)}
    published = champion("uplift")
    if published:
        predicted[f"served version {published[0]}"] = _predicted(SavedPredictor(published[1]), test, uplift.treatments, measured)
    predicted |= learned_by_boosting(taught, matrices[0], matrices[1], seed)
    oracle = house_oracle()
    if oracle and len(test.labels) * len(oracle.world.catalogue.leaf) <= MOST_CELLS:
        campaigns = test.labels["campaign_id"].to_numpy(object)
        predicted[ORACLE] = oracle.effects(question(test.histories, test.at_us), campaigns, uplift.treatments, measured)
    return evidence(trial, predicted, uplift, measured, published, seed)


def _frame(asked: Asked) -> pd.DataFrame:
    """The rows' labels with USER_FEATURES as columns."""
    return asked.labels.assign(**{name: asked.numbers[:, place] for place, name in enumerate(USER_FEATURES)})


def _inputs(asked: Asked, rows: np.ndarray, extra_inputs: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    part = asked[rows]
    inputs = history_inputs(part.histories, part.at_us) | number_inputs(part.numbers)
    for tensor in extra_inputs:
        column = part.labels[tensor.name]
        inputs[tensor.name] = column.fillna("").astype(str).to_numpy(object) if tensor.dtype == "string" else column.to_numpy(np.float32)
    return inputs


def _predicted(model: SavedPredictor, test: Asked, treatments: list[str], measured: str) -> np.ndarray:
    """Uplift on `measured` in the order of `treatments`, `(rows, treatments)`; 0 for offers and covariates that the model does not know."""
    predicted = np.zeros((len(test.labels), len(treatments)))
    known = {*(tensor.name for tensor in UPLIFT.inputs)}
    for rows in blocks(len(predicted)):
        own = [Tensor(name, spec.dtype.name, ("batch",), "") for name, spec in model.inputs.items() if name not in known]
        if any(tensor.name not in test.labels for tensor in own):
            return predicted
        answer = model(_inputs(test, rows, tuple(own)))
        offers = list(answer["treatments"][0])
        for place, offer in enumerate(treatments):
            if offer in offers:
                predicted[rows, place] = np.nan_to_num(answer[OUTPUTS[measured]][:, offers.index(offer)])
    return predicted
