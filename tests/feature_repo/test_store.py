"""Feast's registry says what the contract says, and its own commands and server work on this house."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from feature_repo.contract import services, views
from feature_repo.materialise import materialise
from feature_repo.online import OnlineFeatures
from feature_repo.store import REPOSITORY, apply, environment, open_store
from settings import ROOT, get_settings
from tests.feature_repo.conftest import MAY

FEAST = Path(sys.executable).with_name("feast")


@pytest.mark.slow
def test_feast_imports_no_file_but_the_definitions() -> None:
    # A file that Feast imports twice, under two names, would make every object twice.
    from feast.repo_operations import get_repo_files

    assert len(list(REPOSITORY.rglob("*.py"))) > 12
    assert [file.name for file in get_repo_files(REPOSITORY)] == ["definitions.py"]


@pytest.mark.slow
def test_the_store_lies_in_the_house(house: Path) -> None:
    config = open_store().config
    assert config.registry.path == f"sqlite:///{get_settings().feast_dir.resolve() / 'registry.db'}"
    assert config.online_store.path == str(get_settings().feast_dir.resolve() / "online.db")
    assert (config.offline_store.type, config.entity_key_serialization_version) == ("duckdb", 3)


def registered(store: Any) -> dict[str, Any]:
    return {
        "entities": sorted((entity.name, entity.join_key) for entity in store.list_entities()),
        "views": {view.name: [(field.name, str(field.dtype)) for field in view.features] for view in store.list_feature_views()},
        "ttl": {view.ttl.total_seconds() if view.ttl else 0 for view in store.list_feature_views()},
        "services": {
            service.name: {part.name: tuple(field.name for field in part.features) for part in service.feature_view_projections}
            for service in store.list_feature_services()
        },
        "created": sorted((view.name, view.created_timestamp, view.last_updated_timestamp) for view in store.list_feature_views()),
    }


@pytest.mark.slow
def test_services_and_views_equal_the_contract_and_applying_twice_changes_nothing(house: Path) -> None:
    apply()
    first = registered(open_store())
    assert first["services"] == services()
    assert {name: [field for field, _ in fields] for name, fields in first["views"].items()} == {
        name: [column.name for column in view.features] for name, view in views().items()
    }
    assert dict(first["views"]["user_sequences"])["event_times_us"] == "Array(Int64)"
    assert first["entities"] == [("instrument", "instrument_id"), ("item", "item_id"), ("user", "user_id")]
    assert first["ttl"] == {0}  # unlimited
    apply()
    assert registered(open_store()) == first


@pytest.mark.slow
def test_a_registry_whose_file_was_emptied_is_refused_by_name_and_made_again_from_the_contract(shop: Path) -> None:
    """Feast loads an empty file as an empty store, without an error."""
    materialise(*MAY)
    served, before = OnlineFeatures().read("portrait_v1", ["ann"]), registered(open_store())
    (shop / "feast" / "registry.db").write_bytes(b"")
    with pytest.raises(LookupError, match=r"Run `portrait up`"):
        OnlineFeatures().read("portrait_v1", ["ann"])
    apply()
    after = registered(open_store())
    assert {name: after[name] for name in before if name != "created"} == {name: before[name] for name in before if name != "created"}
    assert repr(OnlineFeatures().read("portrait_v1", ["ann"])) == repr(served)


WRITER = """
import sys
from feast import Entity
from feature_repo.store import open_store
store = open_store()
print("ready", flush=True)
sys.stdin.readline()
for number in range(5):
    store.apply(Entity(name=f"written_{sys.argv[1]}_{number}", join_keys=["user_id"]))
"""


@pytest.mark.slow
def test_four_writers_at_once_lose_nothing_in_the_registry(house: Path) -> None:
    """Feast's file registry lost most of them: each writer puts back the whole file as it read it."""
    apply()
    before = registered(open_store())["entities"]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(number)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=120)
    assert [writer.returncode for writer in writers] == [0] * 4
    written = [(f"written_{number}_{place}", "user_id") for number in range(4) for place in range(5)]
    assert registered(open_store())["entities"] == sorted([*before, *written])


@pytest.mark.slow
def test_the_guides_lines_lead_feasts_own_command_to_the_house(shop: Path) -> None:
    apply()
    (block,) = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), flags=re.S)
    typed = block.replace("$PWD/var/shop", str(shop)).replace(".venv/bin/feast", str(FEAST))
    assert typed.count(str(shop)) == typed.count(str(FEAST)) == 1
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PORTRAIT_", "PYTHONPATH"))}
    done = subprocess.run(["bash", "-ec", typed], cwd=ROOT, env=bare, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert {name for name in services() if name in done.stdout} == set(services())


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if body else answer.status


@pytest.mark.slow
def test_feasts_own_command_and_server_answer_for_a_service(shop: Path) -> None:
    materialise(*MAY)
    before = registered(open_store())
    applied = subprocess.run([FEAST, "-c", REPOSITORY, "apply"], env=environment(), capture_output=True, text=True, timeout=240)
    assert applied.returncode == 0, applied.stderr
    assert registered(open_store()) == before

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = shop / "serve.log"
    with log.open("w") as out:
        command = [FEAST, "-c", REPOSITORY, "serve", "-h", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, env=environment(), stdout=out, stderr=out)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", server, log)
        body = {"feature_service": "recommender_v1", "entities": {"user_id": ["ann", "nobody"]}}
        answer = ask(f"http://127.0.0.1:{port}/get-online-features", body)
    finally:
        server.terminate()
        server.wait(30)
    served = dict(zip(answer["metadata"]["feature_names"], (part["values"] for part in answer["results"]), strict=True))
    assert served == {
        "user_id": ["ann", "nobody"],
        "event_item_ids": [["mug", "pot"], None],
        "event_types": [["view", "cart"], None],
        "event_times_us": [[1_714_607_999_999_995, 1_714_608_000_000_007], None],
    }


def wait_until_healthy(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            if ask(url) == 200:
                return
        except OSError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
