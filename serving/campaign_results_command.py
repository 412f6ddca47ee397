"""`portrait campaign results`. Light to import: what it calls is imported when it is called."""

from datetime import datetime
from typing import Annotated

import typer

from quality.commands import AsJson


def results(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The campaign's name.")],
    as_of: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="As known when this day began; else the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a campaign cost and brought beyond its holdout, and whether to go on; may be looked at daily."""
    from serving.campaign_results import results as found
    from serving.local import house

    house.choose()
    told = found(name, as_of)
    if as_json:
        from serving.http.campaign_results_route import results_answer

        typer.echo(results_answer(told).model_dump_json(indent=2))
    else:
        typer.echo(told.as_text())
