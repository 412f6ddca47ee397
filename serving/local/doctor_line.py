"""One line of what `portrait doctor` says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One check: `state` is ok, warn or fail; `detail` says what was found and, unless ok, the way out."""

    check: str
    state: str
    detail: str
