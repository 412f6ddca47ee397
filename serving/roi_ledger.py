"""The ledger of a campaign's return: one snapshot a day, written once, `campaigns/<name>/ledger/<day>.json`.

A snapshot of a day is what was known when that day began; nothing that became known later changes it, since it is not written again. What
arrives late is in the snapshots of later days. They end a week after the last outcome window, by when late records are in.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from feature_repo.published import connect, from_clause
from serving.roi import BEFORE, Gain, Line, Looks, Terms, account
from serving.roi_outcomes import before_as_known, outcomes_as_known
from serving.sequential import Interval
from sources.durable import replace_text

#: After the last window, what arrives late is waited for so long.
SETTLING = timedelta(days=7)


@dataclass(frozen=True)
class Snapshot:
    """The accounts as known at `as_of`, a midnight; `is_reported` says whether the shop itself told who was sent what."""

    as_of: datetime
    is_over: bool
    is_reported: bool
    lines: tuple[Line, ...]


def days_of(windows: pd.DataFrame, until: datetime) -> list[datetime]:
    """The midnights of the snapshots up to `until`: from the end of the first window's first day to `SETTLING` after the last window."""
    first = windows["first_at"].min().to_pydatetime() + timedelta(days=1)
    last = min(until, windows["until_at"].max().to_pydatetime() + SETTLING)
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def ledger(folder: Path, campaign: str, assigned: pd.DataFrame, terms: Terms, until: datetime, sent_at: datetime | None) -> list[Snapshot]:
    """Every snapshot up to `until`, oldest first; those that no one has asked for before are made and kept.

    `assigned` are the rows of `assignments.parquet`, and `sent_at` is when the lists went out by the house's own word. A day's
    intervals rest on those of the days before, so the days are gone through from the first one where any is missing.
    """
    days = days_of(terms.windows(assigned["assigned_at"]), until)
    files = {day: folder / f"{day:%Y-%m-%d}.json" for day in days}
    if all(file.exists() for file in files.values()):
        return [_read(file) for file in files.values()]
    folder.mkdir(parents=True, exist_ok=True)
    assigned = assigned.sort_values("user_id", kind="stable").reset_index(drop=True)
    windows = terms.windows(assigned["assigned_at"])
    before = before_as_known(assigned).set_axis(list(BEFORE), axis=1)
    exposures, looks, found = _exposures(campaign), Looks(), []
    for day, file in files.items():
        sent, is_reported = _sent(assigned, exposures, day, sent_at)
        users = pd.concat([assigned, before, sent, outcomes_as_known(assigned, windows, day)], axis=1)
        lines = tuple(account(users, terms, day, looks))
        if not file.exists():
            is_over = day >= windows["until_at"].max()
            replace_text(file, json.dumps(asdict(Snapshot(day, bool(is_over), is_reported, lines)), indent=1, default=datetime.isoformat))
        found.append(_read(file))
    return found


def _exposures(campaign: str) -> pd.DataFrame:
    """What the shop reported of this campaign: user_id, assigned_at, treatment, cost."""
    query = f"select user_id, assigned_at, treatment, cost from {from_clause('campaign_outcomes')} where campaign_id = $name"
    with connect() as connection:
        return connection.sql(query, params={"name": campaign}).df()


def _sent(assigned: pd.DataFrame, exposures: pd.DataFrame, day: datetime, sent_at: datetime | None) -> tuple[pd.DataFrame, bool]:
    """`is_sent` and `cost` of each user by `day`: as the shop reported; where it reported nothing of the campaign, as assigned, from
    `sent_at` on."""
    is_offer = assigned["arm"] != "control"
    known = exposures[exposures["assigned_at"] < day].drop_duplicates("user_id").set_index("user_id")
    if exposures.empty:
        return pd.DataFrame({"is_sent": is_offer & (sent_at is not None and sent_at < day), "cost": float("nan")}), False
    told = known.reindex(assigned["user_id"])
    is_sent = is_offer.to_numpy() & (told["treatment"].to_numpy() == assigned["arm"].to_numpy())
    return pd.DataFrame({"is_sent": is_sent, "cost": told["cost"].to_numpy(float)}, index=assigned.index), True


def _read(file: Path) -> Snapshot:
    told = json.loads(file.read_text(encoding="utf-8"))
    lines = tuple(_line(line) for line in told["lines"])
    return Snapshot(datetime.fromisoformat(told["as_of"]), told["is_over"], told["is_reported"], lines)


def _line(told: dict[str, Any]) -> Line:
    gains = {
        kind: Gain(**gain | {"per_user": Interval(**gain["per_user"]), "total": Interval(**gain["total"])})
        for kind, gain in told["gains"].items()
    }
    intervals = {name: Interval(**told[name]) if told[name] else None for name in ("profit", "roi")}
    return Line(**told | intervals | {"gains": gains})
