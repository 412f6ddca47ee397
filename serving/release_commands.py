"""`portrait release ...`: which versions answer whom, and promoting or rolling back by hand.

Light to import: what a command calls is imported when it is called.
"""

from typing import Annotated, Any

import typer

from quality.commands import AsJson, print_json

Model = Annotated[str, typer.Argument(metavar="MODEL", help="recommender, portrait, uplift or risk.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]

release = typer.Typer(help="Which versions answer whom; promote or roll back.", no_args_is_help=True)


@release.command()
def status(as_json: AsJson = False) -> None:
    """The stable version of each model, the one on trial, and what was done last."""
    from serving.local import house
    from serving.release_state import read, released

    settings = house.choose()
    found = {model: state for model in released(settings) if (state := read(model, settings))}
    if as_json:
        rows: list[dict[str, Any]] = [vars(state) for state in found.values()]
        print_json(rows)
        return
    for model, state in found.items():
        trial = f", version {state.canary} on trial for {state.share:.0%} of the users" if state.canary else ""
        last = state.history[-1] if state.history else None
        told = f"; last: version {last['version']} {last['what']} at {last['at']}" if last else ""
        typer.echo(f"{model}: version {state.stable or 'none'} is stable{trial}{told}")
    if not found:
        typer.echo("No model has a release yet. The DAG `deploy` makes the first.")


@release.command()
def promote(model: Model, reason: Reason = "by hand") -> None:
    """The version on trial answers everybody."""
    _decide(model, True, reason)


@release.command()
def rollback(model: Model, reason: Reason = "by hand") -> None:
    """The stable version answers everybody again; where none is on trial, the one that was stable before."""
    _decide(model, False, reason)


def _decide(model: str, promoted: bool, reason: str) -> None:
    """As the DAG `release` does: the run whose version answers everybody is MLflow's champion."""
    from serving.local import house
    from serving.release_steps import act
    from training.champion import crown

    house.choose()
    if run := act(model, None, promoted, reason):
        crown(model, run)
