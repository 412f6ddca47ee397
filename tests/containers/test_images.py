"""The Dockerfile and what goes into its images."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings import ROOT
from training import revision

FOLDERS = {"settings", "cli", "sources", "quality", "feature_repo", "training", "serving", "dags"}
#: What the services of the image `serving` begin with.
STARTS = ("serving.api", "serving.local.services", "serving.local.house", "serving.local.commands", "feature_repo.store")
#: Imported by commands and tasks that run elsewhere, in functions of modules that the services share.
ELSEWHERE = {"airflow", "celery", "great_expectations", "kombu"}
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;]+)", text, flags=re.M))


def test_all_images_hold_the_same_versions() -> None:
    everything = pins("portrait.txt")
    assert pins("serving.txt").items() <= everything.items()
    shared = pins("gpu.txt").keys() & everything.keys()
    assert {name: pins("gpu.txt")[name] for name in shared} == {name: everything[name] for name in shared}
    assert [name for name in pins("gpu.txt").keys() - shared if not name.startswith("nvidia-")] == []


def test_the_serving_image_has_what_its_services_import_and_no_framework() -> None:
    names = distributions()
    there = {re.sub(r"[-_.]+", "-", name).lower() for name in pins("serving.txt")}
    lacking = {
        top: modules
        for top, modules in imported_by(STARTS).items()
        if top not in ELSEWHERE and not {re.sub(r"[-_.]+", "-", name).lower() for name in names.get(top, [top])} & there
    }
    assert lacking == {}
    assert not {"tensorflow", "keras", "jax", "apache-airflow", "dbt-core", "mlflow", "great-expectations"} & there


def test_what_is_taken_out_of_the_airflow_image_is_imported_by_tests_and_benchmarks_alone() -> None:
    taken = re.search(r"finish-venv.sh (axe[^\n]*\\\n[^\n]*)", DOCKERFILE).group(1).replace("\\", " ").split()
    assert taken and set(taken) <= pins("portrait.txt").keys()
    names = distributions()
    gone = {top for top, owners in names.items() if {name.lower() for name in owners} & set(taken)} - {"clang"}
    files = [path for folder in FOLDERS for path in [*ROOT.glob(f"{folder}.py"), *(ROOT / folder).rglob("*.py")]]
    used = {top for path in files for top in third_party(path)}
    assert not gone & used


def test_images_end_as_an_ordinary_user_from_a_base_that_can_be_chosen() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)
    final = {re.search(r"AS (\S+)", stage).group(1): stage for stage in stages[1:] if "CMD" in stage}
    assert final.keys() == {"serving", "airflow", "airflow-gpu"}
    for name, stage in final.items():
        assert stage.startswith("runtime AS"), name
        assert stage.rindex("USER 10001:10001") > stage.rindex("RUN"), name
    assert "FROM ${BASE} AS runtime" in DOCKERFILE
    assert not re.search(r"apt-get|curl |--mount|ADD http", DOCKERFILE)  # no compiler, no download beside the pinned packages, no BuildKit
    for line in re.findall(r"pip (?:sync|install).*", DOCKERFILE):
        assert "--require-hashes" in line


def test_backups_are_made_by_the_programs_of_the_very_servers(services: dict[str, dict[str, Any]]) -> None:
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, flags=re.M))
    told = services["init"]["build"]["args"]
    assert (told["POSTGRES"], told["REDIS"]) == (services["postgres"]["image"], services["redis"]["image"])
    assert (
        told["POSTGRES"] == f"${{POSTGRES_IMAGE:-{arguments['POSTGRES']}}}" and told["REDIS"] == f"${{REDIS_IMAGE:-{arguments['REDIS']}}}"
    )
    offline = yaml.safe_load((ROOT / "docker-compose.offline.yml").read_text(encoding="utf-8"))["services"]
    told = offline["init"]["build"]["args"]
    assert (told["POSTGRES"], told["REDIS"]) == (offline["postgres"]["image"], offline["redis"]["image"])


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed on this machine")
def test_a_gathered_program_runs_by_its_own_libraries_wherever_its_folder_lies(tmp_path: Path) -> None:
    made = tmp_path / "made"
    subprocess.run(["sh", ROOT / "docker" / "gather.sh", made, "redis-server", "redis-cli"], check=True)
    moved = made.rename(tmp_path / "elsewhere")
    mapped = subprocess.run(
        [moved / "bin" / "redis-server", "--version"],
        env={"PATH": os.environ["PATH"], "LD_DEBUG": "libs"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert mapped.stdout.startswith("Redis server v=")
    libraries = re.findall(r"calling init: (\S+)", mapped.stderr)
    start = max(place for place, library in enumerate(libraries) if "ld-linux" in library)  # what came before were the shell's
    loaded = libraries[start:]
    assert loaded and all(Path(library).is_relative_to(moved) for library in loaded)


def test_no_secret_and_no_state_goes_into_an_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".env", ".env.*", "var", ".git", ".venv", "**/*_pb2.py"} <= set(ignored)


def test_secrets_are_made_once_private_and_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    for name in ("docker-compose.yml", "docker-compose.gpu.yml", "docker/secrets.sh"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"))
    (tmp_path / ".env").write_text("REDIS_PASSWORD=mine\nPOSTGRES_PASSWORD=")

    def made() -> dict[str, str]:
        subprocess.run(["sh", tmp_path / "docker" / "secrets.sh"], check=True, capture_output=True)
        return dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())

    first = made()
    wanted = set(re.findall(r"\{(\w+):\?run make secrets\}", re.sub(r"#.*", "", (ROOT / "docker-compose.yml").read_text())))
    assert first.keys() == wanted
    assert first["REDIS_PASSWORD"] == "mine"
    fresh = [value for name, value in first.items() if name != "REDIS_PASSWORD"]
    assert len(set(fresh)) == len(fresh) and all(re.fullmatch(r"[0-9a-f]{48}", value) for value in fresh)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert made() == first


def test_the_health_check_needs_no_package_and_says_what_is_ill(tmp_path: Path) -> None:
    answers = tmp_path / "health.json"
    answers.write_text('{"scheduler": {"status": "unhealthy"}, "metadatabase": {"status": "healthy"}}')

    def check(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-IS", str(ROOT / "docker" / "healthy.py"), *words]
        done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert check(answers.as_uri()) == (0, "")
    assert check(answers.as_uri(), "metadatabase") == (0, "")
    assert check(answers.as_uri(), "scheduler") == (1, f"{answers.as_uri()}: scheduler is {{'status': 'unhealthy'}}\n")
    assert check(answers.as_uri(), "triggerer")[0] == 1
    assert check("http://127.0.0.1:9/healthz")[0] == 1


def test_code_in_an_image_knows_the_revision_that_it_was_built_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # an image has no git
    assert revision.code_revision.__wrapped__() == ""
    (tmp_path / "REVISION").write_text("abc123\n")
    assert revision.code_revision.__wrapped__() == "abc123"
    assert DOCKERFILE.count("printf '%s\\n' \"$REVISION\" >REVISION") == 3


@cache
def distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def third_party(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} - FOLDERS - set(sys.stdlib_module_names)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_by(starts: tuple[str, ...]) -> dict[str, set[str]]:
    """Third-party packages by the modules of ours that import them, from `starts` on, functions included."""
    waiting, seen, found = list(starts), set(), {}
    while waiting:
        name = waiting.pop()
        places = (ROOT / f"{name.replace('.', '/')}.py", ROOT / name.replace(".", "/") / "__init__.py")
        path = next((place for place in places if place.exists()), None)
        if name in seen or path is None:
            continue
        seen.add(name)
        for top in third_party(path):
            found.setdefault(top, set()).add(name)
        waiting += [other for other in imports(path) if other.split(".")[0] in FOLDERS]
    return found
