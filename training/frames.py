"""Feature frames, point-in-time as known, in the form in which models read them. Times are UTC without zone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from feature_repo.frames import read_mart, rows_as_of, training_frame
from settings import get_settings
from training.catalogue import Catalogue
from training.histories import Histories
from training.randomised import CONTROL, draws, randomised
from training.signatures import PORTRAIT, RECOMMENDER, UPLIFT, USER_FEATURES
from training.splits import Questions

PERIOD = timedelta(days=14)
SPEND_WINDOW = timedelta(days=90)
PROPENSITY_LABELS = ("is_purchased_7d", "is_purchased_30d", "is_active_7d", "is_active_30d")


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of a UTC time without zone."""
    return int(np.datetime64(moment, "us").astype(np.int64))


def users_known(at: datetime) -> np.ndarray:
    """Users with a history at `at`, sorted, str objects `(users,)`."""
    return rows_as_of("user_sequences", at)["user_id"].astype(str).sort_values().to_numpy(object)


def histories_until(until: datetime, start: datetime, users: np.ndarray | None = None) -> Histories:
    """Everything known of every user, or of `users`, at `until`, with each event as it was known at the end of its period of 14 days.

    A frame holds only a user's newest events, so one is taken every 14 days back to `start`, and of each only the events of its own
    period: every event comes once, and none that became known after `until`.
    """
    users = users_known(until) if users is None else users
    cuts = [until]
    while cuts[0] - PERIOD > start:
        cuts.insert(0, cuts[0] - PERIOD)
    pieces = []
    for place, cut in enumerate(cuts):
        frame = training_frame(RECOMMENDER.feature_service, pd.DataFrame({"user_id": users, "event_timestamp": cut}))
        pieces.append(_since(histories_of(frame), to_us(cuts[place - 1]) if place else None))
    return Histories(users, *(_joined([getattr(piece, name) for piece in pieces]) for name in ("item_ids", "event_types", "times_us")))


def questions_between(histories: Histories, start: datetime, end: datetime) -> Questions:
    """Each user's first event in `[start, end)`, known at `end`, on an item that is not in `histories`; users without one are not asked."""
    asked = pd.DataFrame({"user_id": histories.user_ids, "event_timestamp": end})
    later = _since(histories_of(training_frame(RECOMMENDER.feature_service, asked)), to_us(start))
    users, targets = [], []
    for user, (items, seen) in enumerate(zip(later.item_ids, histories.item_ids, strict=True)):
        target = next((item for item in items if item not in set(seen)), None)
        if len(seen) and target is not None:
            users.append(user)
            targets.append(target)
    return Questions(histories[np.array(users, np.int64)], np.array(targets, object))


def histories_of(frame: pd.DataFrame) -> Histories:
    """Histories from a frame's list columns, one a row, empty where nothing was known."""

    def column(name: str, dtype: type) -> list[np.ndarray]:
        return [np.asarray([] if values is None or np.ndim(values) == 0 else values, dtype) for values in frame[name]]

    users = frame["user_id"].astype(str).to_numpy(object)
    return Histories(users, column("event_item_ids", object), column("event_types", object), column("event_times_us", np.int64))


def catalogue_at(at: datetime) -> Catalogue:
    """Every item known at `at`."""
    rows = rows_as_of("item_features", at).sort_values("item_id")
    texts = {name: rows[name].fillna("").astype(str).to_numpy(object) for name in ("title", "category", "brand")}
    attributes = np.array(
        [" ".join(word.replace(" ", "_") for word in words) if words is not None else "" for words in rows["attributes"]], object
    )
    return Catalogue(rows["item_id"].astype(str).to_numpy(object), **texts, price=rows["price"].to_numpy(np.float32), attributes=attributes)


@dataclass(frozen=True)
class Asked:
    """Rows of a label table with what was known at each row's time: `numbers` `(rows, USER_FEATURES)`, NaN where unknown."""

    labels: pd.DataFrame
    histories: Histories
    at_us: np.ndarray
    numbers: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Asked:
        return Asked(self.labels.loc[rows].reset_index(drop=True), self.histories[rows], self.at_us[rows], self.numbers[rows])

    @property
    def days_since_last(self) -> np.ndarray:
        """Days since the newest event, `(rows,)` float32, NaN without one."""
        last = np.array([times[-1] if len(times) else 0 for times in self.histories.times_us], np.int64)
        return np.where(self.histories.lengths > 0, (self.at_us - last) / 86_400_000_000, np.nan).astype(np.float32)


def ask(service: str, labels: pd.DataFrame, at: pd.Series) -> Asked:
    """`labels` (with `user_id`) beside the service's features as known at the times `at`."""
    frame = training_frame(service, pd.DataFrame({"user_id": labels["user_id"].to_numpy(), "event_timestamp": at.to_numpy()}))
    times = at.to_numpy("datetime64[us]").astype(np.int64)
    return Asked(labels.reset_index(drop=True), histories_of(frame), times, frame[list(USER_FEATURES)].to_numpy(np.float32))


def propensity_labels(end: datetime) -> pd.DataFrame:
    """`user_id`, `label_at` and the four outcomes, of the labels known at `end`."""
    rows = read_mart("next_purchase_labels")
    return rows[(rows["known_at"] <= end) & rows[list(PROPENSITY_LABELS)].notna().all(axis=1)].reset_index(drop=True)


def spend_labels(end: datetime) -> pd.DataFrame:
    """`user_id`, `label_at` and `spend`, purchases less returns within `SPEND_WINDOW` from `label_at` on, of the windows over at `end`.

    Users and times are those of `next_purchase_labels`. The money is the feature `spend_90d` as known when the window was over: label and
    feature are counted by the same code, and what became known later is in neither. Times with less than such a window of records behind
    them are left out, once there are others to learn from: their features count less than they say.
    """
    rows = read_mart("next_purchase_labels")[["user_id", "label_at"]]
    rows = rows[rows["label_at"] + SPEND_WINDOW <= end]
    first = rows["label_at"].min()
    if rows["label_at"].max() - first >= 2 * SPEND_WINDOW:  # what is asked is still learned from
        rows = rows[rows["label_at"] >= first + SPEND_WINDOW]
    rows = rows.reset_index(drop=True).assign(spend=0.0)
    for label_at, asked in rows.groupby("label_at"):
        known = rows_as_of("user_features", label_at + SPEND_WINDOW).set_index("user_id")["spend_90d"]
        rows.loc[asked.index, "spend"] = known.reindex(asked["user_id"]).fillna(0.0).to_numpy()
    return rows


def trait_labels(end: datetime) -> pd.DataFrame:
    """`user_id`, `trait`, `value` of what users had declared at `end`."""
    rows = read_mart("trait_labels")
    return rows[rows["known_at"].isna() | (rows["known_at"] <= end)].reset_index(drop=True)


def numbers_at(user_ids: pd.Series, at: datetime) -> np.ndarray:
    """What was known of the users' numbers at `at`, `(users, USER_FEATURES)`, NaN where unknown."""
    frame = training_frame(PORTRAIT.feature_service, pd.DataFrame({"user_id": user_ids.to_numpy(), "event_timestamp": at}))
    return frame[list(USER_FEATURES)].to_numpy(np.float32)


def ask_portrait(labels: pd.DataFrame) -> Asked:
    return ask(PORTRAIT.feature_service, labels, labels["label_at"])


def campaign_rows(end: datetime) -> tuple[pd.DataFrame, list[str]]:
    """Campaign outcomes known at `end` (`treatment`, `visited`, `converted`, `spend`, covariates as columns) and the covariates' names.

    A row's outcome counts once `outcome_at` has passed; where the shop gives none, it counts at once. Without a control group a campaign
    is left out. `propensity` is NaN where it is not that of the row's `draw`.
    """
    rows = read_mart("campaign_outcomes")
    rows["draw"] = draws(rows, get_settings().campaigns_dir)
    rows["propensity"] = rows["propensity"].where(randomised(rows, rows["draw"].to_numpy(object)))
    is_known = (rows["assigned_at"] < end) & (rows["outcome_at"].isna() | (rows["outcome_at"] <= end))
    with_control = set(rows.loc[rows["treatment"] == CONTROL, "campaign_id"])
    rows = rows[is_known & rows["campaign_id"].isin(with_control)].reset_index(drop=True)
    rows = rows.rename(columns={"is_visited": "visited", "is_converted": "converted"})
    for outcome in ("visited", "converted", "spend"):
        rows[outcome] = pd.to_numeric(rows[outcome].astype(object).map(lambda value: None if pd.isna(value) else float(value)))
    covariates = pd.DataFrame([json.loads(text) if isinstance(text, str) else {} for text in rows["covariates"]], index=rows.index)
    return pd.concat([rows.drop(columns="covariates"), covariates], axis=1), sorted(covariates.columns)


def ask_campaigns(rows: pd.DataFrame) -> Asked:
    return ask(UPLIFT.feature_service, rows, rows["assigned_at"])


def _since(histories: Histories, start_us: int | None) -> Histories:
    """Events at or after `start_us`; all of them for None."""
    if start_us is None:
        return histories
    firsts = [int(np.searchsorted(times, start_us, side="left")) for times in histories.times_us]

    def cut(columns: list[np.ndarray]) -> list[np.ndarray]:
        return [column[first:] for column, first in zip(columns, firsts, strict=True)]

    return Histories(histories.user_ids, cut(histories.item_ids), cut(histories.event_types), cut(histories.times_us))


def _joined(pieces: list[list[np.ndarray]]) -> list[np.ndarray]:
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
