"""What can go wrong while a house runs on one machine; `exit_code` is what the command line ends with.

LocalError
├── NotStartable      this machine lacks something: nothing was started
├── NotHealthy        a service was started and does not answer
├── AirflowRefused    Airflow does not answer, or refuses a request
├── UnknownDag        no DAG of that name
├── UnknownUser       nobody of that name may enter Airflow
├── UserRefused       that user cannot be added or removed
├── RunFailed         a DAG run did not succeed, or a service did not answer at the end
├── BackupFailed      no backup was made; the house is as it was
└── RestoreRefused    a backup is not whole, or there is no place for it: nothing was touched
"""


class LocalError(Exception):
    """Root of the tree; the message is for a person and names the way out."""

    exit_code = 1


class NotStartable(LocalError):
    """Nothing was started; each line of the message is one reason."""

    exit_code = 4


class NotHealthy(LocalError):
    """A service was started and does not answer."""

    exit_code = 4


class AirflowRefused(LocalError):
    """Airflow does not answer (`status` 0), or refuses a request with an HTTP status."""

    exit_code = 4

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class UnknownDag(LocalError):
    """No DAG of that name."""

    exit_code = 3


class UnknownUser(LocalError):
    """Nobody of that name may enter Airflow."""

    exit_code = 3


class UserRefused(LocalError):
    """That user cannot be added or removed."""

    exit_code = 2


class RunFailed(LocalError):
    """A DAG run did not succeed, or a service did not answer."""


class BackupFailed(LocalError):
    """No backup was made; the house is as it was."""


class RestoreRefused(LocalError):
    """Nothing was touched."""
