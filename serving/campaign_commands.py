"""`portrait campaign ...`: plan, judge, approve or reject who gets which offer. Light to import: what a command calls is imported when
called."""

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from quality.commands import AsJson, print_json
from serving.campaign_results_command import results

Name = Annotated[str, typer.Argument(metavar="NAME", help="the campaign's name.")]
Who = Annotated[str, typer.Option(help="Who decides; by default who is logged in.")]
Role = Annotated[str, typer.Option(help="In which role, e.g. 'head of marketing'.")]
Why = Annotated[str, typer.Option(help="Why, for the history.")]

campaign = typer.Typer(help="Who gets which offer: plan, judge, approve or reject; and what it brought.", no_args_is_help=True)
campaign.command()(results)


@campaign.command()
def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML or JSON; serving/campaign.toml shows every field.")],
    as_json: AsJson = False,
) -> None:
    """Plan a campaign and judge the plan by past randomised campaigns."""
    from serving.campaign_evaluate import evaluate_plan
    from serving.campaign_plan import plan
    from serving.campaign_request import request_of
    from serving.local import house

    house.choose()
    made = plan(request_of(file), who=_user())
    judged = evaluate_plan(made.request.name)
    if as_json:
        print_json({"plan": vars(made) | {"request": made.request.as_dict()}, "evaluation": vars(judged)})
        return
    typer.echo(made.as_text())
    typer.echo(f"verdict: {judged.verdict}: {judged.reason}")


@campaign.command()
def evaluate(name: Name, as_json: AsJson = False) -> None:
    """Judge a plan once more, as models and records stand now."""
    from serving.campaign_evaluate import evaluate_plan
    from serving.local import house

    house.choose()
    judged = evaluate_plan(name)
    print_json(vars(judged)) if as_json else typer.echo(f"verdict on {name}: {judged.verdict}: {judged.reason}")


@campaign.command()
def approve(
    name: Name,
    who: Who = "",
    role: Role = "",
    why: Why = "",
    override: Annotated[str, typer.Option(help="Why the plan is sent although its verdict does not bless it; needs --role.")] = "",
) -> None:
    """Assign everybody and write the lists to send by; refused where the plan may lose, unless overridden."""
    from serving.campaign_approval import approve
    from serving.decisions import decision_time
    from serving.local import house
    from serving.shop_front import front

    settings = house.choose()
    done = approve(
        name, settings, who=who or _user(), role=role, why=why, override=override, assigned_at=decision_time(settings, front().clock())
    )
    typer.echo(f"{name} is {done.state} since {done.last['at']} by {done.last['who']}")
    for reason, count in done.last.get("left_out", {}).items():
        typer.echo(f"{count} users of the plan are left out by now: {reason}")


@campaign.command()
def reject(name: Name, who: Who = "", role: Role = "", why: Why = "") -> None:
    """The plan is not sent; another may be planned under its name."""
    from serving.campaign_approval import reject
    from serving.local import house

    done = reject(name, house.choose(), who=who or _user(), role=role, why=why)
    typer.echo(f"{name} is {done.state} since {done.last['at']} by {done.last['who']}")


@campaign.command()
def sent(name: Name, who: Who = "") -> None:
    """Note that an approved campaign's lists were sent; its results count from now on."""
    from serving.campaign_approval import mark_sent
    from serving.decisions import decision_time
    from serving.local import house
    from serving.shop_front import front

    settings = house.choose()
    done = mark_sent(name, settings, who=who or _user(), sent_at=decision_time(settings, front().clock()))
    typer.echo(f"{name} is {done.state} since {done.last['at']}")


@campaign.command()
def status(as_json: AsJson = False) -> None:
    """Every campaign, and where it stands."""
    from serving.campaign_state import planned, read_status
    from serving.local import house

    settings = house.choose()
    found = [read_status(name, settings) for name in planned(settings)]
    if as_json:
        rows: list[dict[str, Any]] = [vars(one) for one in found]
        print_json(rows)
        return
    for one in found:
        typer.echo(f"{one.name}: {one.state} since {one.last['at']} by {one.last['who']}")
    if not found:
        typer.echo("No campaign is planned yet. `portrait campaign plan FILE` plans one.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
