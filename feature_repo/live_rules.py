"""Judges live events by the landing rules of `events` (`quality.row_rules`), before anything is stored.

A value is read as a landing file of text would be: `"3.5"` and `3.5` are the same price. The rules run as SQL in a DuckDB of this process,
so that one set of predicates judges a file of last night and an event of this second. A burst of one user is refused where it comes
together; one that comes by many requests is taken, and found by the next load, which sees the whole day.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, NamedTuple

import duckdb
import pyarrow

from quality.row_rules import BURST, BURST_EVENTS, Rule, rules_for
from sources.landing import LANDING, Column

EVENTS = LANDING["events"]
_SHOWN = 60  # characters of a refused value that a message repeats


@dataclass(frozen=True, order=True)
class Refused:
    """One event that was not taken: its place in what was posted, the rule it broke first, and what to do."""

    index: int
    rule: str
    message: str


class Judged(NamedTuple):
    """Events in the landing table's columns, with `index`, `ds` and `arrived_at` beside them; and those refused."""

    rows: list[dict[str, Any]]
    refused: list[Refused]


class Judge:
    """Rules compiled once; not thread-safe."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("set timezone = 'UTC'")

    def judge(self, events: Sequence[Any], arrival: Mapping[str, Any]) -> Judged:
        """`arrival` has the parameters of `arrived_at`: `now`, `horizon` (or None) and `is_wall`, as `live.py` explains them."""
        texts: list[tuple[str | None, ...]] = []
        places: list[int] = []
        refused: list[Refused] = []
        for index, event in enumerate(events):
            try:
                texts.append(_texts(event))
                places.append(index)
            except _NotText as fault:
                refused.append(Refused(index, fault.rule, str(fault)))
        if not texts:
            return Judged([], refused)
        columns = [pyarrow.array(values, pyarrow.string()) for values in zip(*texts, strict=True)]
        names = [f"raw_{name}" for name in EVENTS.names]
        self._connection.register("posted", pyarrow.table([pyarrow.array(places), *columns], names=["index", *names]))
        judged = self._connection.sql(_judge_sql(), params=dict(arrival)).to_arrow_table()
        self._connection.unregister("posted")
        broken = judged.column("broken")
        rows = judged.filter(broken.is_null()).drop_columns(["broken"]).to_pylist()
        faulty = judged.filter(broken.is_valid()).select(["index", "broken"]).to_pylist()
        refused += [_refusal(row["index"], row["broken"], events[row["index"]]) for row in faulty]
        in_second = Counter(map(_second, {row["event_id"]: row for row in rows}.values()))
        bursts = {second: count for second, count in in_second.items() if count > BURST_EVENTS and second.user_id is not None}
        refused += [_refused_burst(row["index"], second, bursts[second]) for row in rows if (second := _second(row)) in bursts]
        kept = [row for row in rows if _second(row) not in bursts]
        return Judged(sorted(kept, key=lambda row: row["index"]), sorted(refused))


class _Second(NamedTuple):
    user_id: str | None
    ds: date
    starts_at: datetime


def _second(row: Mapping[str, Any]) -> _Second:
    return _Second(row["user_id"], row["ds"], row["occurred_at"].replace(microsecond=0))


def _refused_burst(index: int, second: _Second, count: int) -> Refused:
    message = (
        f"there are at most {BURST_EVENTS:,} events of one user in one second. Received {count:,} of {second.starts_at}. "
        "Post them again with the times at which they happened."
    )
    return Refused(index, BURST, message)


class _NotText(ValueError):
    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def _texts(event: Any) -> tuple[str | None, ...]:
    if not isinstance(event, Mapping):
        raise _NotText(
            "not_an_object", f"An event must be an object of the landing columns. Received {_shown(event)}. Post one object an event."
        )
    return tuple(_text(name, event.get(name)) for name in EVENTS.names)


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _NotText(
                    f"{name}_unparseable", f"`{name}` must be Unicode text. Received half a surrogate pair. Send UTF-8."
                ) from None
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        return value.isoformat()
    kind = EVENTS.column(name).kind
    raise _NotText(
        f"{name}_unparseable", f"`{name}` must be one {kind}. Received {_shown(value)}. Post the event again with a single value."
    )


@cache
def _judge_sql() -> str:
    """One row per posted event. An absent `event_id` is the hash that `quality.load` would give the event as it was sent."""
    rules = rules_for(EVENTS)
    broken = ", ".join(f"case when {rule.broken} then '{rule.name}' end" for rule in rules)
    whole = ", ".join(f'coalesce("{name}"::varchar, chr(0))' for name in EVENTS.names)
    kept = ", ".join(f'"{name}"' for name in EVENTS.names if name not in ("event_id", "received_at"))
    return f"""
        with typed as (
            select *, {", ".join(_cast(column) for column in EVENTS.columns)} from posted
        ),
        timed as (
            select
                *,
                case
                    when $is_wall then $now::timestamp
                    else least(
                        greatest(coalesce(received_at, occurred_at, $now::timestamp), coalesce($horizon::timestamp, timestamp '-infinity')),
                        greatest($now::timestamp, coalesce($horizon::timestamp + interval 2 day, $now::timestamp))
                    )
                end as arrived_at,
            from typed
        ),
        dated as (
            select *, case when isfinite(arrived_at) then arrived_at::date else $now::date end as ds from timed
        ),
        judged as (
            select *, list_filter([{broken}], lambda name: name is not null) as rules from dated
        )
        select
            "index", {kept}, coalesce(event_id, md5(concat_ws(chr(31), {whole}))) as event_id,
            coalesce(received_at, arrived_at) as received_at, ds, arrived_at,
            case when len(rules) > 0 then rules end as broken,
        from judged
    """


def _cast(column: Column) -> str:
    raw = f'"raw_{column.name}"'
    typed = {
        "timestamp": f"try_cast({raw} as timestamptz) at time zone 'UTC'",
        "float": f"try_cast({raw} as double)",
        "string": raw,
    }[column.kind]
    return f'{typed} as "{column.name}"'


def _refusal(index: int, broken: list[str], event: Mapping[str, Any]) -> Refused:
    rule = _rules()[broken[0]]
    columns = [name for name in EVENTS.names if f'"{name}"' in rule.broken or f'"raw_{name}"' in rule.broken]
    also = f" It also breaks {', '.join(broken[1:])}." if len(broken) > 1 else ""
    came = " and ".join(_shown(event.get(name)) for name in columns)
    change = " or ".join(f"`{name}`" for name in columns)
    message = f"{rule.meaning}. Received {came}.{also} Post the event again with a {change} that keeps the rule."
    return Refused(index, rule.name, message)


@cache
def _rules() -> dict[str, Rule]:
    return {rule.name: rule for rule in rules_for(EVENTS)}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def utc_now() -> datetime:
    """Real time, UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
