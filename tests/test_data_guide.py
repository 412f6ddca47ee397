"""The worked example of `docs/data.md` runs as it stands there, and prints what stands there."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from settings import ROOT

pytestmark = pytest.mark.slow

GUIDE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", GUIDE, flags=re.S)


def test_the_example_runs_and_prints_what_the_guide_shows(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    shown = []
    for code, expected in BLOCKS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "docs/data.md", "exec"), names)
        if expected:
            assert printed.getvalue() == expected
            shown.append(expected)
    assert len(shown) == len(re.findall("```text", GUIDE)) >= 5
