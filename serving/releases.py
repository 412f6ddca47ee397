"""Which model versions are there and which answer, the last candidates with the gate's verdicts, and where their reports lie."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.model_client import ModelError, ModelNotFound
from serving.publish import LEDGER, published_versions
from serving.release_state import Release, read
from serving.shop_front import ShopFront
from training.signatures import SERVED_MODELS

#: Candidates shown of a model, newest first.
SHOWN = 5


@dataclass(frozen=True)
class Version:
    """One published version; `state` is the model server's word for it, None where the server does not answer."""

    number: int
    state: str | None
    window: str
    code: str


@dataclass(frozen=True)
class Candidate:
    """One trained candidate and the gate's verdict on it; the report is served under `/reports/<model>/<run>/`."""

    run: str
    judged_at: datetime
    promoted: bool
    reason: str
    metric: str | None
    value: Any
    baseline: Any
    has_report: bool


@dataclass(frozen=True)
class ModelReleases:
    """Everything of one model; `serving` is the stable version or, without a release, the newest that answers; `refused` says why numbers
    were not published or were taken back."""

    model: str
    release: Release | None
    serving: int | None
    versions: tuple[Version, ...]
    refused: dict[int, str]
    candidates: tuple[Candidate, ...]
    skipped: str | None

    @property
    def can_be_taken_back(self) -> bool:
        """A version is on trial, or another was published before the one that is stable."""
        stable = self.release.stable if self.release else self.serving
        earlier = [one for one in self.versions if stable is not None and one.number < stable and one.number not in self.refused]
        return bool(self.release and (self.release.canary is not None or earlier))


def releases(shop: ShopFront) -> list[ModelReleases]:
    """Every served model of the house."""
    return [_of(shop, model) for model in SERVED_MODELS]


def report_file(shop: ShopFront, model: str, run: str) -> Path | None:
    """The HTML report of a candidate; None where there is none of that name."""
    if model not in SERVED_MODELS or "/" in run or run.startswith("."):
        return None
    file = shop.settings.candidates_dir / model / run / "report.html"
    return file if file.is_file() else None


def _of(shop: ShopFront, model: str) -> ModelReleases:
    settings = shop.settings
    try:
        states: dict[int, str] | None = {number: found.state for number, found in shop.models.status(model, timeout_s=2.0).items()}
    except ModelNotFound:
        states = {}
    except ModelError:
        states = None
    base = settings.models_dir / model
    versions = [_version(base, number, states) for number in reversed(published_versions(model, models_dir=settings.models_dir))]
    ledger = json.loads((base / LEDGER).read_text()) if (base / LEDGER).exists() else {}
    release = read(model, settings)
    refused = {int(number): entry["reason"] for number, entry in ledger.items() if entry.get("state") in ("failed", "refused")}
    runs = sorted(settings.candidates_dir.glob(f"{model}/*/verdict.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    refused |= {int(number): reason for number, reason in release.refused.items()} if release else {}
    skipped = settings.candidates_dir / model / "skipped.json"
    available = [number for number, state in (states or {}).items() if state == "AVAILABLE"]
    return ModelReleases(
        model,
        release,
        release.stable if release and release.stable in available else None if release else max(available, default=None),
        tuple(versions),
        refused,
        tuple(_candidate(file) for file in runs[:SHOWN]),
        json.loads(skipped.read_text())["reason"] if skipped.exists() else None,
    )


def _version(base: Path, number: int, states: dict[int, str] | None) -> Version:
    file = base / str(number) / "assets.extra" / "provenance.json"
    said = json.loads(file.read_text()) if file.exists() else {}
    state = None if states is None else states.get(number, "not loaded")
    return Version(number, state, str(said.get("window", "")).replace("/", " – "), str(said.get("code_revision") or "")[:8])


def _candidate(file: Path) -> Candidate:
    verdict = json.loads(file.read_text())
    figures = verdict.get("figures", {})
    judged_at = datetime.fromtimestamp(file.stat().st_mtime, UTC).replace(tzinfo=None)
    return Candidate(
        file.parent.name,
        judged_at,
        verdict["promoted"],
        verdict["reason"],
        figures.get("metric"),
        figures.get("challenger"),
        figures.get("baseline"),
        (file.parent / "report.html").exists(),
    )
