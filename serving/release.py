"""Releasing a version: on trial beside the stable one, then for a share of the users, then for all, or rolled back.

    introduce   publish a SavedModel; recorded requests to it and to the stable version; the rules decide whether it may meet users
    start       it answers a share of the users
    compare     what it did so far, beside the stable version; `rules` say what follows
    promote     it becomes the stable version
    roll_back   the stable version answers everybody again

The state is a file per model (`release_state.py`); `models.config` is written from it (`release_config.py`). A label is moved only between
loaded versions, and users are sent to a label only while it stands: so no request fails on the way. Each step may be killed and done again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from serving import release_live
from serving.model_client import ModelClient
from serving.outcomes import online_difference
from serving.publish import LEDGER, PublishFailed, content_hash, publish, published_versions
from serving.release_compare import Comparison, Request, mirror
from serving.release_config import wait_for_label, write_config
from serving.release_requests import recorded
from serving.release_rules import ReleaseVerdict, decide, rules_of
from serving.release_state import CANARY, STABLE, Release, changing, noted, read, serving, write
from settings import Settings, get_settings

#: The stable version and the one on trial, as somebody saw them.
Shown = tuple[int | None, int | None]
Requests = Callable[[str, list[int], ModelClient, Settings], Sequence[Request]]


class ReleaseRefused(Exception):
    """The step was not done, and the message says why; what is stable still is."""


@dataclass(frozen=True)
class Introduced:
    """What became of a SavedModel: `stable` (a first version), `canary` (it may meet users), `refused`, or `same` (nothing new)."""

    version: int
    outcome: str
    reason: str
    comparison: Comparison | None = None


class Releases:
    """The releases of a house. `requests` gives what is asked of both versions; the tests have their own."""

    def __init__(self, settings: Settings | None = None, *, target: str | None = None, requests: Requests = recorded) -> None:
        self.settings = settings or get_settings()
        self.target = target or self.settings.model_server_target
        self._requests = requests

    def introduce(self, model: str, saved_model: Path, run: str = "") -> Introduced:
        """Publish a SavedModel that came from the training run `run`, and let the rules say whether it may meet users.

        A first version that passes is stable at once; later ones go on trial, for no user yet. A trial that runs is given up for the newer
        version. PublishFailed where it cannot be served at all, ReleaseRefused where the same model was rolled back before.
        """
        with changing(model, self.settings), ModelClient(self.target) as client:
            release = read(model, self.settings) or self._adopted(client, model)
            self._refuse_again(release, saved_model)
            before = self._given_up(release, "a newer version came")
            release = self._move(client, release, replace(before, keep=(self._number_to_come(model, saved_model),)))
            try:
                tell = partial(write_config, self.settings)
                version = publish(model, saved_model, models_dir=self.settings.models_dir, target=self.target, on_place=tell)
            except PublishFailed:
                self._move(client, release, before)
                raise
            before = replace(before, runs=before.runs | ({str(version): run} if run else {}))
            if version == before.stable:
                self._move(client, release, before)
                return Introduced(version, "same", f"version {version} is the same model and serves on")
            comparison = self._mirrored(client, model, version, before.stable)
            verdict = decide(comparison, rules_of(model))
            if not verdict.passed:
                self._move(client, release, _refused(before, version, verdict.reason))
                return Introduced(version, "refused", verdict.reason, comparison)
            label = STABLE if before.stable is None else CANARY
            history = noted(before, "first" if label == STABLE else "on trial", version, verdict.reason)
            first, later = (version, None) if label == STABLE else (before.stable, version)
            self._move(client, release, replace(before, stable=first, canary=later, history=history))
            return Introduced(version, label, verdict.reason, comparison)

    def start(self, model: str, version: int | None = None, share: float | None = None) -> Release:
        """Let the version on trial, or `version`, answer a share of the users, by default the rules'; a larger share keeps its users."""
        share = rules_of(model).share if share is None else share
        if not 0 <= share <= 1:
            raise ReleaseRefused(f"`share` must be from 0 to 1. Received {share}.")
        with changing(model, self.settings), ModelClient(self.target) as client:
            release = self._known(model)
            version = release.canary if version is None else version
            if version is None or version == release.stable or version not in self._versions(model):
                raise ReleaseRefused(
                    f"A version on trial must be a published one that is not stable. {model} has {self._versions(model)}, stable is "
                    f"{release.stable}. Received {version}. Publish one with the DAG `deploy`."
                )
            if release.canary != version:
                before = self._given_up(release, f"version {version} was chosen")
                before = replace(before, refused={number: why for number, why in release.refused.items() if number != str(version)})
                release = self._move(client, release, replace(before, keep=(version,)))
                client.wait_available(model, version)
                release = self._move(client, release, replace(before, canary=version))
            if release.canary_since is None:
                release_live.forget_live_counts(model, self.settings)
            since = release.canary_since or datetime.now(UTC).isoformat(timespec="seconds")
            history = noted(release, f"{share:.0%} of users", version)
            return write(replace(release, share=share, canary_since=since, history=history), self.settings)

    def compare(self, model: str, version: int | None = None) -> tuple[Comparison, ReleaseVerdict]:
        """The version on trial beside the stable one, recorded requests and users' alike, and what the rules say.

        Here and below a `version` must be the one on trial, so that nobody decides about another than was shown: else ReleaseRefused.
        """
        release = self._on_trial(model, version)
        assert release.canary is not None
        rules = rules_of(model)
        with ModelClient(self.target) as client:
            comparison = self._mirrored(client, model, release.canary, release.stable)
        online = online_difference(model, release.canary, release.stable, rules.metric) if release.stable is not None else None
        live = release_live.live_counts(model, release.canary, self.settings)
        comparison = replace(comparison, live=live, online=online)
        return comparison, decide(comparison, rules)

    def promote(self, model: str, reason: str = "", version: int | None = None) -> Release:
        """The version on trial answers everybody; returns the release, whose `runs` name the training run to crown."""
        with changing(model, self.settings), ModelClient(self.target) as client:
            release = self._on_trial(model, version)
            return self._move(client, release, replace(_without_canary(release, "promoted", reason), stable=release.canary))

    def roll_back(self, model: str, reason: str, version: int | None = None, shown: Shown | None = None) -> Release:
        """Give up the version on trial; where none is and none was named, the version that was stable before is stable again.

        ReleaseRefused where `shown` is given and no longer stands: somebody, or a rule, was quicker than the person who looked at it.
        """
        with changing(model, self.settings), ModelClient(self.target) as client:
            release = self._known(model) if version is None else self._on_trial(model, version)
            if shown is not None and shown != (release.stable, release.canary):
                raise ReleaseRefused(
                    f"What is taken back must be what was shown: of {model} {_told(*shown)}. Meanwhile "
                    f"{_told(release.stable, release.canary)}. Nothing was done; look at the page again."
                )
            if release.canary is not None:
                return self._move(client, release, _refused(release, release.canary, reason))
            bad, earlier = release.stable, self._earlier(release)
            if bad is None or earlier is None:
                raise ReleaseRefused(
                    f"Rolling back needs a version on trial or an earlier one. {model} has neither: stable is {bad}. Publish a better one."
                )
            release = self._move(client, release, replace(release, keep=(earlier,)))
            client.wait_available(model, earlier)
            return self._move(client, release, replace(_refused(release, bad, reason), stable=earlier))

    def _mirrored(self, client: ModelClient, model: str, version: int, stable: int | None) -> Comparison:
        versions = [version, *([stable] if stable is not None else [])]
        return mirror(client, model, version, stable, self._requests(model, versions, client, self.settings))

    def _move(self, client: ModelClient, before: Release, after: Release) -> Release:
        """From one state to the next: the server holds both and has the new labels, then requests follow, then the server lets go."""
        write(replace(before, serves=serving(after, before).serves), self.settings)
        write_config(self.settings)
        for label, version in after.labels.items():
            wait_for_label(client, after.model, label, version)
        after = write(serving(replace(after, is_labelled=True)), self.settings)
        write_config(self.settings)
        return after

    def _given_up(self, release: Release, reason: str) -> Release:
        """Without its trial, which may be tried again."""
        return release if release.canary is None else _without_canary(release, "given up", reason)

    def _adopted(self, client: ModelClient, model: str) -> Release:
        """The release of a model that has none yet: what was published before is stable."""
        release = Release(model, stable=max(self._versions(model), default=None))
        return self._move(client, replace(release, is_labelled=release.stable is None), release)

    def _refuse_again(self, release: Release, saved_model: Path) -> None:
        ledger = self.settings.models_dir / release.model / LEDGER
        numbers = json.loads(ledger.read_text(encoding="utf-8")) if release.refused and ledger.exists() else {}
        digest = content_hash(saved_model) if numbers else ""
        for version, reason in release.refused.items():
            if numbers.get(version, {}).get("sha256") == digest:
                raise ReleaseRefused(
                    f"A model that was rolled back is not published again. This one is {release.model} version {version}: {reason}. "
                    f"Train another, or try it once more with the DAG `release`."
                )

    def _number_to_come(self, model: str, saved_model: Path) -> int:
        """The number that `publish` will give: the newest version's where that is the same model, else the next that nobody had."""
        ledger = self.settings.models_dir / model / LEDGER
        given = json.loads(ledger.read_text(encoding="utf-8")) if ledger.exists() else {}
        newest = max(self._versions(model), default=0)
        if newest and given.get(str(newest), {}).get("sha256") == content_hash(saved_model):
            return newest
        return max([newest, *map(int, given)]) + 1

    def _versions(self, model: str) -> list[int]:
        return published_versions(model, models_dir=self.settings.models_dir)

    def _earlier(self, release: Release) -> int | None:
        good = [number for number in self._versions(release.model) if str(number) not in release.refused]
        return max((number for number in good if release.stable is not None and number < release.stable), default=None)

    def _known(self, model: str) -> Release:
        release = read(model, self.settings)
        if release is None:
            raise ReleaseRefused(f"A model must have been published by the DAG `deploy` before it is released. {model} was not.")
        return release

    def _on_trial(self, model: str, version: int | None) -> Release:
        release = self._known(model)
        if release.canary is None or version not in (None, release.canary):
            wanted, found = f"Version {version}" if version else "A version", f"on trial is {release.canary or 'none'}"
            raise ReleaseRefused(
                f"{wanted} of {model} must be on trial; {found}, stable is {release.stable}. The DAG `release` tries one out."
            )
        return release


def _told(stable: int | None, canary: int | None) -> str:
    return f"version {stable or 'none'} was stable and {canary or 'none'} on trial"


def _without_canary(release: Release, what: str, reason: str) -> Release:
    return replace(release, canary=None, share=0.0, canary_since=None, keep=(), history=noted(release, what, release.canary, reason))


def _refused(release: Release, version: int, reason: str) -> Release:
    release = replace(release, canary=None, share=0.0, canary_since=None, keep=(), refused=release.refused | {str(version): reason})
    return replace(release, history=noted(release, "rolled back", version, reason))
