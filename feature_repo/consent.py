"""Who agreed to what, as known at a time: the one place where purposes are limited. What was never said was not agreed to."""

from datetime import datetime
from typing import Literal

from feature_repo.frames import naive_utc
from feature_repo.published import connect, from_clause

Purpose = Literal["personalisation", "marketing", "credit"]


def agreed(purpose: Purpose, as_of: datetime) -> set[str]:
    """Users whose newest word known at `as_of` (UTC) agrees to the purpose. FileNotFoundError where no consents are published."""
    query = f"""
        select user_id from {from_clause("user_consents")} where known_at <= $as_of
        group by user_id having arg_max(has_{purpose}_consent, known_at)
    """
    with connect() as connection:
        return {str(user) for (user,) in connection.execute(query, {"as_of": naive_utc(as_of)}).fetchall()}
