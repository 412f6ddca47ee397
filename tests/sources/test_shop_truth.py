"""Nothing but the simulator, tests, benchmarks and one door of training knows where the truth lies; loading a shop opens none of it, and
what training learns from does not come through that door."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from settings import ROOT
from sources.registry import deliver
from tests.test_house import tracked

MAY_READ = ("tests/", "benchmarks/", "sources/shop")
DOOR = "training/oracle.py"
OPENS_IT = {
    "training/run_recommender.py",
    "training/portrait_evidence.py",
    "training/run_uplift.py",
    "training/run_folder.py",
    "training/evaluate_recommender.py",
    "training/evaluate_risk.py",
}
IN_TEXT = re.compile(r"(^|[\"'/\\])truth([\"'/\\]|$)|truth_dir|dirt\.json")
WINDOW = {"users": 40, "items": 200, "events_per_user": 10, "days": 60}


def readers(path: Path) -> list[str]:
    """Places in a Python file that name the truth's folder or files, docstrings apart: a setting, a path, an import of the simulator."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found = []
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
        named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if (
            (is_text and IN_TEXT.search(node.value))
            or (
                isinstance(node, ast.Attribute | ast.FunctionDef)
                and (getattr(node, "attr", "") or getattr(node, "name", "")) == "truth_dir"
            )
            or any(name.startswith("sources.shop") for name in named)
        ):
            found.append(f"line {node.lineno}")
    return found


def test_no_code_outside_the_simulator_tests_and_benchmarks_names_the_truth():
    files = [path for path in tracked("*.py") if not str(path.relative_to(ROOT)).startswith(MAY_READ)]
    found = {str(path.relative_to(ROOT)): places for path in files if (places := readers(path))}
    assert len(files) > 80
    assert set(found) == {"settings.py", DOOR}  # which says where it is, and who may ask
    assert len(found["settings.py"]) == 2


def test_only_what_measures_a_finished_model_asks_the_oracle():
    """By imports, and within a run by order: the first question stands behind the export of the model."""
    importers = {
        str(path.relative_to(ROOT))
        for path in tracked("*.py")
        if not str(path.relative_to(ROOT)).startswith(MAY_READ)
        and re.search(r"^\s*from training\.oracle import", path.read_text(), re.MULTILINE)
    }
    assert importers == OPENS_IT
    for name, last in (
        ("run_recommender", "export_model("),
        ("run_uplift", "export_model("),
        ("evaluate_recommender", "train_encoder_network("),
        ("evaluate_risk", "fit_credit("),
    ):
        body = (ROOT / "training" / f"{name}.py").read_text().partition("\ndef ")[2]
        doors = ("house_oracle(", "shop_oracle(seed", "shop_credit_risk(seed")
        first = min(place for door in doors if (place := body.find(door)) >= 0)
        assert body.rfind(last) < first, name
    assert "oracle" not in (ROOT / "training" / "run_portrait.py").read_text()  # which hands the exported model to portrait_evidence


def test_no_query_page_or_script_names_the_truth():
    kinds = {".sql", ".yml", ".yaml", ".toml", ".sh", ".jinja", ".html", ".js", ""}
    files = [path for path in tracked() if path.suffix in kinds and not str(path.relative_to(ROOT)).startswith(MAY_READ)]
    assert len(files) > 20
    assert [str(path.relative_to(ROOT)) for path in files if IN_TEXT.search(path.read_text(encoding="utf-8", errors="ignore"))] == []


@pytest.mark.parametrize(
    "code",
    ["get_settings().truth_dir", "open(home / 'truth' / 'users.parquet')", "read('house/truth/bots.parquet')", "import sources.shop_block",
     "from sources.shop import stream", "name = 'dirt.json'"],
)  # fmt: skip
def test_the_search_finds_who_would_read_it(code: str, tmp_path: Path):
    (tmp_path / "spy.py").write_text(f'"""Nothing but the truth."""\n{code}\n')
    assert readers(tmp_path / "spy.py") == ["line 2"]


LOAD = """
import json, sys
from datetime import date
from pathlib import Path

opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event in ("open", "os.listdir", "os.scandir") else None)

from quality.load import load_window
from settings import get_settings
from sources.registry import Delivery

landing = get_settings().landing_dir
delivery = Delivery.read(landing)
report = load_window(landing, delivery.start, delivery.end)
during = [path for path in opened if "/truth" in path]
if get_settings().truth_dir.exists():
    open(get_settings().truth_dir / "dirt.json").close()
after = [path for path in opened if "/truth" in path]
print(json.dumps({"during": during, "after": len(after), "seen": sum("/landing" in path for path in opened), "report": report.as_text()}))
"""


@pytest.mark.slow
def test_loading_a_shop_opens_nothing_of_the_truth_and_needs_none_of_it(house: Path):
    """By an audit hook, which sees what Python opens; and by taking the truth away, which what DuckDB opens by itself would notice."""
    deliver("shop", None, house / "landing", seed=7, options=WINDOW)

    def loaded() -> dict:
        done = subprocess.run([sys.executable, "-c", LOAD], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    watched = loaded()
    assert watched["during"] == []
    assert (watched["after"], watched["seen"] > 0) == (1, True)  # the hook does see such files
    shutil.rmtree(house / "truth")
    (house / "warehouse.duckdb").unlink()
    assert loaded()["report"] == watched["report"]
