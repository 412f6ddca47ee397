"""The part of `docs/benchmarks.md` of `benchmarks.serving`, from what it has measured."""

from collections.abc import Callable
from typing import Any

from benchmarks.serving_faults import RATE
from benchmarks.serving_house import ITEMS, KEY_RATE, KEYS, USERS
from benchmarks.serving_rates import ANSWERED, WORSE
from benchmarks.serving_soak import FLAT, WARM_SHARE


def page(found: dict[str, Any]) -> str:
    """The part of the page, of what has been measured."""
    lines = [
        "## Serving under load",
        "",
        f"`python -m benchmarks.serving`: {ITEMS:,} items, {USERS:,} users, a recommender of random weights, the portrait model of the "
        f"house in use; model server and API as `portrait up` starts them, over HTTP with {KEYS} keys of {KEY_RATE} requests a second. "
        "The client shares the cores. In open loops requests come as a Poisson process, each timed from when it was due.",
    ]
    for name, part in PARTS.items():
        if name in found:
            lines += ["", f"### {TITLES[name]}", "", f"{found[name]['head']}.", "", *part(found[name])]
    return "\n".join(lines)


def table(header: str, rows: list[list[str]]) -> list[str]:
    names = header.split(", ")
    return [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}", *(f"| {' | '.join(row)} |" for row in rows)]


def ms(row: dict[str, Any]) -> list[str]:
    return [f"{row[name]:.1f}" for name in ("p50", "p95", "p99")]


def others(row: dict[str, Any]) -> str:
    return ", ".join(f"{number} x {kind}" for kind, number in sorted(row["others"].items())) or "none"


def rates(found: dict[str, Any]) -> list[str]:
    rows, knees = [], []
    for kind, climbed in found.items():
        if kind == "head":
            continue
        knees.append(f"{kind} {climbed['knee']}")
        rows += [
            [kind, f"{row['rate']}{' (knee)' if row['rate'] == climbed['knee'] else ''}", *ms(row), f"{row['by model']:.1%}", others(row)]
            for row in climbed["rows"]
        ]
    rule = f"{ANSWERED:.0%} answered with 200, and p95 at most {WORSE:g} times the p50 of the lowest rate, at it and at each rate below"
    mix = "The mix is four lists to one portrait."
    header = "requests, a second, p50 ms, p95 ms, p99 ms, by the model, other answers"
    return [f"Knee, in requests a second: {', '.join(knees)} (the rule: {rule}). {mix}", "", *table(header, rows)]


def overload(found: dict[str, Any]) -> list[str]:
    alone, many, one = found["alone"], found["many keys"], found["one key"]
    rows = [
        ["one client alone", "", *ms(alone), "", ""],
        *(
            [
                name,
                f"{row['rate']:.0f}",
                *ms(row),
                f"{1 - row['ok']:.1%}: {others(row)}",
                f"{row['refused']['p50']:.1f}, {row['refused']['p99']:.1f}",
            ]
            for name, row in (("twice the capacity, many keys", many), ("one key, twice its rate", one))
        ),
        ["one client alone, afterwards", "", *ms(found["after"]), "", ""],
    ]
    said = (
        f"Capacity ({found['room']} clients that ask again at once, as many as the API works on at once): {found['capacity']:.0f} lists a "
        f"second. At twice that the answered ones' p99 is {many['p99'] / alone['p99']:.1f} times that of a lone client."
    )
    return [said, "", *table("lists, a second, p50 ms, p95 ms, p99 ms, refused, refusals' p50 and p99 ms", rows)]


def swap(found: dict[str, Any]) -> list[str]:
    whole = found["whole"]
    failed = sum(whole["others"].values())
    rows = [[name, str(found[name]["asked"]), *ms(found[name]), f"{found[name]['by model']:.1%}"] for name in ("before", "during", "after")]
    return [
        f"{RATE} lists a second; a new version took over, the old one was gone after {found['seconds']:.1f} s. Failed requests: {failed} "
        f"of {whole['asked']}; lists by popularity, because the model was late: {1 - whole['by model']:.1%}.",
        "",
        *table("when, requests, p50 ms, p95 ms, p99 ms, by the model", rows),
    ]


def fault_rows(found: dict[str, Any]) -> list[list[str]]:
    return [
        [name, str(found[name]["asked"]), *ms(found[name]), f"{found[name]['by model']:.1%}", others(found[name])]
        for name in ("before", "away", "after")
    ]


def fault_line(found: dict[str, Any]) -> str:
    return (
        f"away for {found['away_seconds']:.1f} s; the last answer that was not whole came {found['recovery_seconds']:.1f} s after it was "
        f"back; 500s and broken connections: {found['500']}."
    )


FAULTS = "when, requests, p50 ms, p95 ms, p99 ms, by the model, other answers"


def killed(found: dict[str, Any]) -> list[str]:
    return [f"{RATE} requests a second (the mix); SIGKILL, {fault_line(found)}", "", *table(FAULTS, fault_rows(found))]


def stores(found: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, part in found.items():
        if name != "head":
            lines += [*([""] if lines else []), f"{name}: {fault_line(part)}", "", *table(FAULTS, fault_rows(part))]
    return lines


def fuzz(found: dict[str, Any]) -> list[str]:
    sent = ", ".join(f"{number} {name}" for name, number in sorted(found["sent"].items()))
    grown = ", ".join(f"{name} {value:+.1f} MB" for name, value in found["grown"].items())
    users = found["users"]
    return [
        "Random bytes, alone and behind true beginnings, to the API, the gRPC and the REST port, and Predict with random and damaged "
        f"messages: {sent}. Both processes {'lived on' if found['is_alive'] else '**DIED**'}; memory {grown}. {users['asked']} requests of "
        f"users meanwhile: {users['ok']:.1%} answered with 200, p99 {users['p99']:.1f} ms; others: {others(users)}."
    ]


def peers(found: dict[str, Any]) -> list[str]:
    rows, memory = [], ""
    for name, by_clients in found.items():
        if name == "head":
            continue
        for clients, row in by_clients.items():
            if clients == "MB":
                memory = f"The plain service takes {row:,.0f} MB."
            else:
                rows.append([name, clients, f"{row['rate']:.0f}", *ms(row), str(row["others"])])
    return [*table("what, clients, answered a second, p50 ms, p95 ms, p99 ms, not 200", rows), "", memory]


def soak(found: dict[str, Any]) -> list[str]:
    rows = [
        [
            name,
            f"{found[name]['MB']:.0f}",
            f"{found[name]['MB an hour']:+.1f}",
            f"{found[name]['growth']:+.2%}",
            "flat" if found[name]["is_flat"] else "**not flat**",
        ]
        for name in ("api", "model-server")
    ]
    row = found["row"]
    rule = (
        f"flat: what least squares finds after the first {WARM_SHARE:.0%} of the time is less than {FLAT:.0%} of the memory in ten minutes"
    )
    return [
        f"{found['minutes']:g} minutes of the mix at {found['rate']:g} requests a second: {row['asked']} requests, not answered with 200: "
        f"{others(row)}; answered by the model {row['by model']:.2%}; p99 {found['first']['p99']:.1f} ms in the first fifth, "
        f"{found['last']['p99']:.1f} ms in the last ({rule}).",
        "",
        *table("process, MB, MB an hour, growth in ten minutes, verdict", rows),
    ]


TITLES = {
    "rates": "Latency against rate",
    "overload": "Overload",
    "swap": "A version is swapped under load",
    "killed": "The model server is killed and comes back",
    "stores": "The online store is away and comes back",
    "fuzz": "Garbage",
    "soak": "Soak",
    "peers": "Beside peers",
}
PARTS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "rates": rates,
    "overload": overload,
    "swap": swap,
    "killed": killed,
    "stores": stores,
    "fuzz": fuzz,
    "soak": soak,
    "peers": peers,
}
