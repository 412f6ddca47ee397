"""The command line and models.config."""

from pathlib import Path

import pytest

from serving.model_server import flags


def test_tensorflow_servings_names_are_taken():
    parsed = flags.parse(
        ["--port=1", "--rest_api_port", "2", "--model_name=m", "--model_base_path=/m", "--file_system_poll_wait_seconds=3"]
    )
    assert (parsed.host, parsed.port, parsed.rest_api_port, parsed.model_name, parsed.model_base_path) == ("127.0.0.1", 1, 2, "m", "/m")
    assert parsed.file_system_poll_wait_seconds == 3
    assert flags.parse(
        ["--model_base_path=/m", "--allow_version_labels_for_unavailable_models"]
    ).allow_version_labels_for_unavailable_models
    assert flags.parse(["--model_base_path=/m"]).enable_model_warmup
    assert not flags.parse(["--model_base_path=/m", "--enable_model_warmup=false"]).enable_model_warmup


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model_base_path=/m", "--batching"], "unrecognized arguments: --batching"),
        (["--model_base_path=/m", "--rest_api=1"], "unrecognized arguments: --rest_api=1"),
        (["--model_base_path=/m", "--grpc_socket_path=/s"], "unrecognized arguments: --grpc_socket_path=/s"),
        (["--model_base_path=/m", "--grpc_channel_arguments=a=1"], "unrecognized arguments: --grpc_channel_arguments=a=1"),
        (["--model_base_path=/m", "--prefer_tflite_model"], "unrecognized arguments: --prefer_tflite_model"),
        ([], "give either --model_config_file or --model_base_path"),
        (["--model_base_path=/m", "--model_config_file=c"], "give either --model_config_file or --model_base_path"),
        (["--model_base_path=/m", "--grpc_max_threads=0"], "--grpc_max_threads must be at least 1, received 0"),
        (["--model_base_path=/m", "--port=x"], "--port: invalid int value: 'x'"),
    ],
)
def test_flags_that_make_no_sense_are_refused(arguments, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        flags.parse(arguments)
    assert words in capsys.readouterr().err


@pytest.mark.slow
class TestConfig:
    def models(self, text: str):
        from google.protobuf import text_format

        from serving.model_server import config

        return config.models(text_format.Parse(text, config.pb.ModelServerConfig()))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('config { name: "" base_path: "/a" }', "Every model in the config list needs a name"),
            ('config { name: "a" base_path: "/a" }', "Model a requires model_platform"),
            ('config { name: "a" base_path: "b" model_platform: "tensorflow" }', r"Expected model a to have an absolute path"),
            ('config { name: "a" base_path: "/b" model_platform: "tensorflow" } ' * 2, "Illegal to list model a multiple times"),
        ],
    )
    def test_a_faulty_model_is_named(self, text: str, words: str):
        from serving.model_server.errors import ServingError

        with pytest.raises(ServingError, match=words):
            self.models(f"model_config_list {{ {text} }}")

    @pytest.mark.parametrize(
        ("policy", "wanted"),
        [("", [10]), ("latest { num_versions: 2 }", [9, 10]), ("all {}", [2, 9, 10]), ("specific { versions: 2 versions: 5 }", [2])],
    )
    def test_a_version_policy_chooses_among_integer_folders(self, tmp_path: Path, policy: str, wanted: list[int]):
        from serving.model_server import config

        for name in ("2", "9", "10", ".11.tmp-1", "12-old", "x"):
            (tmp_path / name).mkdir()
        (tmp_path / "13").write_text("a file")
        text = f'name: "a" base_path: "{tmp_path}" model_platform: "tensorflow" model_version_policy {{ {policy} }}'
        models = self.models(f"model_config_list {{ config {{ {text} }} }}")
        assert sorted(config.versions(models["a"])) == wanted
