"""Daily scoring: what the served portrait model says of every known user, written as the landing table `portraits`.

From there the portraits take the road of all records: loaded, carried by dbt into the mart `user_portraits`, published to Feast. So "user u
as of t" and "what changed since" are questions to the warehouse, and data flows one way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import numpy as np

from serving.errors import NotServed
from serving.portraits import PROBABILITIES
from serving.release_state import label_for
from settings import get_settings
from training.signatures import HISTORY, PORTRAIT, USER_FEATURES

BATCH = 256


@dataclass(frozen=True)
class Scored:
    """How many users of which day were scored, and by which version of the model."""

    day: date
    users: int
    model_version: int | None


def score(day: date) -> Scored:
    """Scores every user known at the midnight with which `day` begins, and writes `landing/portraits/ds=<day>`; a day scored before is
    replaced.

    Raises NotServed where no portrait model is served.
    """
    import pandas as pd

    from feature_repo.frames import rows_as_of, training_frame
    from serving.model_client import ModelClient, ModelError
    from serving.segment_members import segments_said
    from sources.files import landing_table, put_in_place, write_parquet

    settings, at = get_settings(), datetime.combine(day, time())
    users = rows_as_of("user_sequences", at)["user_id"].astype(str).to_numpy(object)
    asked = pd.DataFrame({"user_id": users, "event_timestamp": at})
    frame = training_frame(PORTRAIT.feature_service, asked)
    label = label_for(PORTRAIT.name, None, settings)  # a version on trial scores nobody
    said = segments_said(at)
    vectors, texts, versions = [], [], set()
    try:
        with ModelClient(settings.model_server_target) as client:
            for rows in _batches(frame):
                answer = client.predict(PORTRAIT.name, _inputs(rows, at), label=label, timeout_s=60.0)
                versions.add(answer.version)
                vectors += answer["vector"].astype(float).tolist()
                texts += [
                    json.dumps(portrait | {"segments": said.get(user, {})}, sort_keys=True)
                    for user, portrait in zip(rows["user_id"], as_portraits(answer), strict=True)
                ]
    except ModelError as problem:
        raise NotServed(f"Scoring asks the served portrait model. {problem}") from problem
    if len(versions) > 1:
        return score(day)  # a new version was published meanwhile: a day has one
    version = versions.pop() if versions else None
    columns = {
        "user_id": users,
        "as_of": np.full(len(users), np.datetime64(at, "us")),
        "model_version": np.full(len(users), str(version), object),
        "vector": vectors,
        "portrait": texts,
    }
    staged = settings.landing_dir.parent / ".scoring"
    shutil.rmtree(staged, ignore_errors=True)
    rows = landing_table("portraits", columns, [day] * len(users)).drop_columns("ds")
    write_parquet(rows, staged / "portraits" / f"ds={day}" / "part-0.parquet")
    put_in_place(staged, settings.landing_dir, ())
    shutil.rmtree(staged)
    return Scored(day, len(users), version)


def as_portraits(answer: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """One JSON object a user: `traits`, `trait_probabilities` (by trait and value), `interests` (shares by category), `next_category`,
    `interest_alarm`, `segment`, probabilities and expected spend."""
    for row in range(len(answer["vector"])):
        names = answer["trait_names"][row].tolist()
        traits = zip(names, answer["trait_choices"][row].tolist(), strict=True)
        values = zip(names, answer["trait_values"][row].tolist(), answer["trait_probabilities"][row].tolist(), strict=True)
        shares = zip(answer["interest_categories"][row].tolist(), answer["interest_shares"][row].tolist(), strict=True)
        yield {
            "traits": dict(traits),
            "trait_probabilities": {
                name: {value: round(share, 4) for value, share in zip(known, shares, strict=True) if value}
                for name, known, shares in values
            },
            "interests": {name: round(share, 4) for name, share in shares},
            "next_category": answer["next_category"][row],
            "interest_alarm": bool(answer["interest_alarm"][row]),
            "segment": answer["segment"][row],
            **{name: _number(answer[name][row]) for name in (*PROBABILITIES, "expected_spend_90d")},
        }


def _batches(frame: Any) -> Iterator[Any]:
    for start in range(0, len(frame), BATCH):
        yield frame.iloc[start : start + BATCH]


def _inputs(rows: Any, at: datetime) -> dict[str, np.ndarray]:
    from serving.model_inputs import history_inputs, user_inputs

    records = rows[[*(tensor.name for tensor in HISTORY[:3]), *USER_FEATURES]].to_dict("records")
    return history_inputs(records, at) | user_inputs(records)


def _number(value: Any) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
