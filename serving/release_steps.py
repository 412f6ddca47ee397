"""The steps of a release as the DAGs take them: each a call, whose report is for the task's log and for the person who decides."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from serving.release import ReleaseRefused, Releases
from serving.release_rules import times
from serving.release_state import CANARY, STABLE, read


class RolledBack(Exception):
    """A rule was broken, and the version on trial serves nobody any more; the message is the rule's reason."""


@dataclass(frozen=True)
class Watched:
    """A look at a version on trial: the comparison in words, and whether its time is over."""

    text: str
    is_over: bool


def publish(model: str, candidate: Path) -> tuple[int, str]:
    """Publish a candidate's folder; its version, and the label it has. ReleaseRefused where a rule is broken."""
    introduced = Releases().introduce(model, candidate / "saved_model", candidate.name)
    if introduced.comparison:
        print(introduced.comparison.as_text())
    if introduced.outcome == "refused":
        raise ReleaseRefused(f"{model} version {introduced.version} was rolled back before any user saw it: {introduced.reason}")
    return introduced.version, CANARY if introduced.outcome == CANARY else STABLE


def watch(model: str, version: int) -> Watched:
    """Compare the version on trial once; RolledBack where a rule was broken and so it is, ReleaseRefused where another is on trial."""
    releases = Releases()
    comparison, verdict = releases.compare(model, version)
    if not verdict.passed:
        print(comparison.as_text())
        releases.roll_back(model, verdict.reason, version)
        raise RolledBack(f"{model} version {version} was rolled back: {verdict.reason}")
    release = read(model)
    began = datetime.fromisoformat(release.canary_since) if release and release.canary_since else datetime.now(UTC)
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    text = f"{comparison.as_text()}\n\nThe rules would promote it: {verdict.reason}."
    return Watched(text, minutes >= times()["watch_minutes"])


def act(model: str, version: int | None, promoted: bool | None, reason: str) -> str | None:
    """Promote the version on trial or roll it back, as a person said; None asks the rules. The training run of the version
    that answers everybody from now on, to be MLflow's champion, where it is known."""
    releases = Releases()
    if promoted is None:
        _, verdict = releases.compare(model, version)
        promoted, reason = verdict.passed, verdict.reason
    release = (releases.promote if promoted else releases.roll_back)(model, reason, version)
    print(f"{model}: {'promoted' if promoted else 'rolled back'}, version {release.stable} answers everybody ({reason})")
    return release.runs.get(str(release.stable))
