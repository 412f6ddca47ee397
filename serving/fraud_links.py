"""Bursts of accounts that share instruments, among the orders published up to a day; found once a day."""

from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from feature_repo.order_links import Burst, bursts
from settings import Settings

#: Orders that are looked at: memory and seconds grow with them (about 0.1 s for 15,000).
LOOKED_BACK = timedelta(days=90)


def bursts_by_user(as_of: datetime, settings: Settings) -> dict[str, Burst]:
    """The burst of each account that is in one, by the orders published at `as_of`."""
    return _found(as_of, settings.offline_dir)


@lru_cache(maxsize=2)
def _found(as_of: datetime, _offline: Path) -> dict[str, Burst]:
    from feature_repo.published import connect, from_clause

    columns = "order_id, user_id, payment_id, device_id, address_id, account_opened_at"
    with connect() as connection:
        query = f"select {columns} from {from_clause('order_features')} where placed_at >= $start and placed_at < $end order by order_id"
        times = {"start": as_of - LOOKED_BACK, "end": as_of}
        orders = connection.sql(query, params=times).to_arrow_table().to_pandas()
    return {user: burst for burst in bursts(orders) for user in burst.user_ids}
