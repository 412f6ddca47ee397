"""Publishing: whole or not at all, never the same number twice, and what was served stays when a step fails."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from serving import golden, manifest
from serving.model_client import ModelClient
from serving.publish import PublishFailed, adopt, content_hash, publish, published_versions
from settings import ROOT, get_settings
from tests.serving.test_model_server_admission import export_writing
from training.signatures import GOLDEN_FILE

INPUTS = {"x": np.array([[1, 2]], np.float32), "name": np.array(["ann"])}


def test_a_house_from_before_there_were_manifests_signs_what_it_had_published_once(house):
    folder = house / "models" / "m" / "3"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    key = house / "secrets" / "signing_key.pem"
    adopt(house / "models", key)
    manifest.verify(folder, "m", 3, manifest.read_public_key(manifest.public_of(key)))
    (house / "models" / "m" / "4").mkdir()
    adopt(house / "models", key)  # a house with a key signs only what it publishes
    assert not (house / "models" / "m" / "4" / manifest.MANIFEST_FILE).exists()


def test_only_integer_folders_are_versions(house):
    for name in ("1", "10", "9", ".11.tmp-5", ".refused-12", "13x"):
        (house / "models" / "m" / name).mkdir(parents=True)
    assert published_versions("m") == [1, 9, 10]
    assert published_versions("nobody") == []


def test_a_hash_sees_names_and_bytes(tmp_path):
    for folder, name, text in (("a", "f", "x"), ("b", "f", "x"), ("c", "g", "x"), ("d", "f", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    same, other, renamed, changed = (content_hash(tmp_path / folder) for folder in "abcd")
    assert same == other
    assert len({same, renamed, changed}) == 3


def test_what_is_no_model_and_a_missing_server_are_refused_before_anything_is_written(house):
    with pytest.raises(PublishFailed, match=r"A model's name must be letters.*Received '\.\./m'"):
        publish("../m", house)
    with pytest.raises(PublishFailed, match=r"A SavedModel folder holds saved_model\.pb"):
        publish("m", house, target="127.0.0.1:1")
    (house / "saved_model.pb").write_text("x")
    with pytest.raises(PublishFailed, match="Publishing m needs a running model server, and nothing was changed"):
        publish("m", house, target="127.0.0.1:1")
    assert published_versions("m") == []
    assert not (house / "models" / "m" / ".ledger.json").exists()


def test_a_golden_answer_is_compared_to_a_tolerance_and_text_exactly():
    request = golden.GoldenRequest({}, {"y": [1.0, float("-inf")], "s": [["a", ""]]})
    request.check({"y": np.array([1.00009, -np.inf], np.float32), "s": np.array([[b"a", b""]], object)})
    golden.GoldenRequest({}, {"none": [[], []]}).check({"none": np.zeros((2, 0, 4), np.float32)})
    with pytest.raises(golden.GoldenMismatch, match=r"Output `y` must equal the golden answer to 0\.0001"):
        request.check({"y": np.array([1.001, -np.inf], np.float32), "s": np.array([["a", ""]], object)})
    with pytest.raises(golden.GoldenMismatch, match="Output `s` must equal"):
        request.check({"y": np.array([1, -np.inf], np.float32), "s": np.array([["a", "b"]], object)})
    with pytest.raises(golden.GoldenMismatch, match=r"has the outputs \['s', 'y'\]\. Received \['y'\]"):
        request.check({"y": np.array([1.0])})


@pytest.mark.slow
class TestAgainstAServer:
    @pytest.fixture(scope="class")
    def client(self, server):
        with ModelClient(server.target) as client:
            yield client

    def hidden(self, server) -> list[str]:
        return sorted(path.name for path in (server.folder / "pub").glob(".*") if path.is_dir())

    def test_a_version_is_available_when_publish_returns_and_the_same_content_is_published_once(self, server, client, exported):
        first = publish("pub", exported[1], models_dir=server.folder, target=server.target)
        assert first == 1
        assert client.predict("pub", INPUTS).version == 1
        assert publish("pub", exported[1], models_dir=server.folder, target=server.target) == 1
        assert content_hash(server.folder / "pub" / "1") == content_hash(exported[1])
        manifest.verify(server.folder / "pub" / "1", "pub", 1, manifest.make_key(get_settings().signing_key).public_key())
        assert published_versions("pub", models_dir=server.folder) == [1]

    def test_a_broken_model_fails_loudly_and_its_number_is_not_used_again(self, server, client, exported, tmp_path):
        broken = shutil.copytree(exported[2], tmp_path / "broken")
        shutil.rmtree(broken / "variables")
        with pytest.raises(PublishFailed, match=r"pub version 2 was not published.*must load in a fresh process.*variables"):
            publish("pub", broken, models_dir=server.folder, target=server.target)
        lying = shutil.copytree(exported[2], tmp_path / "lying")
        recorded = json.loads((lying / GOLDEN_FILE).read_text())
        recorded["outputs"]["y"] = [6.001]
        (lying / GOLDEN_FILE).write_text(json.dumps(recorded))
        with pytest.raises(PublishFailed, match=r"version 3 was not published.*Output `y` must equal the golden answer.*received \[6\.0\]"):
            publish("pub", lying, models_dir=server.folder, target=server.target)
        assert (published_versions("pub", models_dir=server.folder), self.hidden(server)) == ([1], [])
        assert client.predict("pub", INPUTS).version == 1
        assert publish("pub", exported[2], models_dir=server.folder, target=server.target) == 4
        ledger = json.loads((server.folder / "pub" / ".ledger.json").read_text())
        assert {number: entry["state"] for number, entry in ledger.items()} == {
            "1": "published",
            "2": "failed",
            "3": "failed",
            "4": "published",
        }

    def test_what_would_write_a_file_is_not_published(self, server, tmp_path):
        export_writing(tmp_path / "planted", tmp_path / "written", "plain")
        (tmp_path / "written").unlink(missing_ok=True)
        with pytest.raises(PublishFailed, match=r"use allowed operations and answer its golden request\. .*WriteFile"):
            publish("pub", tmp_path / "planted", models_dir=server.folder, target=server.target)
        assert not (tmp_path / "written").exists()
        assert self.hidden(server) == []

    def test_a_version_changed_after_signing_is_published_anew(self, server, exported):
        newest = publish("pub", exported[2], models_dir=server.folder, target=server.target)
        numbers = json.loads((server.folder / "pub" / ".ledger.json").read_text())
        (server.folder / "pub" / str(newest) / "added").write_text("later")
        assert publish("pub", exported[2], models_dir=server.folder, target=server.target) == max(map(int, numbers)) + 1

    def test_a_version_that_the_server_does_not_serve_is_taken_back(self, server, exported, tmp_path):
        with pytest.raises(PublishFailed, match=r"version 1 was taken back to .*\.refused-1.*must become AVAILABLE within 1 s"):
            publish("unlisted", exported[1], models_dir=tmp_path, target=server.target, wait_s=1)
        assert published_versions("unlisted", models_dir=tmp_path) == []

    def test_a_killed_publisher_shows_no_partial_version_and_two_at_once_take_turns(self, server, client, exported):
        folder = server.folder / "pub"
        wanted = content_hash(exported[3])
        before = set(published_versions("pub", models_dir=server.folder))
        served = max(before)
        partial, stop = [], threading.Event()

        def watch():
            while not stop.is_set():
                new = [number for number in published_versions("pub", models_dir=server.folder) if number not in before]
                partial.extend(number for number in new if content_hash(folder / str(number)) != wanted)
                time.sleep(0.005)

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = "from pathlib import Path; from serving.publish import publish; import sys; "
        code += "publish('pub', Path(sys.argv[1]), models_dir=Path(sys.argv[2]), target=sys.argv[3])"
        command = [sys.executable, "-c", code, str(exported[3]), str(server.folder), server.target]
        points = ("", "/variables/*.index", "/assets.extra/golden.json", "/assets.extra/manifest.json", "loading")
        for point in points:
            process = subprocess.Popen(command, cwd=ROOT)
            while not self.reached(folder, process.pid, point):
                assert process.poll() is None
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert client.predict("pub", INPUTS).version == served
        numbers: list[int] = []
        again = [lambda: numbers.append(publish("pub", exported[3], models_dir=server.folder, target=server.target))] * 2
        two_at_once = [threading.Thread(target=target) for target in again]
        for thread in two_at_once:
            thread.start()
        for thread in two_at_once:
            thread.join()
        stop.set()
        watcher.join()
        assert partial == []
        assert numbers == [served + len(points) + 1] * 2  # the second found the same content published
        assert self.hidden(server) == []
        assert client.predict("pub", INPUTS)["y"].tolist() == [9.0]

    def reached(self, folder: Path, pid: int, point: str) -> bool:
        if point != "loading":
            return any(folder.glob(f".*.tmp-{pid}{point}"))
        children = Path(f"/proc/{pid}/task/{pid}/children")
        return children.exists() and bool(children.read_text().split())
