"""Some customers with a long history: something to click on, and to show."""

from datetime import datetime
from functools import lru_cache

from serving.shop_front import front


def example_users(count: int = 6) -> list[str]:
    """Ids of customers with many events of late, most first, spread over the busiest."""
    return list(_busiest(front().clock(), count))


@lru_cache(maxsize=8)
def _busiest(as_of: datetime, count: int) -> tuple[str, ...]:
    from feature_repo.frames import rows_as_of

    users = rows_as_of("user_features", as_of).sort_values(["events_90d", "user_id"], ascending=[False, True])
    step = 20 if len(users) > 20 * count else 1
    return tuple(str(user) for user in users["user_id"][: step * count : step])
