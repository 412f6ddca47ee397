"""Commands that bring a house up and down, say how it is, and run its DAGs: `portrait demo`, `up`, `ingest`, ...

Light to import: what a command calls is imported when it is called.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from quality.commands import AsJson, pairs, print_json
from training.options import Data, Epochs, Seed, SourceName

Models = Annotated[list[str] | None, typer.Option("--model", help="Model to train, may be repeated; all where absent.")]
Options = Annotated[list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="The source's own option, may be repeated.")]
Promote = Annotated[bool, typer.Option("--promote/--no-promote", help="Serve a model that beats the one served.")]
DAY = "%Y-%m-%d"
Start = Annotated[datetime | None, typer.Option("--start", formats=[DAY], help="First day; the whole delivery where absent.")]
End = Annotated[datetime | None, typer.Option("--end", formats=[DAY], help="The day after the last one.")]


def demo(
    source: SourceName = "shop",
    data: Data = None,
    seed: Seed = 7,
    epochs: Epochs = None,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """The whole road: services up, records in, models served, and what came of it."""
    from serving.local import outside, show
    from serving.local.demo import demo as run_demo
    from settings import get_settings

    choices = chosen(source, data=data, seed=seed, epochs=epochs, options=pairs(option))
    walk = outside.demo if get_settings().profile == "compose" else run_demo
    result = walk(choices, show.console(as_json))
    if as_json:
        print_json(result)


def up(as_json: AsJson = False) -> None:
    """Start the services of the house in the background."""
    from serving import keys
    from serving.local import airflow_home, house, show

    console = show.console(as_json)
    settings = house.up(lambda line: console.print(line, highlight=False))
    console.print(f"Airflow: user {airflow_home.USER}, password {airflow_home.password()}", markup=False, highlight=False)
    console.print(f"Web page and API: key {keys.house_key(settings)}", markup=False, highlight=False, soft_wrap=True)
    show.answer(house.status(settings), show.services, as_json)


def prepare() -> None:
    """Make what the services of a house need, and start none: migrations, secrets, registry, server files."""
    from serving.local import house

    house.prepare(house.choose())


def service(name: Annotated[str, typer.Argument(metavar="NAME", help="As `portrait status --json` names it.")]) -> None:
    """Become one service of a prepared house, in the foreground: what a container runs."""
    import os

    from serving.local import house, preflight, production
    from serving.local.services import services

    settings = house.choose()
    preflight.check_whole(settings)
    known = {one.name: one for one in services(settings)}
    if name not in known:
        raise typer.BadParameter(f"A service must be one of {sorted(known)}. Received {name!r}.")
    chosen = known[name]
    production.check(settings, chosen.group)
    os.execvpe(chosen.arguments[0], chosen.arguments, {**os.environ, **chosen.environment})


def down(as_json: AsJson = False) -> None:
    """Stop the services of the house."""
    from serving.local import house, show

    stopped = house.down(house.choose())
    show.answer(stopped, lambda names: f"stopped {', '.join(names)}" if names else "nothing was running", as_json)


def status(as_json: AsJson = False) -> None:
    """What runs, and where; exit status 4 where a service does not answer."""
    from quality.errors import NothingDelivered
    from quality.warehouse import check_delivered
    from serving.local import house, show

    rows = house.status(house.choose())
    show.answer(rows, show.services, as_json)
    try:
        check_delivered()
    except NothingDelivered as why:
        typer.echo(why, err=True)
    if any(row["state"] != "healthy" for row in rows):
        raise typer.Exit(4)


def doctor(as_json: AsJson = False) -> None:
    """What is wrong, before you find out; exit status 1 where a check fails."""
    from dataclasses import asdict

    from serving.local import house, show
    from serving.local.doctor import examine

    lines = [asdict(line) for line in examine(house.choose())]
    show.answer(lines, show.checks, as_json)
    if any(line["state"] == "fail" for line in lines):
        raise typer.Exit(1)


def sources(as_json: AsJson = False) -> None:
    """The sources that can be ingested, their tables, licences and options."""
    from dataclasses import asdict

    from serving.local import show
    from sources.registry import SOURCES

    show.answer([asdict(source) for source in SOURCES.values()], show.sources, as_json)


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
    window = _window(start, end)
    choices = chosen(source, data=data, **window, seed=seed, models=model, epochs=epochs, promote=promote, options=pairs(option))
    _follow("ingest", choices, as_json, True)


def load(
    start: Annotated[datetime, typer.Argument(formats=[DAY], help="First day.")],
    end: Annotated[datetime, typer.Argument(formats=[DAY], help="The day after the last one.")],
    as_json: AsJson = False,
) -> None:
    """Load days again as they lie there, with what was released from quarantine, and follow the DAGs all the way."""
    from serving.local import house
    from sources.registry import Delivery

    delivery = Delivery.read(house.choose().landing_dir)
    _follow("ingest", {"source": delivery.source, **_window(start, end), "deliver": False}, as_json, True)


def run(
    dag: Annotated[str, typer.Argument(metavar="DAG", help="ingest, features, train, deploy, release, campaign, score or renew.")],
    choice: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A field of the DAG's form, repeatable.")] = None,
    onward: Annotated[bool, typer.Option(help="Follow the DAGs that it leads to as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Trigger a DAG as in Airflow's UI, and follow it."""
    _follow(dag, pairs(choice), as_json, onward)


def chosen(source: str, data: Path | None, **given: Any) -> dict[str, Any]:
    """What a person chose, as the form of `ingest` takes it; what was left out keeps the form's default."""
    from sources.registry import SOURCES, check_options

    check_options(source, given.get("options") or {})
    if SOURCES[source].needs_data and data is None:
        raise typer.BadParameter(f"Source {source} reads files: {SOURCES[source].meaning}. Pass the folder (DATA=... or --data).")
    choices = {"source": source, "data": str(data.resolve()) if data else None, **given}
    return {name: value for name, value in choices.items() if value not in (None, {}, [])}


def _window(start: datetime | None, end: datetime | None) -> dict[str, str | None]:
    """Both days as the form takes them."""
    if start and end and start >= end:
        raise typer.BadParameter(f"A window is [start, end) in days. Received {start:{DAY}} to {end:{DAY}}. Let end be later.")
    return {name: day.strftime(DAY) if day else None for name, day in (("start", start), ("end", end))}


def _follow(dag: str, choices: dict[str, Any], as_json: bool, onward: bool) -> None:
    from serving.local import house, show
    from serving.local.airflow_client import AirflowClient
    from serving.local.demo import DAGS, outcome, trigger
    from serving.local.errors import RunFailed

    with AirflowClient.of(house.choose()) as airflow:
        followed = trigger(airflow, dag, choices, show.console(as_json), onward)
    result = outcome(followed, DAGS[DAGS.index(dag) :] if onward else (dag,))
    if as_json:
        print_json(result)
    if result["failed"]:
        raise RunFailed(f"DAG runs that did not succeed: {', '.join(result['failed'])}")
