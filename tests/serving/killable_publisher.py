"""`python -m tests.serving.killable_publisher MODEL MODELS_DIR TARGET`: publishes at command, each time in a fork of this process.

It has imported TensorFlow once and run nothing of it, and says `ready`. A line on stdin is `<SavedModel folder> <n>`: publish it, and die
by SIGKILL before line n of the publisher's own code (0: live). Answers the child's pid, then its exit status and, where it lived, the lines
that it ran.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from serving.model_server import bare_tensorflow

bare_tensorflow.prepare()
import tensorflow  # noqa: E402, F401

from serving import load_check, publish  # noqa: E402
from serving.model_server import admission, operations, servable  # noqa: E402, F401 - what a load check imports

OWN = ("/serving/publish.py", "/serving/manifest.py", "/sources/durable.py", "/shutil.py")
lines = 0


def check_in_a_fork(command: list[str], **_: Any) -> subprocess.CompletedProcess:
    """The load check, in a process of its own that need not import TensorFlow again."""
    pid = os.fork()
    if pid == 0:
        sys.settrace(None)
        sys.argv = command[2:]
        os._exit(load_check.main())
    return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "", "")


def die_before(last: int) -> None:
    """SIGKILL to this process as it comes to line `last` of the publisher's code."""

    def on_line(_frame: FrameType, event: str, _argument: Any) -> Any:
        global lines
        lines += event == "line"
        if lines == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    sys.settrace(lambda frame, _event, _argument: on_line if frame.f_code.co_filename.endswith(OWN) else None)


def say(name: str, value: int) -> None:
    """One write a line: parent and child share a pipe, and an unbuffered `print` writes a line in pieces."""
    os.write(sys.stdout.fileno(), f"{name} {value}\n".encode())


def main() -> None:
    model, models_dir, target = sys.argv[1:]
    publish.subprocess.run = check_in_a_fork
    print("ready", flush=True)
    for asked in sys.stdin:
        folder, last = asked.split()
        if (pid := os.fork()) == 0:
            die_before(int(last))
            publish.publish(model, Path(folder), models_dir=Path(models_dir), target=target)
            sys.settrace(None)
            say("lines", lines)
            os._exit(0)
        say("pid", pid)
        say("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
