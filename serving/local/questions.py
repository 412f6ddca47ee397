"""Commands that ask a house about its customers, and whether its answers are true: `portrait show`, `recommend`, `offers`, `parity`.

Light to import: what a command calls is imported when it is called.
"""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from quality.commands import AsJson, print_report

if TYPE_CHECKING:
    from serving.local.api_client import ApiClient

User = Annotated[str, typer.Argument(help="The shop's own id of a customer.")]


def show(user: User, as_json: AsJson = False) -> None:
    """The portrait of a customer."""
    from serving.local import show as draw

    draw.answer(_api().portrait(user), draw.portrait, as_json)


def recommend(user: User, k: Annotated[int, typer.Option(min=1, max=200)] = 10, as_json: AsJson = False) -> None:
    """What a customer is likely to want next."""
    from serving.local import show as draw

    draw.answer(_api().recommendations(user, k), draw.recommendations, as_json)


def offers(user: User, as_json: AsJson = False) -> None:
    """What each offer would change for a customer."""
    from serving.local import show as draw

    draw.answer(_api().offers(user), draw.offers, as_json)


def changes(
    user: User,
    since: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="What was said by the start of this day,")],
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="against what was said by the start of this one.")],
    as_json: AsJson = False,
) -> None:
    """What the daily portraits say differently of a customer."""
    from serving.local import house
    from serving.stored_portraits import changes as changed

    house.choose()
    found = changed(user, since.date(), until.date())
    if as_json:
        print(json.dumps({line: {"then": then, "now": now} for line, (then, now) in found.items()}, indent=2))
        return
    for line, (then, now) in found.items():
        print(f"{line}: {then} -> {now}")
    if not found:
        print(f"Nothing that the portraits say of {user} changed from {since:%Y-%m-%d} to {until:%Y-%m-%d}.")


def parity(
    sample: Annotated[int, typer.Option(min=1, help="Users and items compared, drawn at random by the seed.")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 7,
    as_json: AsJson = False,
) -> None:
    """Does the online store serve what the offline store says? Value by value; exit status 1 where one differs."""
    from feature_repo.parity import check_parity
    from quality.warehouse import check_delivered

    check_delivered()
    print_report(check_parity(sample=sample, seed=seed), as_json)


def _api() -> "ApiClient":
    from serving.local import house
    from serving.local.api_client import ApiClient

    return ApiClient(house.choose())
