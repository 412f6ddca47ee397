"""A file is replaced whole or not at all."""

from pathlib import Path
from typing import IO

import pytest

from sources.durable import replace_text, replace_whole


def test_a_write_that_fails_half_way_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_text(path, "old")

    def broken(file: IO[bytes]) -> None:
        file.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_whole(path, broken)
    assert path.read_text() == "old"
    replace_text(path, "new, longer: ü")
    assert (path.read_text(encoding="utf-8"), [file.name for file in tmp_path.iterdir()]) == ("new, longer: ü", ["state.json"])
