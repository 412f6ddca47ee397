"""The `portrait` command as a person types it."""

import json
import os
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from quality.commands import pairs
from serving.local import commands
from serving.local.commands import chosen
from settings import ROOT
from sources.errors import DataNotFound
from sources.registry import SOURCES, Delivery

HEAVY = {"tensorflow", "keras", "feast", "great_expectations", "pandas", "duckdb", "mlflow", "airflow", "numpy", "pyarrow", "httpx"}


def portrait(house: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PORTRAIT_HOME": str(house), "COLUMNS": "200", "NO_COLOR": "1", **variables}
    return subprocess.run([sys.executable, "-m", "cli", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_help_names_every_command_and_the_exit_codes(house: Path) -> None:
    done = portrait(house, "--help")
    for command in (
        "demo",
        "up",
        "down",
        "status",
        "doctor",
        "sources",
        "ingest",
        "load",
        "run",
        "show",
        "recommend",
        "offers",
        "parity",
        "backup",
        "restore",
        "quarantine",
        "quality",
        "evaluate",
        "release",
        "segments",
        "campaign",
    ):
        assert f" {command} " in done.stdout
    assert "Exit codes: 0 ok" in done.stdout


def test_the_command_starts_without_anything_heavy() -> None:
    code = "import json, sys, cli; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout))


def test_releases_are_told_and_a_step_that_cannot_be_taken_says_why(house: Path) -> None:
    assert "No model has a release yet" in portrait(house, "release", "status").stdout
    state = {
        "model": "uplift",
        "stable": 2,
        "canary": 3,
        "share": 0.1,
        "keep": [],
        "history": [{"at": "2024-05-01", "what": "on trial", "version": 3}],
    }
    (house / "releases").mkdir()
    (house / "releases" / "uplift.json").write_text(json.dumps(state))
    told = portrait(house, "release", "status").stdout
    assert told == "uplift: version 2 is stable, version 3 on trial for 10% of the users; last: version 3 on trial at 2024-05-01\n"
    assert json.loads(portrait(house, "release", "status", "--json").stdout)[0]["canary"] == 3
    refused = portrait(house, "release", "promote", "portrait")
    assert refused.returncode == 1 and "portrait: A model must have been published by the DAG `deploy`" in refused.stderr


def test_json_is_all_that_stands_on_stdout(house: Path) -> None:
    done = portrait(house, "sources", "--json")
    assert [source["name"] for source in json.loads(done.stdout)] == list(SOURCES)


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("command", [("show", "u1"), ("recommend", "u1"), ("offers", "u1")])
def test_an_api_that_is_away_gives_one_line_and_exit_code_4(house: Path, closed_port: str, command: tuple[str, ...]) -> None:
    done = portrait(house, *command, PORTRAIT_API_PORT=closed_port)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.startswith(f"portrait: The API at http://127.0.0.1:{closed_port} does not answer")
    assert done.stderr.rstrip().endswith("Start it with `portrait up`.") and len(done.stderr.splitlines()) == 1


def test_airflow_that_is_away_gives_exit_code_4(house: Path, closed_port: str) -> None:
    done = portrait(house, "run", "train", PORTRAIT_AIRFLOW_PORT=closed_port)
    assert (done.returncode, done.stderr.split(" (")[0]) == (4, f"portrait: Airflow at http://127.0.0.1:{closed_port} does not answer")


def test_a_wrong_option_gives_exit_code_2(house: Path) -> None:
    done = portrait(house, "demo", "--option", "users")
    assert done.returncode == 2
    assert "An option must be NAME=VALUE. Received 'users'." in done.stderr


def test_an_unknown_source_gives_exit_code_2_before_anything_starts(house: Path) -> None:
    done = portrait(house, "demo", "--source", "nowhere")
    assert done.returncode == 2
    assert "A source must be one of" in done.stderr and "Received 'nowhere'" in done.stderr
    assert not (house / "run").exists()


@pytest.mark.parametrize(
    ("data", "words"), [((), "Source movielens reads files"), (("--data", "no-such-folder"), "'no-such-folder' does not exist")]
)
def test_missing_data_gives_exit_code_2_before_anything_starts(house: Path, data: tuple[str, ...], words: str) -> None:
    done = portrait(house, "demo", "--source", "movielens", *data)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (house / "run").exists()


def test_status_of_an_empty_house_is_all_stopped(house: Path) -> None:
    done = portrait(house, "status", "--json")
    assert done.returncode == 4
    assert {row["state"] for row in json.loads(done.stdout)} == {"stopped"}


@pytest.mark.parametrize(
    ("command", "code"),
    [(("quarantine", "list"), 3), (("quarantine", "show", "1a"), 3), (("parity",), 3), (("status",), 4)],
)
def test_a_house_without_a_delivery_is_said_to_be_one_and_nothing_is_made_in_it(
    tmp_path: Path, command: tuple[str, ...], code: int
) -> None:
    away = tmp_path / "mistyped"
    done = portrait(away, *command)
    assert (done.returncode, away.exists()) == (code, False)
    assert f"Received {away}, where nothing was delivered. Run `portrait ingest`, or name another house in PORTRAIT_HOME." in done.stderr


def test_the_doctor_makes_nothing_in_a_house_that_is_not_there(tmp_path: Path) -> None:
    assert "none published: run `portrait ingest`" in portrait(tmp_path / "away", "doctor").stdout
    assert not (tmp_path / "away").exists()


def test_parity_before_a_build_names_the_command_that_builds(house: Path) -> None:
    (house / "landing").mkdir()
    done = portrait(house, "parity")
    assert (done.returncode, done.stdout) == (3, "")
    assert "A mart must be exported before it is read." in done.stderr and "Run `portrait run ingest` first." in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--option", "size=huge"), "Option size of source shop is one of ['large', 'medium', 'small']. Received 'huge'."),
        (("--option", "colour=red"), "Source shop has no option 'colour': it knows"),
        (("--source", "landing", "--data", ".", "--option", "users=5"), "Source landing has no option 'users': it takes none"),
        (("--start", "2024-13-01"), "Invalid value for '--start'"),
        (("--start", "2024-03-02", "--end", "2024-03-02"), "A window is [start, end) in days. Received 2024-03-02 to 2024-03-02."),
    ],
)
def test_a_wrong_choice_gives_exit_code_2_before_airflow_is_asked(
    house: Path, closed_port: str, words: tuple[str, ...], message: str
) -> None:
    done = portrait(house, "ingest", *words, PORTRAIT_AIRFLOW_PORT=closed_port)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "does not answer" not in done.stderr


def test_load_asks_the_dag_to_load_days_again_as_the_source_left_them(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(commands, "_follow", lambda *given: asked.append(given))
    first, last = datetime(2024, 5, 1), datetime(2024, 5, 3)  # noqa: DTZ001
    with pytest.raises(DataNotFound, match="Run `portrait ingest` first"):
        commands.load(first, last)
    (house / "landing").mkdir()
    Delivery("movielens", {}, first.date(), last.date(), {}).write(house / "landing")
    commands.load(first, last)
    assert asked == [("ingest", {"source": "movielens", "start": "2024-05-01", "end": "2024-05-03", "deliver": False}, False, True)]


def test_what_is_left_out_keeps_the_forms_default(tmp_path: Path) -> None:
    choices = chosen("landing", tmp_path, start=None, models=None, promote=False, options={})
    assert choices == {"source": "landing", "data": str(tmp_path), "promote": False}


def test_values_are_json_where_they_can_be() -> None:
    assert pairs(["users=500", "end=2024-03-31", "promote=false"]) == {"users": 500, "end": "2024-03-31", "promote": False}
