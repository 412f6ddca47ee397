"""What must be loaded before features are built. Where the clock is the data's, there is no "now": days are missing, not hours old."""

from datetime import date

from quality.errors import NotLoaded
from quality.warehouse import check_window, open_warehouse

_NAMED = 5  # missing days that a message names


def check_loaded(start: date, end: date) -> None:
    """Every day of `[start, end)` is in the ledger, silent days included: else features would stand still and look new.

    Raises:
        NotLoaded: days of the window were never loaded; the message names them.
        WindowInvalid: the window holds no day.
        WarehouseBusy: another process has the warehouse open.
    """
    check_window(start, end)
    with open_warehouse() as warehouse:
        missing = warehouse.execute(
            """
            select ds::date from (select unnest(generate_series($start::date, $end::date - 1, interval 1 day)) as ds)
            where ds not in (select ds from landing._loads) order by ds
            """,
            {"start": start, "end": end},
        ).fetchall()
        first, last = warehouse.execute("select min(ds), max(ds) from landing._loads").fetchall()[0]
    if missing:
        days = ", ".join(str(day) for (day,) in missing[:_NAMED]) + (f" and {len(missing) - _NAMED} more" if missing[_NAMED:] else "")
        raise NotLoaded(
            f"Every day of a window must be loaded before its features are built. Received [{start}, {end}) without {days}; loaded is "
            f"{f'{first} to {last}' if first else 'nothing'}. Ingest these days, or choose a window of loaded ones."
        )
