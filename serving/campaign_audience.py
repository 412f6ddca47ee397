"""Who may get an offer: known users who agreed to it, are wanted, and were left in peace long enough; and who of them is held out."""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.consent import agreed
from feature_repo.contract import PORTRAITS, mart, views
from feature_repo.frames import newest_rows_query, read_mart, rows_as_of
from feature_repo.published import connect
from serving.campaign_files import CONTROL, read_table
from serving.campaign_request import CampaignRequest
from serving.errors import BadRequest, NotServed
from serving.segment_rfm import rfm
from settings import Settings

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN_SEGMENT = "unknown"


@dataclass(frozen=True)
class Audience:
    """Eligible users sorted by id with segment and, `(users,)`, whether held out, the probability of that side, and the chance that they
    buy anyway within 30 days (NaN unknown). `left_out` counts the others by reason."""

    user_ids: np.ndarray
    segments: np.ndarray
    is_held_out: np.ndarray
    propensity: np.ndarray
    buys_anyway: np.ndarray
    left_out: dict[str, int]


def audience(request: CampaignRequest, as_of: datetime, settings: Settings) -> Audience:
    """The audience as known at `as_of`, in the portrait model's segments, or before any portrait is stored in those of recency, frequency
    and money. BadRequest where a condition names no column or nobody is left, NotServed without any consent."""
    rows = rows_as_of("user_features", as_of)
    portraits = _portraits(as_of)
    rows = rows.merge(portraits, on="user_id", how="left") if len(rows) else rows.assign(segment=[], buys_anyway=[])
    if len(rows) and not len(portraits):  # before the first day is scored
        rows["segment"] = rfm(rows, as_of)["segment"]
    rows["segment"] = rows["segment"].fillna(UNKNOWN_SEGMENT)
    consenting = _consenting(as_of)
    ids = rows["user_id"].astype(str)
    left_out, keep = {}, np.ones(len(rows), bool)
    reasons = {
        "no marketing consent": ids.isin(consenting),
        "excluded by id": ~ids.isin(request.exclude_users),
        "excluded by segment": ~rows["segment"].isin(request.exclude_segments),
        "not of the audience": _matches(rows, request.audience),
        "contacted lately": ~ids.isin(contacted_since(as_of, request.fatigue_days, settings)),
    }
    for reason, is_right in reasons.items():
        right = np.asarray(is_right, bool)
        left_out[reason] = int((keep & ~right).sum())
        keep &= right
    if not keep.any():
        told = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count) or "none is known"
        raise BadRequest(f"A plan needs an audience. Of {len(rows)} known users nobody is left: {told}. Ask for more, or load users.")
    rows = rows[keep].sort_values("user_id", kind="stable")
    user_ids = rows["user_id"].astype(str).to_numpy(object)
    is_held_out, propensity = held_out(request, user_ids)
    if is_held_out.all():
        raise BadRequest(
            f"A plan needs an audience. Of {len(rows)} eligible users all {len(rows)} are held out: lower `holdout`, or load users."
        )
    return Audience(user_ids, rows["segment"].to_numpy(object), is_held_out, propensity, rows["buys_anyway"].to_numpy(float), left_out)


def held_out(request: CampaignRequest, user_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each user is held out, by a hash that is fixed for campaign and user, and the probability of that side, `(users,)` each.

    Where `holdout_users` asks for more than the share gives, those with the lowest hashes are held out: a draw without replacement.
    """
    shares = np.array([_share(request.name, str(user)) for user in user_ids])
    is_held_out, chance = shares < request.holdout, request.holdout
    wanted = min(request.holdout_users, len(shares))
    if wanted > is_held_out.sum():
        is_held_out = np.zeros(len(shares), bool)
        is_held_out[np.argsort(shares, kind="stable")[:wanted]] = True
        chance = wanted / len(shares)
    return is_held_out, np.where(is_held_out, chance, 1 - chance)


def contacted_since(as_of: datetime, days: int, settings: Settings) -> set[str]:
    """Users who got an offer in the `days` before, by past campaigns' records or by this house's own assignments."""
    if not days:
        return set()
    since = as_of - timedelta(days=days)
    found: set[str] = set()
    try:
        past = read_mart("campaign_outcomes")
        is_recent = (past["treatment"] != CONTROL) & (past["assigned_at"] >= since) & (past["assigned_at"] <= as_of)
        found |= set(past.loc[is_recent, "user_id"].astype(str))
    except FileNotFoundError:
        pass
    for path in settings.campaigns_dir.glob("*/assignments.parquet"):
        own = read_table(path).to_pandas()
        found |= set(own.loc[(own["arm"] != CONTROL) & (own["assigned_at"] >= since), "user_id"])
    return found


def left_out_since(request: CampaignRequest, user_ids: np.ndarray, as_of: datetime, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Who of a plan's users does not agree any more by `as_of`, and who was contacted lately, `(users,)` each."""
    consenting, contacted = _consenting(as_of), contacted_since(as_of, request.fatigue_days, settings)
    has_refused = np.array([user not in consenting for user in user_ids], bool)
    return has_refused, np.array([user in contacted for user in user_ids], bool)


def _consenting(as_of: datetime) -> set[str]:
    try:
        found = agreed("marketing", as_of)
    except FileNotFoundError as missing:
        raise NotServed(f"A plan needs to know who agreed to offers (`consent_marketing` of `users`). {missing}") from None
    if not found:
        raise NotServed("A plan needs users who agreed to offers. By `consent_marketing` of `users` nobody did. Load their consents.")
    return found


def _portraits(as_of: datetime) -> "pd.DataFrame":
    """Segment and chance of buying of each user with a stored portrait: user_id, segment, buys_anyway."""
    import pandas as pd

    empty = pd.DataFrame({"user_id": pd.Series(dtype=object), "segment": pd.Series(dtype=object), "buys_anyway": pd.Series(dtype=float)})
    try:
        with connect() as connection:
            newest = newest_rows_query(mart(PORTRAITS))
            query = f"""
                select user_id, nullif(portrait->>'$.segment', '') as segment,
                    try_cast(portrait->>'$.purchase_probability_30d' as double) as buys_anyway
                from ({newest})
            """
            found = connection.sql(query, params={"as_of": as_of}).to_arrow_table().to_pandas()
    except FileNotFoundError:
        return empty
    return found if len(found) else empty


def _matches(rows: "pd.DataFrame", conditions: dict[str, Any]) -> np.ndarray:
    found = np.ones(len(rows), bool)
    known = ["segment", *(column.name for column in views()["user_features"].features)]
    for column, condition in conditions.items():
        if column not in known:
            raise BadRequest(f"`audience` must name `segment` or columns of user_features, {known[1:]}. Received {column!r}.")
        if isinstance(condition, dict) and not (rows[column].dtype.kind in "biuf" or rows[column].isna().all()):
            raise BadRequest(f"`min` and `max` must be of a column of numbers. Received `audience.{column}`. Give a list of values.")
        if isinstance(condition, dict):
            values = rows[column].astype(float).to_numpy()
            found &= (values >= condition.get("min", -math.inf)) & (values <= condition.get("max", math.inf))
        else:
            found &= rows[column].isin(list(condition)).to_numpy()
    return found


def _share(campaign: str, user_id: str) -> float:
    """A number in [0, 1) that is fixed for a campaign and user."""
    return int.from_bytes(hashlib.sha256(f"{campaign}\t{user_id}".encode()).digest()[:8], "big") / 2**64
