"""A version reaches users only past the rules, the same users stay, and one that is bad is rolled back: against a real server."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.model_client import ModelClient, Prediction
from serving.release import ReleaseRefused, Releases
from serving.release_config import write_config
from serving.release_live import ReleasedModels, live_counts
from serving.release_state import CANARY, STABLE, Release, label_for, place_of, read, write
from settings import ROOT, Settings, get_settings
from tests.serving.bad_models import KINDS, export
from tests.serving.conftest import free_ports

pytestmark = pytest.mark.slow

RULES = """
watch_minutes = 0.01
answer_minutes = 1
[tiny]
share = 0.3
metric = "is_purchased_7d"
rules = [
    { name = "errors", share = 0.01 },
    { name = "not_finite", share = 0.0 },
    { name = "constant", requests = 20 },
    { name = "slow", times_stable = 3.0, ms = 50.0, alone_ms = 60.0 },
    { name = "drift", psi = 3.0 },
]
"""
USERS = [f"u{number}" for number in range(400)]


def requests(model: str, versions: list[int], client: ModelClient, settings: Settings) -> list[dict[str, np.ndarray]]:
    drawn = np.random.default_rng(7).uniform(0, 40, (40, 1, 2)).astype(np.float32)
    return [{"x": x, "name": np.array(["ann"], object)} for x in drawn]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bad")
    scales = {"better": 1.1}
    made = {kind: export(folder / kind, kind, scales.get(kind, 1.0)) for kind in KINDS}
    return made | {"slow first": export(folder / "slow first", "slow", 2.0)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A house with an embedded server that follows its models.config."""
    home = tmp_path_factory.mktemp("house")
    (home / "release.toml").write_text(RULES)
    port, rest = free_ports(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAIT_HOME", str(home))
        patch.setenv("PORTRAIT_MODEL_SERVER_PORT", str(port))
        patch.setenv("PORTRAIT_RELEASE_RULES", str(home / "release.toml"))
        get_settings.cache_clear()
        write_config()
        command = [sys.executable, "-m", "serving.model_server", f"--port={port}", f"--rest_api_port={rest}"]
        command += [f"--model_config_file={home / 'models.config'}", "--model_config_file_poll_wait_seconds=0.1"]
        command += ["--file_system_poll_wait_seconds=0.1", "--allow_version_labels_for_unavailable_models=true"]
        with (home / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        deadline = time.monotonic() + 180
        while "serving gRPC" not in (home / "log").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.2)
        yield home
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def releases(home: Path) -> Releases:
    return Releases(requests=requests)


class Users:
    """Users who ask all the time: what each label answered, and whatever went wrong."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str | None, Prediction]] = []
        self.failures: list[Exception] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Users":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with ModelClient(get_settings().model_server_target) as client:
            asked = ReleasedModels()
            number = 0
            while not self._stop.is_set():
                user = USERS[number % len(USERS)]
                x = np.array([[number % 40, 1.0]], np.float32)
                try:
                    answer = asked.predict(client, "tiny", {"x": x, "name": np.array([user], object)}, user)
                    self.answers.append((user, answer.label, answer))
                    good = {1: 1.0, **SCALES}
                    assert np.allclose(answer["y"], good[answer.version] * x.sum()), (answer.version, answer)
                except Exception as error:
                    self.failures.append(error)
                number += 1
                time.sleep(0.002)


SCALES: dict[int, float] = {}


def test_the_first_version_that_passes_is_stable_and_a_bad_one_serves_nobody(releases: Releases, models: dict[str, Path]) -> None:
    refused = releases.introduce("tiny", models["slow first"], "r0")
    assert (refused.version, refused.outcome) == (1, "refused")
    assert "its median is" in refused.reason and "above 60 ms (rule slow)" in refused.reason
    with pytest.raises(Exception, match="No version of `tiny` has passed its release yet: its median is"):
        label_for("tiny", "u1")
    with pytest.raises(ReleaseRefused, match=r"rolled back is not published again\. This one is tiny version 1: its median is"):
        releases.introduce("tiny", models["slow first"], "r0")
    first = releases.introduce("tiny", models["good"], "r1")
    assert (first.version, first.outcome) == (2, STABLE)
    SCALES[first.version] = 1.0
    assert label_for("tiny", "u1") == label_for("tiny", None) == STABLE
    assert read("tiny") and read("tiny").runs == {"1": "r0", "2": "r1"}
    assert releases.introduce("tiny", models["good"], "r1").outcome == "same"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nan", r"answers hold NaN or infinity where the signature allows none \(rule not_finite\)"),
        ("constant", r"y is the same in all 40 answers \(rule constant\)"),
        ("slow", r"its median is \d+ ms, the stable version's \d+ ms \(rule slow\)"),
        ("erroring", r"of 40 recorded requests failed, the first with: .* \(rule errors\)"),
    ],
)
def test_a_bad_model_of_each_kind_is_rolled_back_and_no_user_ever_saw_it(
    releases: Releases, models: dict[str, Path], kind: str, reason: str
) -> None:
    with Users() as users:
        introduced = releases.introduce("tiny", models[kind], kind)
    assert introduced.outcome == "refused"
    assert re.search(reason, introduced.reason), introduced.reason
    assert users.failures == []
    assert {(label, answer.version) for _, label, answer in users.answers} == {(STABLE, 2)}
    assert len(users.answers) > 20
    release = read("tiny")
    assert release and (release.stable, release.canary, str(introduced.version) in release.refused) == (2, None, True)
    assert release.history[-1]["what"] == "rolled back"
    with ModelClient(get_settings().model_server_target) as client:
        while client.status("tiny")[introduced.version].state != "END":
            time.sleep(0.05)
        assert client.status("tiny")[2].state == "AVAILABLE"
    assert (get_settings().models_dir / "tiny" / str(introduced.version)).is_dir()  # kept for a look


def test_a_good_version_goes_on_trial_grows_and_is_promoted_without_a_failed_request(releases: Releases, models: dict[str, Path]) -> None:
    introduced = releases.introduce("tiny", models["better"], "r9")
    version = introduced.version
    SCALES[version] = 1.1
    assert introduced.outcome == CANARY and introduced.comparison and introduced.comparison.stable
    assert 0 < introduced.comparison.psi["y"] < 3 and 0 < introduced.comparison.ks["y"] < 0.3
    assert {label_for("tiny", user) for user in USERS} == {STABLE}  # on trial, and nobody sees it yet
    tried = []
    with Users() as users:
        for share in (0.1, 0.3):
            releases.start("tiny", share=share)
            tried.append({user for user in USERS if label_for("tiny", user) == CANARY})
            time.sleep(1.5)
        comparison, verdict = releases.compare("tiny")
        assert verdict.passed, verdict
        with ModelClient(get_settings().model_server_target) as bare:  # TensorFlow Serving's contract: the newest that is loaded
            assert bare.predict("tiny", {"x": np.ones((1, 2), np.float32), "name": np.array(["ann"], object)}).version == version
        promoted = releases.promote("tiny", "as the rules say")
        time.sleep(0.5)
    assert users.failures == []
    assert tried[0] < tried[1] and 20 < len(tried[0]) < 60 and 80 < len(tried[1]) < 160
    assert {user for user, label, _ in users.answers if label == CANARY} <= tried[1]
    assert {answer.version for _, label, answer in users.answers if label == CANARY} == {version}
    assert comparison.live[CANARY].errors == comparison.live[STABLE].errors == 0
    assert comparison.live[STABLE].requests > comparison.live[CANARY].requests > 0
    assert (promoted.stable, promoted.canary, promoted.runs[str(version)]) == (version, None, "r9")
    assert {label_for("tiny", user) for user in USERS} == {STABLE}
    assert users.answers[-1][2].version == version
    assert [line["what"] for line in promoted.history[-4:]] == ["on trial", "10% of users", "30% of users", "promoted"]


def test_what_was_promoted_can_be_rolled_back_to_the_version_before_it(releases: Releases) -> None:
    bad = read("tiny").stable
    with pytest.raises(
        ReleaseRefused, match=f"of tiny version 1 was stable and {bad} on trial. Meanwhile version {bad} was stable and none on trial"
    ):
        releases.roll_back("tiny", "a person who looked before it was promoted", shown=(1, bad))
    assert read("tiny").stable == bad
    with Users() as users:
        time.sleep(0.3)
        release = releases.roll_back("tiny", "a person said so", shown=(bad, None))
        time.sleep(0.5)
    assert users.failures == []
    assert (release.stable, release.refused[str(bad)]) == (2, "a person said so")
    assert users.answers[0][2].version == bad and users.answers[-1][2].version == 2
    with pytest.raises(ReleaseRefused, match="has neither: stable is 2"):
        releases.roll_back("tiny", "again")
    with pytest.raises(ReleaseRefused, match="A version of tiny must be on trial; on trial is none, stable is 2"):
        releases.promote("tiny")


def test_a_version_that_fails_only_for_users_is_answered_by_stable_and_rolled_back(releases: Releases, models: dict[str, Path]) -> None:
    """A person puts a refused version on trial for everybody: even then nobody gets an answer that is none, and the rules end the trial."""
    version = int(next(number for number, run in read("tiny").runs.items() if run == "nan"))
    SCALES[version] = 1.0
    releases.start("tiny", version, 1.0)
    with Users() as users:
        time.sleep(3)
        comparison, verdict = releases.compare("tiny")
    assert users.failures == []
    assert all(np.isfinite(answer["y"]).all() for _, _, answer in users.answers)
    assert Counter(label for _, label, _ in users.answers)[STABLE] > 20
    assert comparison.live[CANARY].errors > 20
    assert not verdict.passed
    assert live_counts("tiny", version)[CANARY].requests >= comparison.live[CANARY].requests
    for decided in (releases.promote, releases.roll_back):  # about another version than was shown
        with pytest.raises(ReleaseRefused, match=f"Version 99 of tiny must be on trial; on trial is {version}, stable is 2"):
            decided("tiny", "late", 99)
    assert releases.roll_back("tiny", verdict.reason, version).canary is None


def test_a_killed_introduction_serves_on_and_ends_well_the_next_time(
    releases: Releases, home: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    better = export(tmp_path / "again", "better", 1.2)
    code = "from pathlib import Path; from serving.release import Releases; from tests.serving.test_release import requests; import sys; "
    code += "Releases(requests=requests).introduce('tiny', Path(sys.argv[1]), 'r10')"
    with Users() as users:
        for wait_s in (2.0, 6.0):
            process = subprocess.Popen([sys.executable, "-c", code, str(better)], cwd=ROOT)
            time.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
            process.wait()
        introduced = releases.introduce("tiny", better, "r10")
    assert users.failures == []
    assert {label for _, label, _ in users.answers} == {STABLE}
    assert introduced.outcome == CANARY
    assert (home / "models.config").read_text().count("tiny") == 2


def test_a_restarted_server_has_the_labels_again(home: Path) -> None:
    """From the written config alone, in a server of its own."""
    port, rest = free_ports(2)
    command = [sys.executable, "-m", "serving.model_server", f"--port={port}", f"--rest_api_port={rest}"]
    command += [f"--model_config_file={home / 'models.config'}", "--allow_version_labels_for_unavailable_models=true"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    release = read("tiny")
    try:
        with ModelClient(f"127.0.0.1:{port}") as client:
            client.wait_available("tiny", release.canary)
            assert {label: client.metadata("tiny", label=label).version for label in release.labels} == release.labels
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_a_house_of_before_releases_keeps_its_newest_version_as_stable(house: Path) -> None:
    assert label_for("recommender", "u1") is None
    write_config()
    assert "version_labels" not in (house / "models.config").read_text()
    assert "recommender" not in (house / "models.config").read_text()  # TensorFlow Serving would wait for it without end
    for version in (4, 5):
        (house / "models" / "recommender" / str(version)).mkdir(parents=True)
    write_config()
    assert '/recommender" model_platform: "tensorflow" }' in (house / "models.config").read_text()
    write(Release("recommender", stable=4, is_labelled=False, serves={"versions": [4, 5, 6], "labels": {STABLE: 4}}))
    write_config()
    assert label_for("recommender", "u1") is None  # until the server has the label
    text = (house / "models.config").read_text()
    assert 'model_version_policy { specific { versions: 4 versions: 5 } } version_labels { key: "stable" value: 4 }' in text
    assert json.loads((house / "releases" / "recommender.json").read_text())["stable"] == 4


def test_a_share_takes_that_many_users_and_another_version_takes_others() -> None:
    users = [f"u{number}" for number in range(20_000)]
    tried = {version: {user for user in users if place_of("m", version, user) < 0.1} for version in (1, 2)}
    assert all(abs(len(chosen) / len(users) - 0.1) < 0.01 for chosen in tried.values())
    assert len(tried[1] & tried[2]) / len(tried[1]) < 0.15
