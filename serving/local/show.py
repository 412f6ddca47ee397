"""Draws portraits, recommendations, offers, plans and services on the console, from the API's JSON.

What a shop wrote (ids, titles, categories, notes) is escaped: a title such as `LP [mono]` would else be read as a style.
"""

from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from quality.commands import print_json

#: What is known of a user, in the order in which a person reads it.
KNOWN = (
    "registered_at",
    "country",
    "city",
    "last_event_at",
    "last_purchase_at",
    "events_30d",
    "active_days_30d",
    "purchases_90d",
    "spend_90d",
    "spend_total",
    "top_categories",
)


def console(as_json: bool) -> Console:
    """Where a person reads along: stderr where stdout is to hold one JSON document."""
    return Console(stderr=as_json)


def answer(result: Any, draw: Callable[[Any], RenderableType], as_json: bool) -> None:
    """The result of a command, drawn or as one JSON document."""
    if as_json:
        print_json(result)
    else:
        console(False).print(draw(result))


def portrait(answer: dict[str, Any]) -> Panel:
    """Known lines, inferred lines, newest events."""
    lines = Table(box=None, show_header=False, pad_edge=False)
    for name in KNOWN:
        if answer["known"].get(name) is not None:
            lines.add_row(f"[dim]{name}[/]", _plain(answer["known"][name]), "[dim]known[/]")
    inferred = answer["inferred"]
    if inferred:
        source = f"[dim]portrait version {inferred['model_version']}[/]"
        for trait in inferred["traits"]:
            shares = ", ".join(f"{value} {share:.0%}" for value, share in trait["probabilities"].items())
            lines.add_row(f"[dim]{escape(trait['name'])}[/]", escape(f"{trait['value'] or 'unknown'} ({shares})"), source)
        if inferred["segment"]:
            lines.add_row("[dim]segment[/]", escape(inferred["segment"]), source)
        before = inferred["interests_30d_ago"] or {}
        shown = [
            f"{name} {share:.0%}" + (f" ({share - before[name]:+.0%})" if name in before else "")
            for name, share in inferred["interests"].items()
        ]
        changed = ": changed at once" if inferred["interest_alarm"] else ""
        lines.add_row(f"[dim]interests, and since a month ago{changed}[/]", escape(", ".join(shown[:5])), source)
        if inferred["next_category"]:
            lines.add_row("[dim]next_category[/]", escape(inferred["next_category"]), source)
        for name in ("purchase_probability_7d", "purchase_probability_30d", "churn_probability_7d", "churn_probability_30d"):
            lines.add_row(f"[dim]{name}[/]", f"{inferred[name]:.1%}", source)
        if inferred["expected_spend_90d"] is not None:
            lines.add_row("[dim]expected_spend_90d[/]", f"{inferred['expected_spend_90d']:.2f}", source)
    parts: list[RenderableType] = [lines, *([escape(answer["note"])] if answer["note"] else [])]
    newest = Table("newest events", "", "", box=None, pad_edge=False)
    for event in answer["recent"][:5]:
        newest.add_row(event["occurred_at"], event["event_type"], escape(event["title"] or event["item_id"]))
    title = f"{answer['user_id']} as of {answer['as_of']}, features of {answer['features_at']}"
    return Panel(Group(*parts, newest), title=escape(title), title_align="left")


def recommendations(answer: dict[str, Any]) -> Group:
    """Ranked items with titles; the note says where the list comes from if not from the model."""
    table = Table(
        "rank", "item", "title", "category", "price", "score", title=escape(f"Recommended to {answer['user_id']}"), title_justify="left"
    )
    for item in answer["items"]:
        named = [escape(item[name] or "") for name in ("item_id", "title", "category")]
        table.add_row(str(item["rank"]), *named, _number(item["price"]), _number(item["score"]))
    return Group(table, *([escape(answer["note"])] if answer.get("note") else []))


def offers(answer: dict[str, Any]) -> Table:
    """Every offer by falling expected profit."""
    best = answer["best"] or "none: every offer loses money"
    title = f"Offers to {answer['user_id']}; best: {best} (uplift version {answer['model_version']})"
    table = Table("offer", "visit", "conversion", "spend", "cost", "expected profit", title=escape(title), title_justify="left")
    for line in answer["effects"]:
        table.add_row(
            escape(line["offer"]),
            f"{line['visit_uplift']:+.2%}",
            f"{line['conversion_uplift']:+.2%}",
            f"{line['spend_uplift']:+.2f}",
            f"{line['cost']:.2f}",
            f"{line['expected_profit']:+.2f}",
        )
    return table


def plan(answer: dict[str, Any]) -> Table:
    """How a campaign spends its budget."""
    asked = answer["request"]
    title = f"Offer plan {asked['name']} (uplift version {answer['model_version']})"
    table = Table("offer", "users", title=escape(title), title_justify="left")
    for offer, count in answer["treated"].items():
        table.add_row(escape(offer), str(count))
    table.add_row("none, to measure by", str(answer["held_out"]))
    spend, profit = ("unknown" if total is None else f"{total:.2f}" for total in (answer["expected_spend"], answer["expected_profit"]))
    table.caption = (
        f"of {answer['audience']} users; cost {answer['planned_cost']:.2f} of {asked['budget']:.2f}, "
        f"expected added spend {spend}, expected profit {profit}"
    )
    return table


def risk(rows: list[dict[str, Any]]) -> Group:
    """How the newest orders and applications were decided, and why the riskiest was."""
    table = Table("newest", "approve", "review", "refuse", title="Risk decisions", title_justify="left")
    lines = []
    for row in rows:
        table.add_row(f"{row['asked']} {row['kind']}", *(str(row["decisions"].get(one, 0)) for one in ("approve", "review", "refuse")))
        worst = row["riskiest"]
        reasons = "; ".join(reason.get("en") or reason["text"] for reason in worst["reasons"]) or "no single reason"
        lines.append(
            escape(
                f"riskiest of the {row['kind']}: {worst.get('order_id') or worst['application_id']}, {worst['probability']:.0%}: {reasons}"
            )
        )
    return Group(table, *lines)


def quality(rows: list[dict[str, Any]]) -> Table:
    """Each trained model's main metric beside its baseline, with the gate's verdict."""
    table = Table("model", "metric", "model's", "baseline's", "rows", "verdict", title="Quality on a time split", title_justify="left")
    for row in rows:
        verdict = f"{'promoted' if row['promoted'] else 'not promoted'}: {row['rule'].replace('_', ' ')}"
        table.add_row(row["model"], row["metric"], _interval(row["challenger"]), _interval(row["baseline"]), str(row["rows"]), verdict)
    return table


def latencies(rows: dict[str, dict[str, float]]) -> Table:
    table = Table("latency, ms", "p50", "p99", "calls", title_justify="left")
    for name, row in rows.items():
        table.add_row(name, f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}", f"{row['calls']:.0f}")
    return table


def services(rows: list[dict[str, Any]]) -> Table:
    colour = {"healthy": "green", "starting": "yellow", "stopped": "dim"}
    table = Table("service", "state", "address", "pid", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["title"], f"[{colour[row['state']]}]{row['state']}[/]", row["address"], str(row["pid"] or ""))
    return table


def checks(rows: list[dict[str, Any]]) -> Table:
    """The doctor's lines."""
    colour = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table("check", "", "", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["check"], f"[{colour[row['state']]}]{row['state']}[/]", escape(row["detail"]))
    return table


def sources(rows: list[dict[str, Any]]) -> Table:
    """Every source: what it is, which uses its tables carry, and how it is asked."""
    table = Table("source", "what it is, and what it carries", show_lines=True)
    for row in rows:
        lines = [
            f"{row['meaning']} ({row['publisher']})",
            f"[dim]licence[/] {row['licence']}",
            f"[dim]carries[/] {', '.join(row['carries'])}",
            f"[dim]tables[/] {', '.join(row['tables'])}",
            *(f"[dim]option[/] {name}: {meaning}" for name, meaning in row["options"].items()),
        ]
        table.add_row(row["name"], "\n".join(lines))
    return table


def _plain(value: Any) -> str:
    return escape(", ".join(map(str, value)) if isinstance(value, list) else f"{value:.2f}" if isinstance(value, float) else str(value))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['mean']:.4f} ({value['low']:.4f} to {value['high']:.4f})"
    return "" if value is None else f"{value:.4f}"
