"""The uplift model's run: half of the users teach it, the other half measures what its ranking of people is worth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from training import metrics
from training.encoder import TrainedEncoder
from training.export import export_model
from training.frames import Asked, ask_campaigns, campaign_rows
from training.oracle import MOST_CELLS, ORACLE, house_oracle, question
from training.run_folder import Evidence, TrainingWindow, skip
from training.run_portrait import part_of
from training.served import SavedPredictor, blocks, champion, history_inputs, number_inputs
from training.signatures import UPLIFT, USER_FEATURES, Tensor
from training.uplift import CONTROL, ServedUplift, fit_uplift
from training.uplift_config import UpliftConfig

OUTPUT = {"visited": "visit_uplift", "converted": "conversion_uplift"}


def train_uplift(
    encoder: TrainedEncoder | None, config: UpliftConfig, window: TrainingWindow, seed: int, draft: Path, provenance: dict[str, object]
) -> Evidence:
    """Writes `draft/saved_model` and returns how it did. Raises TrainingSkipped without two arms of enough rows."""
    rows, covariates = campaign_rows(window.end_at)
    if not len(rows):
        raise skip("uplift", window, "`campaign_exposures` has no campaign with a control group whose outcome is known")
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
    outcomes = [name for name in ("visited", "converted", "spend") if rows.loc[kept & ~is_asked, name].notna().any()]
    measured = next((name for name in outcomes if name in OUTPUT), None)
    if measured is None:
        raise skip("uplift", window, "`campaign_exposures` has no outcome `visited` or `converted`")
    learn = ask_campaigns(rows[kept & ~is_asked].reset_index(drop=True))
    test = ask_campaigns(rows[kept & is_asked & rows[measured].notna()].reset_index(drop=True))

    frame = learn.labels.assign(**{name: learn.numbers[:, place] for place, name in enumerate(USER_FEATURES)})
    vectors = encoder.vectors(learn.histories, learn.at_us) if encoder else None
    uplift = fit_uplift(frame, treatments, outcomes, covariates, config, seed, vectors)
    served = ServedUplift(uplift, encoder)
    golden = _inputs(learn, np.arange(min(3, len(frame))), served.extra_inputs)
    facts = {**provenance, "treatments": treatments, "outcomes": outcomes, "covariates": covariates}
    export_model(served, served.serve, UPLIFT, draft / "saved_model", golden=golden, provenance=facts, extra_inputs=served.extra_inputs)
    return _evidence(draft / "saved_model", test, treatments, measured, uplift.curves, seed)


def _evidence(saved_model: Path, test: Asked, treatments: list[str], measured: str, curves: dict[str, list[float]], seed: int) -> Evidence:
    """Qini of each offer against control, averaged over the offers; random targeting has 0."""
    outcome = test.labels[measured].to_numpy(int)
    treatment = test.labels["treatment"].to_numpy(object)
    predicted = {"uplift": _predicted(SavedPredictor(saved_model), test, treatments, measured)}
    if published := champion("uplift"):
        predicted[f"served version {published[0]}"] = _predicted(SavedPredictor(published[1]), test, treatments, measured)
    oracle = house_oracle()
    if oracle and len(outcome) * len(oracle.world.catalogue.leaf) <= MOST_CELLS:
        campaigns = test.labels["campaign_id"].to_numpy(object)
        predicted[ORACLE] = oracle.effects(question(test.histories, test.at_us), campaigns, treatments, measured)

    def figures(name: str, rows: np.ndarray) -> dict[str, float]:
        found = []
        for place, offer in enumerate(treatments):
            own = rows[np.isin(treatment[rows], [offer, CONTROL])]
            found.append(metrics.uplift(outcome[own], predicted[name][own, place], treatment[own] == offer))
        return {key: float(np.mean([one[key] for one in found])) for key in found[0]}

    def qini(name: str) -> metrics.Statistic:
        return lambda rows: figures(name, rows)["qini"]

    everybody = np.arange(len(outcome))
    effects = [
        outcome[treatment == offer].mean() - outcome[treatment == CONTROL].mean() if len(outcome) else np.nan for offer in treatments
    ]
    average = {"uplift@30%": float(np.mean(effects)), "qini": 0.0, "auuc": 0.0}
    shown = {name: figures(name, everybody) for name in predicted} if len(outcome) else {"uplift": dict.fromkeys(average, float("nan"))}
    intervals = {name: _intervals(partial(figures, name), len(outcome), seed) for name in predicted if len(outcome)}
    return Evidence(
        len(outcome),
        qini("uplift"),
        lambda _rows: 0.0,
        qini(f"served version {published[0]}") if published else None,
        {**shown, "random": average},
        note=f"Outcome {measured}, offers {', '.join(treatments)} against control, {len(outcome)} users that the networks never saw.",
        curves=curves,
        tables={f"Effect on {measured}, predicted and seen": _by_fifth(predicted["uplift"], outcome, treatment, treatments)},
        intervals=intervals,
        champion_path=published[1] if published else None,
        samples=200,  # a Qini curve for every resample is dear
    )


def _intervals(figures: Callable[[np.ndarray], dict[str, float]], rows: int, seed: int) -> dict[str, metrics.Interval]:
    keys = list(figures(np.arange(rows)))
    values, drawn = metrics.resample(lambda chosen: np.array(list(figures(chosen).values())), rows, seed, samples=100)
    return {key: metrics.interval(values[place], drawn[:, place]) for place, key in enumerate(keys)}


def _by_fifth(predicted: np.ndarray, outcome: np.ndarray, treatment: np.ndarray, treatments: list[str]) -> list[dict[str, object]]:
    """For each offer the users in fifths by predicted effect, highest first: what was predicted, and treated less control."""
    found = []
    for place, offer in enumerate(treatments):
        own = np.flatnonzero(np.isin(treatment, [offer, CONTROL]))
        order = own[np.argsort(-predicted[own, place], kind="stable")]
        for number, fifth in enumerate(np.array_split(order, 5)):
            is_treated = treatment[fifth] == offer
            if is_treated.any() and not is_treated.all():
                treated, control = outcome[fifth][is_treated], outcome[fifth][~is_treated]
                seen = float(treated.mean() - control.mean())
                width = 1.96 * float(np.sqrt(treated.var() / len(treated) + control.var() / len(control)))
                row = {"offer": offer, "fifth": number + 1, "users": len(fifth), "predicted": float(predicted[fifth, place].mean())}
                found.append({**row, "seen": seen, "95 % range": [seen - width, seen + width]})
    return found


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
                predicted[rows, place] = np.nan_to_num(answer[OUTPUT[measured]][:, offers.index(offer)])
    return predicted
