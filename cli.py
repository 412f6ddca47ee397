"""The `portrait` command. Every command is short: parse, call, show; what it calls is imported when it is called.

Errors are one line on stderr (PORTRAIT_DEBUG=1 shows the traceback); `--json` writes one JSON document to stdout, all else to stderr.
"""

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

EXIT_CODES = (
    "Exit codes: 0 ok · 1 a run, a gate or a check failed · 2 wrong use · 3 no such user, DAG or file · 4 a service is not available. "
    "PORTRAIT_HOME chooses the house; .env.example lists every setting."
)

app = typer.Typer(
    help="A shop's records into a living portrait of every customer.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
evaluate = typer.Typer(help="Train from scratch on a source and measure: what a shop would get before it commits.", no_args_is_help=True)
app.add_typer(evaluate, name="evaluate")
quarantine = typer.Typer(help="Rows that broke a rule: list them, show one, fix and release.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")
quality = typer.Typer(help="What the gates compare new days with.", no_args_is_help=True)
app.add_typer(quality, name="quality")


def _known_source(name: str) -> str:
    from sources.registry import SOURCES

    if name not in SOURCES:
        raise typer.BadParameter(f"A source must be one of {sorted(SOURCES)}. Received '{name}'.")
    return name


AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
SourceName = Annotated[
    str, typer.Option("--source", callback=_known_source, help="Where the records come from; `portrait sources` lists them.")
]
Data = Annotated[
    Path | None, typer.Option("--data", exists=True, help="The publisher's files, a folder or a file; the simulated shop needs none.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulated shop and of every training run.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the data; each model's own where absent.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Model to train, may be repeated; all where absent.")]
Options = Annotated[list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="The source's own option, may be repeated.")]
Promote = Annotated[bool, typer.Option("--promote/--no-promote", help="Serve a model that beats the one served.")]
Start = Annotated[str | None, typer.Option("--start", metavar="YYYY-MM-DD", help="First day; the whole delivery where absent.")]
End = Annotated[str | None, typer.Option("--end", metavar="YYYY-MM-DD", help="The day after the last one.")]
User = Annotated[str, typer.Argument(help="The shop's own id of a customer.")]
Out = Annotated[Path | None, typer.Option("--json", metavar="OUT", help="File for the result; it goes to stdout where absent.")]


@app.command()
def demo(
    source: SourceName = "shop",
    data: Data = None,
    seed: Seed = 7,
    epochs: Epochs = None,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """The whole road: services up, records in, models served, and what came of it."""
    from serving.local.demo import demo as run_demo

    choices = _choices(source, data=data, seed=seed, epochs=epochs, options=_pairs(option))
    result = run_demo(choices, _console(as_json))
    if as_json:
        _print_json(result)


@app.command()
def up(as_json: AsJson = False) -> None:
    """Start the services of the house in the background."""
    from serving.local import airflow_home, house, show

    console = _console(as_json)
    settings = house.up(lambda line: console.print(line, highlight=False))
    console.print(f"Airflow: user {airflow_home.USER}, password {airflow_home.password()}", markup=False, highlight=False)
    _show(house.status(settings), show.services, as_json)


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop the services of the house."""
    from serving.local import house

    stopped = house.down(house.choose())
    _show(stopped, lambda names: f"stopped {', '.join(names)}" if names else "nothing was running", as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """What runs, and where; exit status 4 where a service does not answer."""
    from serving.local import house, show

    rows = house.status(house.choose())
    _show(rows, show.services, as_json)
    if any(row["state"] != "healthy" for row in rows):
        raise typer.Exit(4)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What is wrong, before you find out; exit status 1 where a check fails."""
    from dataclasses import asdict

    from serving.local import house, show
    from serving.local.doctor import examine

    lines = [asdict(line) for line in examine(house.choose())]
    _show(lines, show.checks, as_json)
    if any(line["state"] == "fail" for line in lines):
        raise typer.Exit(1)


@app.command()
def sources(as_json: AsJson = False) -> None:
    """The sources that can be ingested, their tables, licences and options."""
    from dataclasses import asdict

    from serving.local import show
    from sources.registry import SOURCES

    _show([asdict(source) for source in SOURCES.values()], show.sources, as_json)


@app.command()
def ingest(
    source: SourceName = "shop",
    data: Data = None,
    start: Start = None,
    end: End = None,
    seed: Seed = 7,
    model: Models = None,
    epochs: Epochs = None,
    promote: Promote = True,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Trigger the `ingest` DAG and follow it all the way to served models."""
    choices = _choices(
        source, data=data, start=start, end=end, seed=seed, models=model, epochs=epochs, promote=promote, options=_pairs(option)
    )
    _run("ingest", choices, as_json, onward=True)


@app.command()
def run(
    dag: Annotated[str, typer.Argument(metavar="DAG", help="ingest, features, train, deploy or campaign.")],
    choice: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A field of the DAG's form, repeatable.")] = None,
    onward: Annotated[bool, typer.Option(help="Follow the DAGs that it leads to as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Trigger a DAG as in Airflow's UI, and follow it."""
    _run(dag, _pairs(choice), as_json, onward)


@app.command()
def show(user: User, as_json: AsJson = False) -> None:
    """The portrait of a customer."""
    from serving.local import show as draw

    _show(_api().portrait(user), draw.portrait, as_json)


@app.command()
def recommend(user: User, k: Annotated[int, typer.Option(min=1, max=200)] = 10, as_json: AsJson = False) -> None:
    """What a customer is likely to want next."""
    from serving.local import show as draw

    _show(_api().recommendations(user, k), draw.recommendations, as_json)


@app.command()
def offers(user: User, as_json: AsJson = False) -> None:
    """What each offer would change for a customer."""
    from serving.local import show as draw

    _show(_api().offers(user), draw.offers, as_json)


@app.command()
def parity(
    sample: Annotated[int, typer.Option(min=1, help="Users and items compared, drawn at random by the seed.")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 7,
    as_json: AsJson = False,
) -> None:
    """Does the online store serve what the offline store says? Value by value; exit status 1 where one differs."""
    from feature_repo.parity import check_parity

    _report(check_parity(sample=sample, seed=seed), as_json)


@quarantine.command("list")
def list_quarantine(
    table: Annotated[str | None, typer.Option(help="Only this landing table.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only rows that broke this rule first.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to list.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Open rows, newest day first, and how many there are by rule; no value of a row is shown."""
    from dataclasses import asdict

    from quality.quarantine import open_rows, summary

    counts, rows = summary(), open_rows(table, rule, limit)
    if as_json:
        _print_json({"counts": [asdict(count) for count in counts], "rows": [asdict(row) for row in rows]})
    else:
        lines = [count.as_text() for count in counts] + [row.as_text() for row in rows]
        print("\n".join(lines) or "quarantine is empty")


@quarantine.command("show")
def show_quarantined(
    row: Annotated[str, typer.Argument(metavar="ID", help="The id that `list` shows; its beginning is enough.")], as_json: AsJson = False
) -> None:
    """One row as it was delivered, and every rule it broke."""
    from quality.quarantine import show as find

    _report(find(row), as_json)


@quarantine.command("release")
def release_quarantined(
    rows: Annotated[list[str], typer.Argument(metavar="ID...", help="Rows that get the same fixes.")],
    fix: Annotated[list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="The right value, repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fix rows and hand them in again; they come in when their days are next loaded."""
    from quality.quarantine import release

    fixes = {name: value if isinstance(value, str) or value is None else json.dumps(value) for name, value in _pairs(fix).items()}
    _report(release(rows, fixes), as_json)


@quality.command("accept")
def accept_change(
    start: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="First day that is right although it differs.")],
    end: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The day after the last one.")],
    table: Annotated[list[str] | None, typer.Option(help="Only this landing table, may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """The shop has really changed: let these days pass, and compare later days with them and not with what was before."""
    from quality.distribution import accept

    tables = accept(start.date(), end.date(), tuple(table or ()))
    _show(tables, lambda names: f"accepted as the new normal from {start.date()} on: {', '.join(names) or 'nothing'}", as_json)


@evaluate.command("recommender")
def evaluate_recommender(
    source: SourceName,
    data: Data = None,
    protocol: Annotated[Literal["leave-one-out", "time-split"], typer.Option(help="How the held-out events are chosen.")] = "leave-one-out",
    seed: Seed = 7,
    epochs: Epochs = None,
    dim: Annotated[int | None, typer.Option(min=8, help="Width of the encoder.")] = None,
    blocks: Annotated[int | None, typer.Option(min=1, help="Depth of the encoder.")] = None,
    out: Out = None,
) -> None:
    """HR@10 and NDCG@10 by full ranking, beside popularity."""
    from training.evaluate import evaluate_recommender as measure

    _write(measure(source=source, data=data, protocol=protocol, seed=seed, epochs=epochs, dim=dim, blocks=blocks, log=_log), out)


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


@evaluate.command("uplift")
def evaluate_uplift(
    source: SourceName,
    treatment: Annotated[str, typer.Option(help="The offer to compare with control.")],
    outcome: Annotated[str, typer.Option(help="visited or converted.")] = "visited",
    data: Data = None,
    seed: Seed = 7,
    epochs: Epochs = None,
    out: Out = None,
) -> None:
    """How well the users whom an offer moves are found, on a randomised campaign."""
    from training.evaluate import evaluate_uplift as measure

    _write(measure(source=source, data=data, treatment=treatment, outcome=outcome, seed=seed, epochs=epochs, log=_log), out)


def main() -> None:
    """The console script: every error of the project as one line and an exit code."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("PORTRAIT_DEBUG"):
            raise
        print(f"portrait: {error or type(error).__name__}", file=sys.stderr)
        sys.exit(_exit_code(error))


def _exit_code(error: Exception) -> int:
    from quality.errors import NotInQuarantine
    from sources.errors import DataNotFound, UnknownOption, UnknownSource
    from training.evaluate import CannotEvaluate

    if isinstance(error, (UnknownSource, UnknownOption, CannotEvaluate)):
        return 2
    return 3 if isinstance(error, (DataNotFound, FileNotFoundError, NotInQuarantine)) else getattr(error, "exit_code", 1)


def _run(dag: str, choices: dict[str, Any], as_json: bool, onward: bool) -> None:
    from serving.local import house
    from serving.local.airflow_client import AirflowClient
    from serving.local.demo import DAGS, outcome, trigger
    from serving.local.errors import RunFailed

    with AirflowClient.of(house.choose()) as airflow:
        followed = trigger(airflow, dag, choices, _console(as_json), onward)
    result = outcome(followed, DAGS[DAGS.index(dag) :] if onward else (dag,))
    if as_json:
        _print_json(result)
    if result["failed"]:
        raise RunFailed(f"DAG runs that did not succeed: {', '.join(result['failed'])}")


def _choices(source: str, data: Path | None, **given: Any) -> dict[str, Any]:
    """What a person chose, as the form of `ingest` takes it; what was left out keeps the form's default."""
    from sources.registry import SOURCES

    if SOURCES[source].needs_data and data is None:
        raise typer.BadParameter(f"Source {source} reads files: {SOURCES[source].meaning}. Pass the folder (DATA=... or --data).")
    chosen = {"source": source, "data": str(data.resolve()) if data else None, **given}
    return {name: value for name, value in chosen.items() if value not in (None, {}, [])}


def _pairs(given: list[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` pairs; a value is read as JSON where it is JSON, else as a string."""
    pairs = {}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"An option must be NAME=VALUE. Received '{pair}'.")
        try:
            pairs[name] = json.loads(value)
        except json.JSONDecodeError:
            pairs[name] = value
    return pairs


def _api() -> Any:
    from serving.local import house
    from serving.local.api_client import ApiClient

    return ApiClient(house.choose())


def _console(as_json: bool) -> "Console":
    from rich.console import Console

    return Console(stderr=as_json)


def _show(result: Any, draw: Any, as_json: bool) -> None:
    if as_json:
        _print_json(result)
    else:
        _console(False).print(draw(result))


def _report(report: Any, as_json: bool) -> None:
    """A dataclass with `as_text()`, on stdout and nowhere else."""
    from dataclasses import asdict

    if as_json:
        _print_json(asdict(report))
    else:
        print(report.as_text())


def _print_json(result: Any) -> None:
    print(json.dumps(result, indent=2, default=str))


def _log(line: str) -> None:
    print(line, file=sys.stderr)


def _write(result: dict[str, Any], out: Path | None) -> None:
    if out is None:
        _print_json(result)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=2, default=str) + "\n")
        print(f"written to {out}")


if __name__ == "__main__":
    main()
