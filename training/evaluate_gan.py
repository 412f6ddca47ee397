"""What synthetic rows of a table would be worth: the GAN is fitted on a part, its rows are judged on rows that nothing learned from."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluation import CannotEvaluate, evaluation

if TYPE_CHECKING:
    import pandas as pd

    from training.gan.verdict import Verdict

TEST_PARTS = 5


def evaluate_gan(
    *,
    table: Path | str,
    target: str,
    test: Path | str | None = None,
    seed: int = 7,
    steps: int | None = None,
    report: Path | None = None,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """`metrics` are `auc`, `macro_f1`, `accuracy` of boosting that learned from synthetic rows, on real ones; `baselines` those of real.

    The test rows are those of `test`, else a fifth of `table`. Of the others a fifth chooses how boosting is tuned and the rest is learned
    from. `verdict` is `verdict.judge_table`'s, with the lift of the rarest class of `target`; `curves` what the monitors saw. `report` is a
    file for the same as a page.
    """
    started = time.monotonic()
    from dataclasses import replace

    from training import splits
    from training.gan.augment import lift
    from training.gan.config import GanConfig
    from training.gan.fit import fit_gan
    from training.gan.synthesis import synthesis_of
    from training.gan.utility import tune, utility
    from training.gan.verdict import judge_table

    whole = read_rows(Path(table), target)
    if test is None:
        fold = splits.folds_of(whole[target].astype(str).to_numpy(), TEST_PARTS, seed)
        whole, asked = whole[fold != 0].reset_index(drop=True), whole[fold == 0].reset_index(drop=True)
    else:
        asked = read_rows(Path(test), target)
        if list(asked) != list(whole):
            raise CannotEvaluate(f"The test table must have the columns of the first. Received {list(asked)} and {list(whole)}.")
    fold = splits.folds_of(whole[target].astype(str).to_numpy(), TEST_PARTS, seed + 1)
    learn, held = (whole[chosen].reset_index(drop=True) for chosen in (fold != 0, fold == 0))
    choice = tune(learn, held, target, seed)
    config = GanConfig() if steps is None else replace(GanConfig(), steps=steps)
    gan = fit_gan(learn, config, seed, keep=[target], log=log)
    synthesis = synthesis_of(gan, learn, seed, target)
    drawn = synthesis.draw(len(learn), seed)
    step = lift(learn, asked, target, synthesis, choice, seed)
    verdict = judge_table(drawn.table, learn, asked, seed, target=target, choice=choice, lift=step)
    real = utility(learn, asked, target, choice, seed)
    if report is not None:
        write_page(report, f"Synthetic {Path(table).stem}", verdict, real, gan.curves, {**config.to_dict(), "seed": seed})
    return evaluation(
        started,
        metrics=verdict.utility,
        baselines={"real rows": real},
        verdict=verdict.to_dict(),
        constraints=[constraint.words() for constraint in gan.encoder.constraints],
        boosting=choice,
        curves=gan.curves,
        restarts=gan.restarts,
        seeds=[seed],
        counts={"learned": len(learn), "validation": len(held), "test": len(asked), **drawn.counts},
        targets_sha256=splits.targets_sha256([f"{row:08d}" for row in range(len(asked))], asked[target].tolist()),
    )


def read_rows(path: Path, target: str) -> "pd.DataFrame":
    """A CSV with a header line; raises CannotEvaluate where `target` is no column, or not what can be classified."""
    import pandas as pd

    rows = pd.read_csv(path, skipinitialspace=True)
    if target not in rows:
        raise CannotEvaluate(f"`target` must be a column of {path.name}. Received '{target}'. Its columns: {', '.join(rows.columns)}.")
    values = rows[target].nunique()
    if rows[target].isna().any() or not 2 <= values <= 20:
        unknown = int(rows[target].isna().sum())
        raise CannotEvaluate(f"`{target}` must have 2 to 20 values and none unknown. Received {values} values, {unknown} unknown.")
    for name in rows.select_dtypes(exclude=["number", "bool"]):
        rows[name] = rows[name].astype(object).where(rows[name].notna(), None)
    return rows


def write_page(
    path: Path, title: str, verdict: "Verdict", real: dict[str, Any], curves: dict[str, list[float]], provenance: dict[str, Any]
) -> None:
    """The verdict and the monitors' curves as one HTML file."""
    from training.report import Report, write_report

    columns = [{"column": name, **found} for name, found in verdict.fidelity["marginals"].items()]
    uses = [{"use": name, "allowed": use.allowed, "why": "; ".join(use.reasons)} for name, use in verdict.uses.items()]
    pairs = {name: value for name, value in verdict.fidelity.items() if name != "marginals"}
    near = [{"figure": name, **_flat(value)} for name, value in verdict.privacy.items()]
    write_report(
        path,
        Report(
            title=title,
            subtitle="What these rows may be used for, and what it rests on",
            promoted=verdict.sharing.allowed,
            reason=f"For sharing: {'; '.join(verdict.sharing.reasons)}. For augmentation: {'; '.join(verdict.augmentation.reasons)}.",
            metrics={"synthetic rows": verdict.utility, "real rows": real},
            provenance=provenance,
            curves=curves,
            tables={
                "Uses": uses,
                "Numbers by themselves": [row for row in columns if "ks" in row],
                "Categories by themselves": [row for row in columns if "tv" in row],
                "Columns in pairs": [{"figure": name, "value": value} for name, value in pairs.items()],
                "Nearness to the rows learned from": near,
            },
        ),
    )


def _flat(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"mean": value, "low": "", "high": ""}
