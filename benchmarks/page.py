"""`docs/benchmarks.md`, of which every benchmark writes its own part: between two marks that name it."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from settings import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"


def circumstances() -> dict[str, str]:
    """The day and the machine of a result."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return {"date": datetime.now(UTC).date().isoformat(), "machine": machine}


def read_part(name: str, page: Path = PAGE) -> str:
    """What stands between the marks of `benchmarks/<name>.py`; '' where they are not there."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return text.partition(f"<!-- written by benchmarks/{name}.py -->")[2].partition(f"<!-- end of benchmarks/{name}.py -->")[0]


def write_part(name: str, text: str, page: Path = PAGE) -> None:
    """Puts `text` between the marks of `benchmarks/<name>.py`; a new part goes to the end of the page."""
    first, last = f"<!-- written by benchmarks/{name}.py -->", f"<!-- end of benchmarks/{name}.py -->"
    old = page.read_text(encoding="utf-8") if page.exists() else "# Benchmarks\n"
    before, mark, rest = old.partition(first)
    after = rest.partition(last)[2].lstrip() if mark else ""
    parts = [before.rstrip(), f"{first}\n\n{text.strip()}\n\n{last}", after.rstrip()]
    page.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
