"""The assets that join the DAGs, and what one run hands to the next.

A partition is one window of one source, `source|start|end`: every run works on its own window, in any order, and none is swallowed by
another. What a person chose in the form travels in the event's `extra`, so a later DAG runs with the choices of the run that led to it.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Landing files of a window are in the warehouse and passed their gate.
LANDING = Asset(name="landing", uri="portrait://warehouse/landing")
#: Marts of a window are built, gated, exported and in the online store.
FEATURES = Asset(name="features", uri="portrait://features/online")
#: Models were trained on a window; each has its verdict.
CANDIDATES = Asset(name="candidates", uri="portrait://models/candidates")
#: The promoted ones answer requests.
SERVED = Asset(name="served", uri="portrait://models/served")


def received(context: Context) -> dict[str, Any]:
    """The choices of this run: the form's, overlaid by what the run before handed over; a blank window is the whole delivery.

    Raises:
        AirflowFailException: the window is blank and nothing was delivered, or it is empty.
    """
    from airflow.sdk.exceptions import AirflowFailException

    events = [event for events in context["triggering_asset_events"].values() for event in events]
    choices = dict(context["params"])
    if events:
        choices |= max(events, key=lambda event: event.timestamp).extra
    for name, value in _delivery().items():
        choices[name] = choices.get(name) or value
    missing = [name for name in ("source", "start", "end") if not choices.get(name)]
    if missing:
        raise AirflowFailException(f"A run needs a window. {missing} are blank and nothing was delivered yet. Trigger `ingest` first.")
    if choices["start"] >= choices["end"]:
        raise AirflowFailException(f"A window is [start, end) in days. Received {choices['start']} to {choices['end']}. Let end be later.")
    return choices


def window_of(choices: dict[str, Any]) -> tuple[date, date]:
    """The window `[start, end)` of a run, in days."""
    return date.fromisoformat(choices["start"]), date.fromisoformat(choices["end"])


def history_of(choices: dict[str, Any]) -> tuple[date, date]:
    """From the first day that was ever delivered to the end of a run's window: a model learns from all that was known by then."""
    from settings import get_settings

    days = [folder.name.removeprefix("ds=") for folder in get_settings().landing_dir.glob("*/ds=*")]
    start, end = window_of(choices)
    return min([start, *map(date.fromisoformat, days)]), end


def hand_over(context: Context, asset: Asset, choices: dict[str, Any]) -> dict[str, Any]:
    """Emit `asset` for the window of `choices`, which the next DAG receives; returns them for the log."""
    event = context["outlet_events"][asset]
    event.add_partitions("|".join(choices[name] for name in ("source", "start", "end")))
    event.extra = choices
    return choices


def _delivery() -> dict[str, str]:
    """Source, start and end of the landing files of this house; empty where nothing was delivered."""
    from settings import get_settings
    from sources.registry import DELIVERY_FILE, Delivery

    folder = get_settings().landing_dir
    if not (folder / DELIVERY_FILE).exists():
        return {}
    delivery = Delivery.read(folder)
    return {"source": delivery.source, "start": delivery.start.isoformat(), "end": delivery.end.isoformat()}
