"""What may be loaded: files as they were signed, allowed operations, the golden answer. Real SavedModels, each spoilt in one way."""

import json
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serving import manifest
from serving.manifest import MANIFEST_FILE, ManifestRefused
from serving.model_client import ModelClient
from settings import ROOT
from tests.serving.conftest import free_ports
from training.signatures import GOLDEN_FILE, RECOMMENDER


class TestSigning:
    @pytest.fixture
    def signed(self, tmp_path):
        folder = tmp_path / "m" / "1"
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"graph")
        (folder / "variables" / "data").write_bytes(b"weights")
        manifest.sign(folder, "m", 1, manifest.make_key(tmp_path / "keys" / "signing_key.pem"))
        return folder

    @pytest.fixture
    def public(self, tmp_path, signed):
        return manifest.read_public_key(manifest.public_of(tmp_path / "keys" / "signing_key.pem"))

    def test_a_key_is_made_once_for_its_owner_alone(self, tmp_path):
        private = tmp_path / "keys" / "k.pem"
        found = []
        threads = [threading.Thread(target=lambda: found.append(manifest.make_key(private).private_bytes_raw())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
        assert manifest.read_public_key(private.with_suffix(".pub")) == manifest.make_key(private).public_key()
        assert sorted(path.name for path in private.parent.iterdir()) == ["k.pem", "k.pub"]

    def test_an_untouched_folder_is_verified_and_lists_every_file(self, signed, public):
        manifest.verify(signed, "m", 1, public)
        content = json.loads((signed / MANIFEST_FILE).read_text())
        assert {name: entry["size"] for name, entry in content["files"].items()} == {"saved_model.pb": 5, "variables/data": 7}

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda folder: (folder / "variables" / "data").write_bytes(b"Weights"), "variables/data has changed since signing"),
            (lambda folder: (folder / "variables" / "data").unlink(), "variables/data is missing since signing"),
            (lambda folder: (folder / "extra").write_text(""), "extra was added after signing"),
            (lambda folder: (folder / "extra").symlink_to("/etc/hostname"), "plain files and folders. extra in"),
            (lambda folder: (folder / MANIFEST_FILE).unlink(), "must carry assets.extra/manifest.json"),
            (lambda folder: (folder / MANIFEST_FILE).write_text("{"), "must be a signed manifest"),
            (lambda folder: (folder / MANIFEST_FILE).write_text("[]"), "must be a signed manifest"),
        ],
    )
    def test_a_folder_that_is_not_as_signed_is_refused_by_name(self, signed, public, spoil, words):
        spoil(signed)
        with pytest.raises(ManifestRefused, match=words):
            manifest.verify(signed, "m", 1, public)

    def test_a_manifest_is_for_one_model_and_one_number_by_one_key(self, signed, public, tmp_path):
        with pytest.raises(ManifestRefused, match=r"must be signed as m version 2\. It is signed as m version 1"):
            manifest.verify(signed, "m", 2, public)
        with pytest.raises(ManifestRefused, match="must be signed as other version 1"):
            manifest.verify(signed, "other", 1, public)
        with pytest.raises(ManifestRefused, match="is not by this house's key"):
            manifest.verify(signed, "m", 1, manifest.make_key(tmp_path / "others.pem").public_key())
        content = json.loads((signed / MANIFEST_FILE).read_text())
        content["version"] = 2
        (signed / MANIFEST_FILE).write_text(json.dumps(content))
        with pytest.raises(ManifestRefused, match="is not by this house's key"):
            manifest.verify(signed, "m", 2, public)

    def test_what_is_no_public_key_is_refused(self, tmp_path):
        (tmp_path / "k.pub").write_text("nonsense")
        with pytest.raises(ManifestRefused, match="A verification key must be a PEM file"):
            manifest.read_public_key(tmp_path / "k.pub")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.slow
class TestLoading:
    @pytest.fixture(scope="class")
    def key(self, tmp_path_factory):
        return manifest.make_key(tmp_path_factory.mktemp("keys") / "k.pem")

    @pytest.fixture(scope="class")
    def load(self, key):
        from serving.model_server import admission
        from serving.model_server.servable import Servable

        return admission.guarded(Servable, key.public_key())

    @pytest.fixture
    def version(self, exported, tmp_path, key):
        folder = shutil.copytree(exported[1], tmp_path / "1")
        manifest.sign(folder, "tiny", 1, key)
        return folder

    def test_a_signed_version_is_loaded(self, load, version):
        loaded = load("tiny", 1, version)
        assert "serving_default" in loaded.signature_defs
        loaded.release()

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda folder: shutil.rmtree(folder / "variables"), "variables/variables.data-00000-of-00001 is missing"),
            (lambda folder: truncate(folder / "saved_model.pb"), "saved_model.pb has changed"),
            (lambda folder: truncate(folder / "variables" / "variables.index"), "variables.index has changed"),
            (lambda folder: flip_bit(folder / "variables" / "variables.data-00000-of-00001"), "variables.data-00000-of-00001 has changed"),
            (lambda folder: flip_bit(folder / GOLDEN_FILE), "golden.json has changed"),
            (lambda folder: (folder / "assets" / "late.txt").write_text("x"), "assets/late.txt was added after"),
        ],
    )
    def test_files_that_are_not_as_signed_are_never_opened(self, load, version, spoil, words):
        from serving.model_server.errors import ServingError

        spoil(version)
        with pytest.raises(ServingError, match=words) as refused:
            load("tiny", 1, version)
        assert refused.value.code.name == "FAILED_PRECONDITION"

    def test_a_wrong_golden_answer_is_refused_though_signed(self, load, version, key):
        from serving.model_server.errors import ServingError

        recorded = json.loads((version / GOLDEN_FILE).read_text())
        recorded["outputs"]["y"] = [4.0]
        (version / GOLDEN_FILE).write_text(json.dumps(recorded))
        manifest.sign(version, "tiny", 1, key)
        with pytest.raises(ServingError, match=r"Output `y` must equal the golden answer.*received \[3\.0\]"):
            load("tiny", 1, version)

    @pytest.mark.parametrize("hidden", ["plain", "in a function", "in a branch", "at initialisation"])
    def test_a_planted_write_is_found_wherever_it_hides_and_nothing_is_written(self, load, key, tmp_path, hidden):
        from serving.model_server.errors import ServingError

        folder, written = tmp_path / "1", tmp_path / "planted"
        export_writing(folder, written, hidden)
        written.unlink(missing_ok=True)  # exporting ran it
        manifest.sign(folder, "tiny", 1, key)
        with pytest.raises(ServingError, match=r"must use only the operations in allowed_ops\.txt.* reaches .*WriteFile"):
            load("tiny", 1, folder)
        assert not written.exists()

    def test_python_and_reads_are_not_allowed_and_saving_is_out_of_reach(self, exported):
        from serving.model_server import operations

        allowed = operations.read_allowed()
        forbidden = {"ReadFile", "WriteFile", "MatchingFiles", "SaveV2", "MergeV2Checkpoints", "PyFunc", "EagerPyFunc", "RestoreV2"}
        assert not allowed & forbidden
        assert not [op for op in allowed if "Dataset" in op or "Summary" in op or "Assign" in op]
        operations.check(exported[1], allowed)
        assert b"SaveV2" in (exported[1] / "saved_model.pb").read_bytes()

    def test_a_model_of_the_house_must_have_its_contracts_signature(self, exported):
        from serving.model_server import admission
        from serving.model_server.errors import ServingError
        from serving.model_server.servable import Servable

        servable = Servable(exported[1])
        admission.check_contract("tiny", servable)
        with pytest.raises(ServingError, match=r"Signature `serving_default` of recommender must take `event_item_ids` as string of 2 dim"):
            admission.check_contract(RECOMMENDER.name, servable)


@pytest.mark.slow
def test_a_server_with_a_key_serves_what_was_signed_and_no_more(exported, tmp_path):
    key, (port, rest) = manifest.make_key(tmp_path / "k.pem"), free_ports(2)
    for number in (1, 2, 3):
        shutil.copytree(exported[number], tmp_path / "tiny" / str(number))
    manifest.sign(tmp_path / "tiny" / "1", "tiny", 1, key)
    shutil.copy(tmp_path / "tiny" / "1" / MANIFEST_FILE, tmp_path / "tiny" / "3" / MANIFEST_FILE)
    (tmp_path / "models.config").write_text(
        f'model_config_list {{ config {{ name: "tiny" base_path: "{tmp_path}/tiny" model_platform: "tensorflow" '
        "model_version_policy { all {} } } }"
    )
    command = [sys.executable, "-m", "serving.model_server", f"--port={port}", f"--rest_api_port={rest}"]
    command += [f"--model_config_file={tmp_path / 'models.config'}", f"--verification_key_file={tmp_path / 'k.pub'}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        with ModelClient(f"127.0.0.1:{port}") as client:
            client.wait_available("tiny", 1, timeout_s=120)
            found = client.status("tiny")
            assert {number: status.state for number, status in found.items()} == {1: "AVAILABLE", 2: "END", 3: "END"}
            assert "must carry assets.extra/manifest.json" in found[2].error
            assert "It is signed as tiny version 1" in found[3].error
            assert client.predict("tiny", {"x": [[1, 2]], "name": ["ann"]})["y"].tolist() == [3.0]
    finally:
        process.terminate()
        assert process.wait(30) == 0, (tmp_path / "log").read_text()


def export_writing(folder: Path, written: Path, hidden: str) -> None:
    """A SavedModel that writes a file, from one of four places."""
    import tensorflow as tf

    path = str(written)

    @tf.function
    def inner(x):
        tf.io.write_file(path, "planted")
        return x + 1.0

    class Planted(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lookup = None

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def serve(self, x):
            if hidden == "plain":
                tf.io.write_file(path, "planted")
            if hidden == "in a function":
                return {"y": inner(x)}
            if hidden == "in a branch":
                return {"y": tf.cond(tf.reduce_sum(x) > 1e9, lambda: inner(x), lambda: x)}
            return {"y": x + 1.0}

    if hidden != "at initialisation":
        module = Planted()
        tf.saved_model.save(module, str(folder), signatures=module.serve)
        return
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None], "x")
        y = x + 1.0
        write = tf.raw_ops.WriteFile(filename=path, contents="planted")
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=write)
        builder.save()
