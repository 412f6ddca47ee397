"""Which code this is."""

import shutil
import subprocess
import tomllib
from functools import cache

from settings import ROOT


@cache
def code_revision() -> str:
    """Of the checkout; in a container's image, which has no git, the one that it was built from. Empty where nobody knows."""
    built_from = ROOT / "REVISION"
    if built_from.exists():
        return built_from.read_text(encoding="utf-8").strip()
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def code_version() -> str:
    """As the project's own file says it: an image has the code without its package's metadata."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
