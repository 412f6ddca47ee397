"""Users' requests while a version is on trial: asked by label, answered by the stable version where the trial fails, and counted.

Counts go to `releases/<model>.live/<process>-<version>.json`, at most once a second and only during a trial, for the comparison of the
release, which runs in another process.
"""

import json
import math
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serving.model_client import ModelClient, ModelError, ModelUnavailable, Prediction
from serving.release_compare import Live, is_sound
from serving.release_state import CANARY, STABLE, current, label_for
from settings import Settings, get_settings

WRITE_SECONDS = 1.0
#: A user waits no longer for a version on trial before the stable one is asked.
CANARY_TIMEOUT_SECONDS = 1.0
#: Latencies are counted in parts that are a tenth wider each.
STEP = 1.1


class ReleasedModels:
    """Predictions by release, one per process; safe to share among threads."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or get_settings()
        self._lock = threading.Lock()
        self._name = secrets.token_hex(8)  # of these counts: a process id comes again, in another container at the same time
        self._counts: dict[str, dict[str, Any]] = {}

    def predict(
        self,
        client: ModelClient,
        model: str,
        inputs: Mapping[str, np.ndarray],
        user_id: str | None,
        *,
        timeout_s: float = 10.0,
        **more: Any,
    ) -> Prediction:
        """The answer for this user, with the label that gave it.

        Where the version on trial fails, is late or answers with numbers that are none, the stable version answers. ModelError where that
        one fails; NotServed where no version has passed.
        """
        label = label_for(model, user_id, self._settings)
        release = current(model, self._settings)
        if release is None or release.canary is None or not release.share:
            return _labelled(client.predict(model, inputs, label=label, timeout_s=timeout_s, **more), label)
        if label == CANARY:
            begin = time.perf_counter()
            try:
                limit = min(timeout_s, CANARY_TIMEOUT_SECONDS)
                answer = client.predict(model, inputs, label=CANARY, timeout_s=limit, **more)
            except ModelUnavailable:
                pass  # the server is away for everybody: no fault of this version
            except ModelError:
                self._count(model, release.canary, CANARY, begin, is_error=True)
            else:
                is_good = is_sound(answer)
                self._count(model, release.canary, CANARY, begin, is_error=not is_good)
                if is_good:
                    return _labelled(answer, CANARY)
        begin, is_error = time.perf_counter(), True
        try:
            answer = client.predict(model, inputs, label=STABLE, timeout_s=timeout_s, **more)
            is_error = False
        finally:
            self._count(model, release.canary, STABLE, begin, is_error=is_error)
        return _labelled(answer, STABLE)

    def _count(self, model: str, version: int, label: str, begin: float, *, is_error: bool) -> None:
        part = _part(1000 * (time.perf_counter() - begin))
        with self._lock:
            counts = self._counts.get(model)
            if counts is None or counts["version"] != version:
                counts = self._counts[model] = {"version": version, "written": 0.0, "labels": {}}
            own = counts["labels"].setdefault(label, {"errors": 0, "parts": Counter()})
            own["errors"] += is_error
            own["parts"][part] += 1
            if time.monotonic() - counts["written"] >= WRITE_SECONDS:
                counts["written"] = time.monotonic()
                _write(_folder(model, self._settings) / f"{self._name}-{version}.json", counts["labels"])


def live_counts(model: str, version: int, settings: Settings | None = None) -> dict[str, Live]:
    """What all processes counted, by label, since `version` went on trial; nothing where no user asked."""
    errors: Counter = Counter()
    parts: dict[str, Counter] = {}
    for file in _folder(model, settings or get_settings()).glob(f"*-{version}.json"):
        for label, own in json.loads(file.read_text(encoding="utf-8")).items():
            errors[label] += own["errors"]
            parts.setdefault(label, Counter()).update({int(part): count for part, count in own["parts"].items()})
    return {
        label: Live(own.total(), errors[label], *(_percentile(own, share) for share in (0.5, 0.99))) for label, own in sorted(parts.items())
    }


def forget_live_counts(model: str, settings: Settings | None = None) -> None:
    """A new trial begins with no counts."""
    for file in _folder(model, settings or get_settings()).glob("*.json"):
        file.unlink(missing_ok=True)


def _labelled(answer: Prediction, label: str | None) -> Prediction:
    answer.label = label
    return answer


def _folder(model: str, settings: Settings) -> Path:
    return settings.releases_dir / f"{model}.live"


def _part(ms: float) -> int:
    return round(math.log(max(ms, 0.01), STEP))


def _percentile(parts: Counter, share: float) -> float:
    wanted, seen = share * parts.total(), 0
    for part in sorted(parts):
        seen += parts[part]
        if seen >= wanted:
            return STEP**part
    return float("nan")


def _write(file: Path, labels: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".tmp")
    beside.write_text(json.dumps(labels), encoding="utf-8")
    beside.replace(file)
