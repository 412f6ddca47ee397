"""Who agreed to what, as known at a time: whatever leaves the house for a purpose asks here first.

A consent that is unknown is none. Where it was taken back, the newest version says so.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import numpy as np

from feature_repo.frames import naive_utc
from feature_repo.published import connect, from_clause

Purpose = Literal["personalisation", "marketing", "credit"]


def agreed(purpose: Purpose, user_ids: Iterable[Any], as_of: datetime) -> np.ndarray:
    """Whether each user had agreed to that purpose by `as_of` (UTC), `(users,)` in their order."""
    asked = [str(user) for user in user_ids]
    query = f"""
        select user_id from {from_clause("user_consents")} where known_at <= $as_of
        qualify row_number() over (partition by user_id order by known_at desc) = 1 and coalesce(consent_{purpose}, false)
    """
    with connect() as connection:
        may = {user for (user,) in connection.execute(query, {"as_of": naive_utc(as_of)}).fetchall()}
    return np.array([user in may for user in asked], bool)
