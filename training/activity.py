"""The numbers of the mart `user_features`, counted from a table of events: for evaluations, which have no feature store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.signatures import USER_FEATURES

DAY_US = 86_400_000_000
VISIT_US = 30 * 60_000_000  # a visit without a session's name ends after so long a silence
TYPES = {"views": "view", "carts": "cart", "favourites": "favourite", "purchases": "purchase", "returns": "return"}


@dataclass(frozen=True)
class Activity:
    """Events of known users: the user's place, the time, and by counter what each event adds to it, all `(events,)`."""

    users: int
    places: np.ndarray
    times_us: np.ndarray
    adds: dict[str, np.ndarray]

    def total(self, counter: str, since_us: int, until_us: int) -> np.ndarray:
        """Each user's sum of `counter` over `[since_us, until_us)`, `(users,)`."""
        rows = (self.times_us >= since_us) & (self.times_us < until_us)
        return np.bincount(self.places[rows], self.adds[counter][rows], self.users)

    def numbers(self, at_us: int) -> np.ndarray:
        """What `user_features` says at the midnight `at_us`, `(users, USER_FEATURES)`."""
        windows = [name.rsplit("_", 1) for name in USER_FEATURES]
        since = {window: 0 if window == "total" else at_us - int(window[:-1]) * DAY_US for _, window in windows}
        return np.column_stack([self.total(counter, since[window], at_us) for counter, window in windows]).astype(np.float32)


def activity_of(events: pd.DataFrame, user_ids: np.ndarray) -> Activity:
    """Activity of the users `user_ids` (sorted) from landing `events`; `spend` is purchases less returns, as in the marts."""
    frame = events[events["user_id"].isin(user_ids) & events["occurred_at"].notna()]
    frame = frame.assign(time=frame["occurred_at"].to_numpy("datetime64[us]").astype(np.int64), session=frame["session_id"].fillna(""))
    frame = frame.sort_values(["user_id", "session", "time"], kind="stable")
    time, kind = frame["time"].to_numpy(), frame["event_type"].to_numpy(str)
    silence = frame.groupby(["user_id", "session"])["time"].diff()
    is_begun = silence.isna() | ((frame["session"] == "") & (silence > VISIT_US))
    is_new_day = ~frame.assign(day=time // DAY_US).sort_values("time", kind="stable").duplicated(["user_id", "day"])
    money = frame["quantity"].fillna(1) * frame["unit_price"].fillna(0)
    adds = {counter: (kind == name).astype(float) for counter, name in TYPES.items()}
    adds |= {
        "events": np.ones(len(frame)),
        "sessions": is_begun.to_numpy(float),
        "active_days": is_new_day.reindex(frame.index).to_numpy(float),
        "spend": money.to_numpy(float) * ((kind == "purchase") * 1.0 - (kind == "return")),
    }
    return Activity(len(user_ids), np.searchsorted(user_ids, frame["user_id"].to_numpy(object)), time, adds)
