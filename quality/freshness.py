"""What must be loaded before features are built. Where the clock is the data's, there is no "now": days are missing, not hours old."""

from datetime import date, timedelta

from quality.delivered import delivered_period
from quality.errors import NotLoaded
from quality.warehouse import check_window, open_warehouse
from settings import get_settings

_NAMED = 5  # missing days that a message names


def check_loaded(start: date, end: date) -> None:
    """Every day of `[start, end)` was loaded and lies within what was delivered, silent days included: else features would stand still and
    look new, or move on as if every customer had left.

    Raises:
        NotLoaded: days of the window were never loaded; the message names them.
        WindowInvalid: the window holds no day.
        WarehouseBusy: another process has the warehouse open.
    """
    check_window(start, end)
    delivered = delivered_period(get_settings().landing_dir)
    with open_warehouse() as warehouse:
        ledger = warehouse.execute("select distinct ds from landing._loads order by ds").fetchall()
    loaded = [day for (day,) in ledger if delivered and day <= delivered[1]]
    missing = sorted({start + timedelta(days=number) for number in range((end - start).days)} - set(loaded))
    if missing:
        days = ", ".join(map(str, missing[:_NAMED])) + (f" and {len(missing) - _NAMED} more" if missing[_NAMED:] else "")
        raise NotLoaded(
            f"Every day of a window must be loaded before its features are built. Received [{start}, {end}) without {days}; loaded is "
            f"{f'{loaded[0]} to {loaded[-1]}' if loaded else 'nothing'}. Ingest these days, or choose a window of loaded ones."
        )
