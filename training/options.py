"""Options of every command that trains: where the records come from, the seed, the passes over the data."""

from pathlib import Path
from typing import Annotated

import typer


def _known_source(name: str) -> str:
    from sources.registry import SOURCES

    if name not in SOURCES:
        raise typer.BadParameter(f"A source must be one of {sorted(SOURCES)}. Received '{name}'.")
    return name


SourceName = Annotated[
    str, typer.Option("--source", callback=_known_source, help="Where the records come from; `portrait sources` lists them.")
]
Data = Annotated[
    Path | None, typer.Option("--data", exists=True, help="The publisher's files, a folder or a file; the simulated shop needs none.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulated shop and of every training run.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the data; each model's own where absent.")]
