"""A backup and a restore that are killed at any line leave nothing that looks whole, and are done again."""

import os
import signal
import sys
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from serving.local import preflight
from serving.local.backup import backup
from serving.local.errors import BackupFailed, NotStartable
from serving.local.restore import restore
from settings import get_settings
from tests.serving.backed_up_house import contents, destroy, differing, quiet, small_house


def killed_before_line(last: int, work: Any) -> int:
    """Exit status of a fork that did this work and died by SIGKILL as it came to that line of the code of backups; 0 where it ended."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    lines = 0

    def on_line(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if lines == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    own = ("backup.py", "backup_files.py", "backup_manifest.py", "restore.py", "relocate.py")
    sys.settrace(lambda frame, _event, _argument: on_line if frame.f_code.co_filename.endswith(own) else None)
    work()
    sys.settrace(None)
    os._exit(0)


def test_a_killed_backup_has_no_name_and_the_next_one_is_whole(place: Path) -> None:
    small_house(place / "house")
    before = contents()
    kills = 0
    for line in count(20, 100):
        if killed_before_line(line, lambda: backup(get_settings(), place / "kept", quiet)) == 0 or (place / "kept").exists():
            break
        kills += 1
    assert kills > 5
    assert sorted(path.name for path in place.iterdir()) == ["house", "kept"]
    destroy(place / "house")
    restore(place / "kept", None, quiet)
    assert differing(before, contents()) == []


def test_a_killed_restore_leaves_a_house_that_says_so_and_runs_again(place: Path) -> None:
    small_house(place / "house")
    before = contents()
    backup(get_settings(), place / "kept", quiet)
    destroy(place / "house")
    marked = untouched = 0
    for line in count(20, 15):
        if killed_before_line(line, lambda: restore(place / "kept", place / "house", quiet)) == 0:
            break
        if get_settings().restoring_file.exists():
            marked += 1
            with pytest.raises(NotStartable, match=r"A house must be whole. Restoring .*house did not end. Run `portrait restore .*kept"):
                preflight.check(get_settings())
            with pytest.raises(BackupFailed, match=r"A house must be whole"):
                backup(get_settings(), place / "another", quiet)
        elif (place / "house").exists() and any((place / "house").iterdir()):
            assert marked  # it ended, and died before it could say so
            break
        else:
            untouched += 1
    assert marked > 3 and untouched > 1
    assert differing(before, contents()) == []
