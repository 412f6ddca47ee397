"""Every error of this stage, in one tree:

    QualityError
    ├── WindowInvalid      a window [start, end) that holds no day
    ├── WarehouseBusy      another process has the warehouse open
    ├── NothingDelivered   a house into which no source delivered
    ├── DeliveryRefused    a landing folder or file that cannot be loaded; nothing was changed
    ├── RowsLost           a load that cannot account for every row; nothing was changed
    ├── NotLoaded          a window with days that were never loaded
    ├── WarehouseUrlInvalid  a PORTRAIT_WAREHOUSE_URL that names no Postgres server
    ├── TransformFailed    dbt did not build the marts
    ├── NotInQuarantine    an id that no row in quarantine has
    ├── ReleaseRefused     a row that still breaks a rule after its fixes; nothing was released
    ├── SuiteIncomplete    a suite that would pass without looking
    └── GateFailed         a suite that found what must not pass to the next stage

All of them are faults of the data or of the set-up, so trying again without a change does not help; only WarehouseBusy passes by itself.
`exit_code` is what the command line ends with, where it is not 1.
"""


class QualityError(Exception):
    """Root of the tree."""


class WindowInvalid(QualityError):
    """A window [start, end) that holds no day."""

    exit_code = 2


class WarehouseBusy(QualityError):
    """Another process has the warehouse open."""


class NothingDelivered(QualityError):
    """A house into which no source delivered: its name may be mistyped."""

    exit_code = 3


class DeliveryRefused(QualityError):
    """A landing folder or file that cannot be loaded; nothing was changed."""


class RowsLost(QualityError):
    """A load that cannot account for every row; nothing was changed."""


class NotLoaded(QualityError):
    """A window with days that were never loaded."""


class WarehouseUrlInvalid(QualityError):
    """A `warehouse_url` that names no Postgres server."""


class TransformFailed(QualityError):
    """dbt did not build the marts."""


class SuiteIncomplete(QualityError):
    """A suite that would pass without looking."""


class GateFailed(QualityError):
    """A suite that found what must not pass to the next stage."""


class NotInQuarantine(QualityError):
    """An id that no row in quarantine has."""

    exit_code = 3


class ReleaseRefused(QualityError):
    """A row that still breaks a rule after its fixes; nothing was released."""
