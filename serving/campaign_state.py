"""Where a campaign stands, in `campaigns/<name>/status.json`: planned -> approved -> sent, or planned -> rejected; who decided it, and why.

One process at a time changes it. What is approved or sent is never planned anew under its name.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from filelock import FileLock

from serving.campaign_files import folder
from serving.errors import ConsumerError
from settings import Settings
from sources.durable import replace_text

State = Literal["planned", "approved", "rejected", "sent"]
NEXT: dict[State, tuple[State, ...]] = {
    "planned": ("planned", "approved", "rejected"),
    "rejected": ("planned",),
    "approved": ("sent",),
    "sent": (),
}


class CampaignRefused(ConsumerError):
    """The step was not done, and the message says why; the campaign is where it was."""


class UnknownCampaign(ConsumerError):
    """No campaign of that name was planned."""

    exit_code = 3


@dataclass(frozen=True)
class Status:
    """State of a campaign; `history` has a line for every step, oldest first: at, state, who, role, why, override; of an approval
    `left_out`, planned users by why they were not assigned, and of sending `sent_at`, on the house's clock."""

    name: str
    state: State
    history: tuple[dict[str, Any], ...] = ()

    @property
    def last(self) -> dict[str, Any]:
        return self.history[-1]


def read_status(name: str, settings: Settings) -> Status:
    """UnknownCampaign where nothing was planned under that name."""
    file = folder(settings, name) / "status.json"
    if not file.exists():
        known = ", ".join(planned(settings)) or "none"
        raise UnknownCampaign(
            f"A campaign must have been planned. Received {name!r}; there are: {known}. Plan it with `portrait campaign plan`."
        )
    raw = json.loads(file.read_text(encoding="utf-8"))
    return Status(raw["name"], raw["state"], tuple(raw["history"]))


def planned(settings: Settings) -> list[str]:
    """Names of all campaigns."""
    return sorted(file.parent.name for file in settings.campaigns_dir.glob("*/status.json"))


@contextmanager
def changing(name: str, settings: Settings) -> Iterator[None]:
    """One process at a time changes a campaign."""
    folder(settings, name).mkdir(parents=True, exist_ok=True)
    with FileLock(folder(settings, name) / ".lock"):
        yield


def may_become(name: str, state: State, settings: Settings) -> None:
    """CampaignRefused where the step is none; under `changing`."""
    try:
        now = read_status(name, settings)
    except UnknownCampaign:
        if state == "planned":
            return
        raise
    if state not in NEXT[now.state]:
        way = (
            "Plan another under a new name."
            if state == "planned"
            else f"From {now.state} it may become: {', '.join(NEXT[now.state]) or 'nothing'}."
        )
        raise CampaignRefused(
            f"Campaign {name} is {now.state} since {now.last['at']} by {now.last['who']}; it cannot become {state}. {way}"
        )


def move(
    name: str, state: State, settings: Settings, *, who: str, role: str = "", why: str = "", override: str = "", **noted: Any
) -> Status:
    """The campaign in its new state, on disk, with what else is `noted` of the step; under `changing`."""
    may_become(name, state, settings)
    try:
        history = read_status(name, settings).history
    except UnknownCampaign:
        history = ()
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "state": state,
        "who": who,
        "role": role,
        "why": why,
        "override": override,
        **noted,
    }
    status = Status(name, state, (*history, line))
    replace_text(folder(settings, name) / "status.json", json.dumps(asdict(status), indent=1))
    return status
