"""`portrait quarantine ...` and `portrait quality ...`, and how commands answer: in words, or as one JSON document on stdout.

Light to import: what a command calls is imported when it is called.
"""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

quarantine = typer.Typer(help="Rows that broke a rule: list them, show one, fix and release.", no_args_is_help=True)
quality = typer.Typer(help="What the gates compare new days with.", no_args_is_help=True)


def _landing_tables(names: str | list[str] | None) -> str | list[str] | None:
    from sources.landing import LANDING

    for name in [names] if isinstance(names, str) else names or []:
        if name not in LANDING:
            raise typer.BadParameter(f"A landing table must be one of {sorted(LANDING)}. Received '{name}'.")
    return names


def print_report(report: Any, as_json: bool) -> None:
    """A dataclass with `as_text()`, on stdout and nowhere else."""
    if as_json:
        print_json(asdict(report))
    else:
        print(report.as_text())


def print_json(result: Any) -> None:
    print(json.dumps(result, indent=2, default=str))


def pairs(given: list[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` pairs; a value is read as JSON where it is JSON, else as a string."""
    found = {}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"An option must be NAME=VALUE. Received '{pair}'.")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


@quarantine.command("list")
def list_quarantine(
    table: Annotated[str | None, typer.Option(callback=_landing_tables, help="Only this landing table.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only rows that broke this rule first.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to list.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Open rows, newest day first, and how many there are by rule; no value of a row is shown."""
    from quality.quarantine import listing
    from quality.warehouse import check_delivered

    check_delivered()
    found = listing(table, rule, limit)
    if found.counts or as_json:
        print_report(found, as_json)
    else:
        print("no open row of that table and rule" if table or rule else "quarantine is empty")


@quarantine.command("show")
def show_quarantined(
    row: Annotated[str, typer.Argument(metavar="ID", help="The id that `list` shows; its beginning is enough.")], as_json: AsJson = False
) -> None:
    """One row as it was delivered, and every rule it broke."""
    from quality.quarantine import show
    from quality.warehouse import check_delivered

    check_delivered()
    print_report(show(row), as_json)


@quarantine.command("release")
def release_quarantined(
    rows: Annotated[list[str], typer.Argument(metavar="ID...", help="Rows that get the same fixes.")],
    fix: Annotated[list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="The right value, repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fix rows and hand them in again; they come in when their days are next loaded."""
    from quality.quarantine import release
    from quality.warehouse import check_delivered

    check_delivered()
    fixes = {name: value if isinstance(value, str) or value is None else json.dumps(value) for name, value in pairs(fix).items()}
    print_report(release(rows, fixes), as_json)


@quality.command("accept")
def accept_change(
    start: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="First day that is right although it differs.")],
    end: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The day after the last one.")],
    table: Annotated[list[str] | None, typer.Option(callback=_landing_tables, help="Only this landing table, may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """The shop has really changed: let these days pass, and compare later days with them and not with what was before."""
    from quality.distribution import accept
    from quality.warehouse import check_delivered

    check_delivered()
    tables = accept(start.date(), end.date(), tuple(table or ()))
    if as_json:
        print_json(tables)
    else:
        print(f"accepted as the new normal from {start.date()} on: {', '.join(tables) or 'nothing'}")
