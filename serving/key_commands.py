"""Commands for the keys of the API and the web page: `portrait keys add`, `list`, `revoke`. Light to import."""

from typing import TYPE_CHECKING, Annotated

import typer

from quality.commands import AsJson, print_json

if TYPE_CHECKING:
    from serving.keys import KeyRing

keys = typer.Typer(help="Keys of the API and the web page: who may ask for what.", no_args_is_help=True)


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="What it may do, repeatable: read:portrait, read:recommendations, ...")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once: only its hash is kept."""
    token = _ring().add(name, scope or [])
    if as_json:
        print_json({"key": token, "name": name, "scopes": scope})
    else:
        print(token)


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Every key by its id, revoked ones too; never the key itself."""
    found = _ring().all()
    rows = [{"id": key.id, "name": key.name, "scopes": key.scopes, "made_at": key.made_at, "revoked_at": key.revoked_at} for key in found]
    if as_json:
        print_json(rows)
        return
    for key in found:
        state = f"revoked {key.revoked_at}" if key.revoked_at else f"since {key.made_at}"
        print(f"{key.id}  {key.name}  {', '.join(key.scopes)}  {state}")
    if not found:
        print("no key yet: `portrait keys add`, or `portrait up`, which makes the house's own")


@keys.command("revoke")
def revoke_key(id: Annotated[str, typer.Argument(metavar="ID", help="The id that `list` shows.")], as_json: AsJson = False) -> None:
    """From the next request on the key is refused, and whoever logged in with it is out."""
    key = _ring().revoke(id)
    if as_json:
        print_json({"id": key.id, "name": key.name, "revoked_at": key.revoked_at})
    else:
        print(f"revoked {key.id} ({key.name})")


def _ring() -> "KeyRing":
    from serving.keys import KeyRing
    from serving.local import house

    return KeyRing.of(house.choose())
