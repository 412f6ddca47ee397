"""`portrait evaluate ...`: what a shop would get before it commits.

Light to import: what a command calls is imported when it is called.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from training.options import Data, Epochs, Seed, SourceName

Out = Annotated[Path | None, typer.Option("--json", metavar="OUT", help="File for the result; it goes to stdout where absent.")]
Steps = Annotated[int | None, typer.Option("--steps", min=50, help="Training steps of the GAN; its own where absent.")]

evaluate = typer.Typer(help="Train from scratch on a source and measure: what a shop would get before it commits.", no_args_is_help=True)


@evaluate.command("recommender")
def evaluate_recommender(
    source: SourceName,
    data: Data = None,
    protocol: Annotated[
        Literal["leave-one-out", "time-split", "next-purchase"], typer.Option(help="How the held-out events are chosen.")
    ] = "leave-one-out",
    seed: Seed = 7,
    epochs: Epochs = None,
    dim: Annotated[int | None, typer.Option(min=8, help="Width of the encoder.")] = None,
    blocks: Annotated[int | None, typer.Option(min=1, help="Depth of the encoder.")] = None,
    backbone: Annotated[Literal["attention", "lstm", "cnn"] | None, typer.Option(help="Kind of the encoder's blocks.")] = None,
    refit: Annotated[bool, typer.Option(help="Fit again on training and validation events before the test is asked.")] = True,
    baselines: Annotated[bool, typer.Option(help="Fit and measure the baselines too.")] = True,
    out: Out = None,
) -> None:
    """HR@10 and NDCG@10 by full ranking, beside popularity, item-kNN, ALS and EASE."""
    from training.evaluate import evaluate_recommender as measure

    chosen: dict[str, Any] = {"epochs": epochs, "dim": dim, "blocks": blocks, "backbone": backbone}
    measured = measure(source=source, data=data, protocol=protocol, seed=seed, refit=refit, with_baselines=baselines, log=_log, **chosen)
    _write(measured, out)


@evaluate.command("traits")
def evaluate_traits(
    source: SourceName,
    trait: Annotated[str, typer.Option(help="The declared trait to infer.")],
    data: Data = None,
    folds: Annotated[int, typer.Option(min=2)] = 5,
    seed: Seed = 7,
    epochs: Epochs = None,
    out: Out = None,
) -> None:
    """How well a declared trait is inferred for users who did not declare it, by cross-validation."""
    from training.evaluate import evaluate_traits as measure

    _write(measure(source=source, data=data, trait=trait, folds=folds, seed=seed, epochs=epochs, log=_log), out)


@evaluate.command("intent")
def evaluate_intent(
    csv: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A table with a header line.")],
    target: Annotated[str, typer.Option(help="The column to predict; it must have two values.")],
    folds: Annotated[int, typer.Option(min=2)] = 5,
    seed: Seed = 7,
    out: Out = None,
) -> None:
    """How well a yes-or-no column, such as purchase intention, is predicted from the others, by cross-validation."""
    from training.evaluate import evaluate_intent as measure

    _write(measure(csv=csv, target=target, folds=folds, seed=seed, log=_log), out)


@evaluate.command("risk")
def evaluate_risk(
    source: SourceName,
    data: Data = None,
    thirds: Annotated[int, typer.Option(min=2, help="Stratified thirds, each held out once.")] = 3,
    protected: Annotated[bool, typer.Option(help="Let the models read what the credit policy protects, to compare with others.")] = False,
    seed: Seed = 7,
    epochs: Epochs = None,
    out: Out = None,
) -> None:
    """How well it is known who does not pay a credit back, with calibration, fairness and the stability of reasons."""
    from training.evaluate import evaluate_risk as measure

    _write(measure(source=source, data=data, thirds=thirds, protected=protected, seed=seed, epochs=epochs, log=_log), out)


@evaluate.command("spend")
def evaluate_spend(
    source: SourceName,
    data: Data = None,
    days: Annotated[int, typer.Option(min=7, help="Length of the windows whose money is foreseen.")] = 90,
    lifetimes: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A Python with the package lifetimes, for BG/NBD and Gamma-Gamma.")
    ] = None,
    seed: Seed = 7,
    epochs: Epochs = None,
    out: Out = None,
) -> None:
    """How well the money of the last days is foreseen, beside BG/NBD and Gamma-Gamma, boosted trees, and the days before once again."""
    from training.evaluate import evaluate_spend as measure

    _write(measure(source=source, data=data, days=days, lifetimes=lifetimes, seed=seed, epochs=epochs, log=_log), out)


@evaluate.command("fraud")
def evaluate_fraud(source: SourceName, data: Data = None, seed: Seed = 7, epochs: Epochs = None, out: Out = None) -> None:
    """How well fraudulent orders are found before anybody reports them, at the review team's daily capacity."""
    from training.evaluate import evaluate_fraud as measure

    _write(measure(source=source, data=data, seed=seed, epochs=epochs, log=_log), out)


@evaluate.command("uplift")
def evaluate_uplift(
    source: SourceName,
    treatment: Annotated[str, typer.Option(help="The offer to compare with control.")],
    outcome: Annotated[str, typer.Option(help="visited or converted.")] = "visited",
    data: Data = None,
    adjust: Annotated[bool, typer.Option("--adjust", help="Estimate who was likely to get what, where nobody drew lots.")] = False,
    seed: Seed = 7,
    epochs: Epochs = None,
    out: Out = None,
) -> None:
    """How well the users whom an offer moves are found, on a randomised campaign, or on any other where told to adjust."""
    from training.evaluate import evaluate_uplift as measure

    _write(measure(source=source, data=data, treatment=treatment, outcome=outcome, adjust=adjust, seed=seed, epochs=epochs, log=_log), out)


@evaluate.command("gan")
def evaluate_gan(
    table: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A CSV with a header line.")],
    target: Annotated[str, typer.Option(help="The column that a model would learn to tell from the others.")],
    test: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Rows to test on; a fifth of the table where absent.")
    ] = None,
    seed: Seed = 7,
    steps: Steps = None,
    report: Annotated[Path | None, typer.Option(metavar="HTML", help="File for the result as a page.")] = None,
    out: Out = None,
) -> None:
    """What synthetic rows of a table are worth, and what they may be used for: likeness, use, privacy."""
    from training.evaluate import evaluate_gan as measure

    _write(measure(table=table, test=test, target=target, seed=seed, steps=steps, report=report, log=_log), out)


def synthesize(
    source: SourceName,
    out: Annotated[Path, typer.Option(help="Folder for the safe copy; it must be new or empty.")],
    data: Data = None,
    seed: Seed = 7,
    steps: Steps = None,
) -> None:
    """A safe copy of a shop's tables: nobody of it is in there, keys fit, and a verdict lies beside."""
    from training.synthesize import synthesize as make

    verdict = make(source=source, data=data, out=out, seed=seed, steps=steps, log=_log)
    for name, use in verdict["uses"].items():
        print(f"{name}: {'allowed' if use['allowed'] else 'refused'}, {'; '.join(use['reasons'])}")
    if not verdict["uses"]["sharing"]["allowed"]:
        raise typer.Exit(1)


def _log(line: str) -> None:
    print(line, file=sys.stderr)


def _write(result: dict[str, Any], out: Path | None) -> None:
    text = json.dumps(result, indent=2, default=str)
    if out is None:
        print(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
        print(f"written to {out}")
