"""The `portrait` command: which commands there are, and what an error ends with. Each stands with the stage that it calls.

Errors are one line on stderr (PORTRAIT_DEBUG=1 shows the traceback); `--json` writes one JSON document to stdout, all else to stderr.
"""

import os
import sys

import typer

from quality.commands import quality, quarantine
from serving.campaign_commands import campaign
from serving.key_commands import keys
from serving.local.backup_commands import backup, restore
from serving.local.commands import demo, doctor, down, ingest, load, prepare, run, service, sources, status, up
from serving.local.questions import changes, offers, parity, recommend, show
from serving.release_commands import release
from serving.segment_commands import segments
from serving.user_commands import users
from training.commands import evaluate, synthesize

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
for command in (
    demo,
    up,
    prepare,
    service,
    down,
    status,
    doctor,
    sources,
    ingest,
    load,
    run,
    show,
    recommend,
    offers,
    changes,
    parity,
    backup,
    restore,
    synthesize,
):
    app.command()(command)
for name, group in {
    "evaluate": evaluate,
    "quarantine": quarantine,
    "quality": quality,
    "keys": keys,
    "users": users,
    "release": release,
    "campaign": campaign,
    "segments": segments,
}.items():
    app.add_typer(group, name=name)


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
    from sources.errors import DataNotFound, UnknownOption, UnknownSource

    if isinstance(error, (UnknownSource, UnknownOption)):
        return 2
    return 3 if isinstance(error, (DataNotFound, FileNotFoundError)) else getattr(error, "exit_code", 1)


if __name__ == "__main__":
    main()
