"""Who gets which version: one file per model, `releases/<model>.json`, and the label that a user's request carries.

`stable` answers everybody, except that `canary`, the version on trial, answers a share of the users: always the same ones, and as the share
grows the earlier ones stay in. A model without a file is asked without a label, as before there were releases.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from serving.errors import NotServed
from settings import Settings, get_settings
from sources.durable import replace_text

STABLE, CANARY = "stable", "canary"


@dataclass(frozen=True)
class Release:
    """State of one model's release.

    `keep` are further versions to be held loaded; `runs` maps a version to the training run it came from, `refused` to the reason why it
    was rolled back; `history` says what was done when, oldest first. `serves` is what the model server is told, which runs ahead of all
    this where labels move; `is_labelled` is False until a model that was served before it had a release has its first label.
    """

    model: str
    stable: int | None = None
    canary: int | None = None
    share: float = 0.0
    canary_since: str | None = None
    keep: tuple[int, ...] = ()
    is_labelled: bool = True
    serves: dict[str, Any] = field(default_factory=lambda: {"versions": [], "labels": {}})
    runs: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = ()

    @property
    def versions(self) -> set[int]:
        return {number for number in (self.stable, self.canary, *self.keep) if number is not None}

    @property
    def labels(self) -> dict[str, int]:
        return {label: number for label, number in ((STABLE, self.stable), (CANARY, self.canary)) if number is not None}


def read(model: str, settings: Settings | None = None) -> Release | None:
    """The model's release; None where it never had one."""
    file = _file(model, settings)
    if not file.exists():
        return None
    raw = json.loads(file.read_text(encoding="utf-8"))
    return Release(**raw | {"keep": tuple(raw["keep"]), "history": tuple(raw["history"])})


def serving(release: Release, also: Release | None = None) -> Release:
    """The release with what the server is told for it, and for `also` beside it where the two do not exclude each other."""
    versions = sorted(release.versions | (also.versions if also else set()))
    return replace(release, serves={"versions": versions, "labels": {**(also.labels if also else {}), **release.labels}})


def released(settings: Settings | None = None) -> list[str]:
    """Models that have a release."""
    return sorted(file.stem for file in (settings or get_settings()).releases_dir.glob("*.json"))


def write(release: Release, settings: Settings | None = None) -> Release:
    """Replaces the model's file whole; readers see the old one or the new one."""
    file = _file(release.model, settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_text(file, json.dumps(asdict(release), indent=1))
    return release


def noted(release: Release, what: str, version: int | None, reason: str = "") -> tuple[dict[str, Any], ...]:
    """The history with one more line."""
    line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "what": what, "version": version, "reason": reason}
    return (*release.history, line)


@contextmanager
def changing(model: str, settings: Settings | None = None) -> Iterator[None]:
    """One process at a time changes a model's release."""
    file = _file(model, settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        yield


def label_for(model: str, user_id: str | None, settings: Settings | None = None) -> str | None:
    """The version label of a user's request; None where the model has no release, and is asked without one.

    Costs one `stat` of the state file. A guest gets `stable`. NotServed where no version has passed yet.
    """
    release = current(model, settings)
    if release is None or not release.is_labelled:
        return None
    if release.stable is None:
        raise NotServed(
            f"No version of `{model}` has passed its release yet: {next(reversed(release.refused.values()), 'it is on trial')}."
        )
    if release.canary is not None and user_id is not None and place_of(model, release.canary, user_id) < release.share:
        return CANARY
    return STABLE


def place_of(model: str, version: int, user_id: str) -> float:
    """Where a user stands in the queue for a version on trial, in [0, 1): those below its share are asked by it."""
    return int.from_bytes(hashlib.sha256(f"{model}\t{version}\t{user_id}".encode()).digest()[:8], "big") / 2**64


def current(model: str, settings: Settings | None = None) -> Release | None:
    """`read`, kept while the file stays the same."""
    file = _file(model, settings)
    try:
        state = file.stat()
    except FileNotFoundError:
        return None
    return _kept(file, model, (state.st_mtime_ns, state.st_ino), settings)


@cache
def _kept_releases() -> dict[Path, tuple[tuple[int, int], Release | None]]:
    return {}


def _kept(file: Path, model: str, state: tuple[int, int], settings: Settings | None) -> Release | None:
    kept = _kept_releases()
    if kept.get(file, (None, None))[0] != state:
        kept[file] = state, read(model, settings)
    return kept[file][1]


def _file(model: str, settings: Settings | None) -> Path:
    return (settings or get_settings()).releases_dir / f"{model}.json"
