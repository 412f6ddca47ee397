"""TF_SERVING_TARGET is a real switch: with it the tests of the protocol and of the client ask a server that they did not start."""

import os
import re
import subprocess
import sys
import urllib.request

import pytest

from settings import ROOT

pytestmark = pytest.mark.slow

SUITE = ("tests/serving/test_model_server_protocol.py", "tests/serving/test_model_client.py")
#: Of the client's tests those without a server say nothing here, and some of them wait for seconds.
ASKING = "protocol or TestAgainstAServer or asks_a_real_server"
NAMED_SKIPS = ["the official server does classify"]


def run(target: str, rest: str) -> str:
    """What pytest says of the suite in a process of its own, with the variables set."""
    variables = {"TF_SERVING_TARGET": target, "TF_SERVING_REST_TARGET": rest}
    command = [sys.executable, "-m", "pytest", *SUITE, "-k", ASKING, "-rs"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False).stdout


def answered(rest: str) -> float:
    """Requests to `tiny` that the server has answered with OK."""
    with urllib.request.urlopen(f"http://{rest}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if "request_count" in line and 'model_name="tiny"' in line and 'status="OK"' in line
    )


def test_the_suite_asks_the_server_that_it_is_pointed_to(server):
    before = answered(server.rest)
    said = run(server.target, server.rest)
    count = re.search(r"^(\d+) passed, 1 skipped", said, re.MULTILINE)
    assert count and int(count[1]) >= 35, said
    assert [reason.strip() for reason in re.findall(r"^SKIPPED \[\d+\] \S+ (.*)$", said, re.MULTILINE)] == NAMED_SKIPS
    assert answered(server.rest) >= before + 15
