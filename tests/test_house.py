"""Rules of the whole house: import directions, settings, requirements, and what must not stand in the project."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cli import app
from settings import ROOT, Settings
from sources.landing import EVENT_TYPES, LANDING
from sources.registry import OWN_TABLES

STAGES = ("dags", "serving", "training", "feature_repo", "quality", "sources")


def tracked(pattern: str = "*") -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "--", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listing.stdout.splitlines()]


def imports_of(path: Path) -> set[str]:
    """Top-level names that a module imports anywhere, function bodies included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_stages_upstream_of_it(stage: str) -> None:
    downstream = {"cli", *STAGES[: STAGES.index(stage)]}
    offenders = {str(path.relative_to(ROOT)): found for path in tracked(f"{stage}/*.py") if (found := imports_of(path) & downstream)}
    assert offenders == {}


def test_settings_imports_no_stage_and_nothing_imports_cli() -> None:
    assert imports_of(ROOT / "settings.py").isdisjoint({"cli", *STAGES})
    assert [str(p) for stage in STAGES for p in tracked(f"{stage}/*.py") if "cli" in imports_of(p)] == []


def test_contract_files_import_nothing_heavy() -> None:
    heavy = ("pandas", "tensorflow", "feast", "duckdb")
    light = f"import sys, settings, sources.landing, training.signatures; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", light], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_every_setting_stands_in_env_example_with_its_default() -> None:
    lines = dict(re.findall(r"^#?PORTRAIT_(\w+)=(.*)$", (ROOT / ".env.example").read_text(), flags=re.M))
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    assert set(lines) == set(fields)
    defaults = {name: str(field.default) for name, field in fields.items() if name != "HOME"}
    assert {name: value for name, value in lines.items() if name != "HOME"} == defaults


def test_every_environment_variable_read_in_the_code_is_a_setting() -> None:
    known = (
        {f"PORTRAIT_{name.upper()}" for name in Settings.model_fields}
        | {"PORTRAIT_DEBUG", "PORTRAIT_TEST_POSTGRES"}
        | set(re.findall(r"PORTRAIT_\w+", (ROOT / "dbt_project" / "profiles.yml").read_text()))
        | set(re.findall(r"PORTRAIT_\w+", (ROOT / "feature_repo" / "feature_store.yaml").read_text()))
    )
    used = {name for path in tracked("*.py") for name in re.findall(r"PORTRAIT_[A-Z_]+", path.read_text(encoding="utf-8"))}
    assert {name for name in used - known if not (name.endswith("_") and any(one.startswith(name) for one in known))} == set()


def test_requirements_are_pinned_hashed_and_name_no_index() -> None:
    for name in ("portrait.txt", "serving.txt", "gpu.txt", "uv.txt", "lifetimes.txt", "peers.txt"):
        text = (ROOT / "requirements" / name).read_text()
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
        pins = re.findall(r"^([A-Za-z0-9_.-]+)==", text, flags=re.M)
        assert pins
        assert all(block.count("--hash=sha256:") >= 1 for block in re.split(r"\n(?=[A-Za-z0-9])", text) if "==" in block)


def test_pins_keep_to_what_goes_together() -> None:
    """Each was measured: trainer and server of one version, no dbt-core that downloads a binary, nothing that drags in an old GX."""
    pins = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;]+)", (ROOT / "requirements" / "portrait.txt").read_text(), flags=re.M))
    image = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["model-server"]["image"].split(":")[1]
    assert image == pins["tensorflow"] == pins["tensorflow-serving-api"]
    assert pins["dbt-core"].startswith("1.11.")
    assert pins["great-expectations"].startswith("1.")
    assert pins["duckdb"].startswith("2.")  # 1.x cannot open a 2.0 file
    assert not {"airflow-provider-great-expectations", "tensorflow-privacy", "dp-accounting"} & set(pins)


def test_no_committed_file_is_over_a_megabyte() -> None:
    assert [path.name for path in tracked() if path.stat().st_size > 1_000_000] == []


def test_committed_files_name_no_machine_path() -> None:
    pattern = re.compile(r"/(?:wor" + r"k|roo" + r"t|hom" + r"e)/[a-z]")
    text_files = [path for path in tracked() if path.suffix in {".py", ".md", ".yml", ".yaml", ".sql", ".toml", ".sh", ".txt", ""}]
    assert [str(path.relative_to(ROOT)) for path in text_files if pattern.search(path.read_text(encoding="utf-8", errors="ignore"))] == []


def test_the_compose_file_names_the_official_server_with_the_embedded_servers_flags() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["model-server"]
    assert service["image"] == "tensorflow/serving:2.20.0"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    flags = {flag.split("=")[0] for flag in service["command"]}
    accepted = subprocess.run(
        [sys.executable, "-m", "serving.model_server", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert flags <= set(re.findall(r"--\w+", accepted.stdout))


def test_the_landing_contract_has_a_key_or_all_columns_and_a_known_time_column() -> None:
    for table in LANDING.values():
        assert set(table.key) <= set(table.names), table.name
        assert table.time is None or table.column(table.time).kind == "timestamp", table.name


def test_the_guide_names_every_landing_table_with_its_columns() -> None:
    guide = (ROOT / "docs" / "your-shop.md").read_text(encoding="utf-8")
    for table in LANDING.values():
        columns = ", ".join(f"{column.name}{'?' if column.nullable else ''}" for column in table.columns)
        assert f"| `{table.name}` | {', '.join(table.key)} | {columns}" in guide


def test_the_guide_says_type_and_unit_of_every_column_that_is_no_text_and_every_type_of_event() -> None:
    guide = (ROOT / "docs" / "your-shop.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*) \|", guide.split("## Types and units")[1], flags=re.M))))
    handed_in = [column for name, table in LANDING.items() if name not in OWN_TABLES for column in table.columns]
    assert listed == {column.name for column in handed_in if column.kind != "string"} | {"category"}
    assert f"`event_type` is one of {', '.join(f'`{name}`' for name in EVENT_TYPES)}" in guide


def test_the_architecture_names_the_module_of_every_command_and_the_tables_of_the_quarantine() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    commands: Any = typer.main.get_command(app)
    said = re.search(r"The `portrait` command is only a list.*?\n\n", page, flags=re.S)
    assert said is not None
    assert {name for name in commands.commands if f"`{name}`" not in said[0]} == set()
    books = dict(re.findall(r"create table if not exists quarantine\.(\w+) \(([^)]*)\)", (ROOT / "quality" / "warehouse.py").read_text()))
    assert [name for name, columns in books.items() if f"`{name}({re.sub(r' (varchar|date)', '', columns)})`" not in page] == []


def commands_named(text: str) -> list[str]:
    """What follows `portrait` in a shell block or in backticks."""
    return re.findall(r"^\.venv/bin/portrait ([^#\n]+)", text, flags=re.M) + re.findall(r"`portrait ([a-z][^`\n]*)`", text)


def unknown_word(line: str) -> str | None:
    """The first word of a command line that is no command, or no option of the command before it."""
    command: Any = typer.main.get_command(app)
    for word in shlex.split(line):
        if commands := getattr(command, "commands", None):
            if word not in commands:
                return word
            command = commands[word]
        elif word.startswith("--") and word not in {name for parameter in command.params for name in parameter.opts}:
            return word
    return None


def test_every_portrait_command_that_a_page_or_a_message_names_exists() -> None:
    kinds = {".md", ".py", ".html", ".jinja", ".sh", ".sql", ".yml"}
    files = [path for path in tracked() if path.suffix in kinds and path.exists() and path != Path(__file__)]
    named = {path: commands_named(path.read_text(encoding="utf-8")) for path in files}
    assert len(named[ROOT / "README.md"]) > 8
    assert sum(len(lines) for lines in named.values()) > 40
    lines = [
        (str(path.relative_to(ROOT)), line) for path, lines in named.items() for line in lines if "..." not in line and "{" not in line
    ]
    assert [(file, line) for file, line in lines if unknown_word(line)] == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert commands_named(".venv/bin/portrait show u1  # a customer\nSee `portrait parity`.") == ["show u1  ", "parity"]
    assert [unknown_word(line) for line in ("quarantine lst", "parity --sampel 3", "quarantine list --table events")] == [
        "lst",
        "--sampel",
        None,
    ]


def test_every_make_target_of_the_readme_exists() -> None:
    readme, makefile = (ROOT / "README.md").read_text(encoding="utf-8"), (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"^make (\w+)", readme, flags=re.M)) | set(re.findall(r"`make (\w+)", readme))
    assert named >= {"demo", "test"}
    assert {target for target in named if not re.search(rf"^{target}:", makefile, flags=re.M)} == set()
