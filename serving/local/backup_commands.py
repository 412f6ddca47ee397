"""`portrait backup` and `portrait restore`.

Light to import: what a command calls is imported when it is called.
"""

from pathlib import Path
from typing import Annotated

import typer

from quality.commands import AsJson, print_report

Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for a task that has the warehouse open.")]


def backup(
    to: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that does not exist yet, best on another disk.")],
    wait: Wait = 600,
    logs: Annotated[bool, typer.Option("--logs", help="The services' and tasks' logs as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy everything stateful of the house into one folder, secrets included, while its services run."""
    from serving.local import house, show
    from serving.local.backup import backup as write

    console = show.console(as_json)
    report = write(
        house.choose(), to, lambda line: console.print(line, highlight=False, soft_wrap=True), patience_s=wait, is_with_logs=logs
    )
    print_report(report, as_json)


def restore(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `portrait backup` wrote.")],
    home: Annotated[Path | None, typer.Option(help="The house to make, an empty folder; where absent, the house of the settings.")] = None,
    profile: Annotated[str | None, typer.Option(help="`services`, to make a house with servers from one of files.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a house from a backup, checked whole before anything is touched; it is left stopped."""
    from serving.local import show
    from serving.local.restore import restore as make

    console = show.console(as_json)
    print_report(make(backup, home, lambda line: console.print(line, highlight=False, soft_wrap=True), profile), as_json)
