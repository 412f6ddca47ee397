"""`portrait segments ...`: who belongs together, a segment's card, files for other programs, and customers like some given ones.

Light to import: what a command calls is imported when it is called.
"""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from quality.commands import AsJson

AsOf = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="As known when this day began; the newest by default.")]


class Kind(StrEnum):
    """How segments are made."""

    learned = "learned"
    rfm = "rfm"
    rules = "rules"


class Format(StrEnum):
    """How a file is written."""

    parquet = "parquet"
    csv = "csv"


class Method(StrEnum):
    """What customers are compared by."""

    propensity = "propensity"
    vector = "vector"


KindOption = Annotated[Kind, typer.Option(help="Learned by the portrait model, by recency, frequency and money, or by the shop's rules.")]

segments = typer.Typer(help="Segments of customers: list, cards, files, and lookalikes.", no_args_is_help=True)


@segments.command("list")
def list_segments(kind: KindOption = Kind.learned, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """All segments of a kind, most customers first."""
    from serving.segments import segments as found

    told = found(_when(as_of), kind.value)
    if as_json:
        from serving.http.segments_route import segments_answer

        typer.echo(segments_answer(told).model_dump_json(indent=2))
        return
    for one in told.segments:
        spend = "" if one.spend_share is None else f", {one.spend_share:.1%} of spend"
        typer.echo(f"{one.name}: {one.users:,} customers ({one.share:.1%}){spend}")
    if told.churn:
        typer.echo(f"Since {told.churn.since:%Y-%m-%d} {told.churn.moved:.1%} moved; adjusted Rand index {told.churn.agreement:.2f}")
    if told.pooled:
        typer.echo(f"{told.pooled} segments are too small to be shown.")


@segments.command()
def card(name: Annotated[str, typer.Argument(metavar="NAME")], as_of: AsOf = None, as_json: AsJson = False) -> None:
    """One segment: size, value, how it differs, traits, interests, best offer."""
    from serving.segments import segment

    one = segment(_when(as_of), name)
    if as_json:
        from serving.http.segments_route import card as answer

        typer.echo(answer(one).model_dump_json(indent=2))
        return
    typer.echo(f"{one.name}: {one.users:,} customers, {one.share:.1%} of all" + (f"; {one.says}" if one.says else ""))
    if one.spend_share is not None:
        typer.echo(f"value: {one.spend_share:.1%} of what all spent in 90 days")
    for line, by in one.differs:
        typer.echo(f"differs: {line.replace('_', ' ')} {by:+.1f} standard deviations")
    for trait, shares in one.traits.items():
        typer.echo(f"{trait}: " + ", ".join(f"{value} {share:.0%} (all {overall:.0%})" for value, (share, overall) in shares.items()))
    if one.interests:
        told = (f"{interest} {share:.0%} (all {overall:.0%})" for interest, (share, overall) in one.interests.items())
        typer.echo("interests: " + ", ".join(told))
    if offer := one.best_offer:
        typer.echo(
            f"best offer: {offer.offer}, {offer.expected_profit:+.2f} on each of {offer.users:,} customers (plan of {offer.campaign})"
        )


@segments.command()
def export(kind: KindOption = Kind.learned, format: Format = Format.parquet, as_of: AsOf = None) -> None:
    """Who is in which segment, of those who agreed to marketing, as a file of the house."""
    from serving.segment_export import export as write

    typer.echo(write(kind.value, _when(as_of), format.value).as_text())


@segments.command()
def lookalike(
    out: Annotated[Path, typer.Argument(help="File to write, .parquet or .csv.")],
    k: Annotated[int, typer.Option(min=1, help="How many customers.")],
    segment: Annotated[str | None, typer.Option(help="Customers like those of this segment,")] = None,
    seeds: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="or like those of this file, one id a line.")] = None,
    method: Method = Method.propensity,
    as_of: AsOf = None,
) -> None:
    """Customers like some given ones, who agreed to marketing, and how well the search finds a held-out part of the given ones."""
    from serving.segment_export import write_members
    from serving.segment_lookalike import lookalikes
    from serving.segments import members_of

    if (segment is None) == (seeds is None):
        raise typer.BadParameter("Lookalikes need either --segment or --seeds. Received both or neither.")
    when = _when(as_of)
    given = seeds.read_text(encoding="utf-8").split() if seeds else members_of(when, segment or "")
    found = lookalikes(given, k, when, method.value)
    write_members(out, "lookalike", when, {segment or (seeds.stem if seeds else ""): list(found.users)})
    typer.echo(f"{found.as_text()}: {out}")


def _when(as_of: datetime | None) -> datetime:
    from serving.local import house
    from serving.shop_front import front

    house.choose()
    return as_of or front().clock()
