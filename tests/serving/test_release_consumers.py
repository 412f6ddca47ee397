"""What the house itself asks of a model while a version is on trial: a label or a number, never the newest that happens to be loaded."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import cli
from serving import release_steps
from serving.release_live import ReleasedModels
from serving.release_state import CANARY, STABLE, Release, write
from settings import ROOT, get_settings

#: Calls that a request's user decides, through `ReleasedModels`.
BY_USER = {"shop", "self._released", "front()"}


def calls_of_models(folder: Path) -> dict[str, set[str]]:
    """`file: call` of everything in a folder that asks a model server, with the keywords that it gives."""
    found = {}
    for file in sorted(folder.rglob("*.py")):
        if file.is_relative_to(ROOT / "serving" / "model_server") or file.is_relative_to(ROOT / "serving" / "portrait_client"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("predict", "metadata"):
                asked = ast.unparse(node.func.value)
                if asked not in BY_USER and ".fit(" not in asked:  # scikit-learn's own
                    found[f"{file.relative_to(ROOT)}:{node.lineno} {asked}"] = {keyword.arg or "" for keyword in node.keywords}
    return found


def test_no_consumer_of_the_house_asks_without_a_label_or_a_version() -> None:
    found = calls_of_models(ROOT / "serving") | calls_of_models(ROOT / "dags")
    assert len(found) >= 7
    assert {call: given for call, given in found.items() if not given & {"label", "version"}} == {}


class Recorded:
    """A client that answers anything, and remembers which label was asked."""

    def __init__(self) -> None:
        self.labels: list[str | None] = []

    def predict(self, _model: str, _inputs: Any, *, label: str | None = None, **_: Any) -> Any:
        self.labels.append(label)
        answer = {"y": np.array([1.0])}
        return type("Answer", (dict,), {"version": 1, "label": None})(answer)


def test_during_a_trial_every_user_and_guest_is_asked_about_by_label(house: Path) -> None:
    write(Release("recommender", stable=1, canary=2, share=0.5, canary_since="2024-03-01T00:00:00"), get_settings())
    client, asked = Recorded(), ReleasedModels()
    for user in (None, *(f"u{number}" for number in range(50))):
        asked.predict(client, "recommender", {}, user)  # type: ignore[arg-type]
    assert client.labels[0] == STABLE and set(client.labels) == {STABLE, CANARY}


@pytest.mark.parametrize(("command", "stable"), [("promote", 2), ("rollback", 1)])
def test_deciding_by_hand_crowns_the_run_that_answers_as_the_dag_does(
    house: Path, monkeypatch: pytest.MonkeyPatch, command: str, stable: int
) -> None:
    from training import champion

    class Decided:
        def promote(self, model: str, reason: str, version: int | None) -> Release:
            return Release(model, stable=2, runs={"1": "run-1", "2": "run-2"})

        def roll_back(self, model: str, reason: str, version: int | None) -> Release:
            return Release(model, stable=1, runs={"1": "run-1", "2": "run-2"})

    crowned: list[tuple[str, str]] = []
    monkeypatch.setattr(champion, "crown", lambda model, run: crowned.append((model, run)))
    monkeypatch.setattr(release_steps, "Releases", Decided)
    assert CliRunner().invoke(cli.app, ["release", command, "recommender"]).exit_code == 0
    assert crowned == [("recommender", f"run-{stable}")]
