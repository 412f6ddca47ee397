"""`models.config`: which models are served, from where, and which of the versions in their folder."""

import re
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2 as pb

from serving.model_server.errors import invalid, not_found

_VERSION = re.compile(r"[0-9]+")


def single(name: str, base_path: str) -> pb.ModelServerConfig:
    """The config that `--model_name` and `--model_base_path` stand for."""
    config = pb.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=str(Path(base_path).absolute()), model_platform="tensorflow")
    return config


def read(path: Path) -> pb.ModelServerConfig:
    """The file's config. ServingError(INVALID_ARGUMENT) where it cannot be read or parsed."""
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), pb.ModelServerConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise invalid(f"Invalid protobuf file: '{path}': {error}") from None


def models(config: pb.ModelServerConfig) -> dict[str, pb.ModelConfig]:
    """The listed models by name, checked. ServingError names the model and what is wrong."""
    if config.WhichOneof("config") == "custom_model_config":
        raise invalid("custom_model_config is not supported. Only ModelConfigList is currently supported")
    listed: dict[str, pb.ModelConfig] = {}
    for model in config.model_config_list.config:
        if not model.name:
            raise invalid(f"Every model in the config list needs a name; got base_path()={model.base_path}")
        if model.name in listed:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        if model.model_platform != "tensorflow" and model.model_type != pb.ModelType.TENSORFLOW:
            raise invalid(f"Model {model.name} requires model_platform \"tensorflow\"; got '{model.model_platform}'")
        if not Path(model.base_path).is_absolute():
            raise invalid(f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}")
        listed[model.name] = model
    return listed


def versions(model: pb.ModelConfig) -> dict[int, Path]:
    """The versions that the model's policy wants among `<base_path>/<integer>/`; other names are ignored.

    ServingError(NOT_FOUND) where the base path cannot be read: that is no reason to unload anything.
    """
    try:
        present = {int(entry.name): entry for entry in Path(model.base_path).iterdir() if _VERSION.fullmatch(entry.name) and entry.is_dir()}
    except OSError as error:
        raise not_found(f"Could not find base path {model.base_path} for servable {model.name}: {error}") from None
    policy = model.model_version_policy
    if policy.HasField("all"):
        return present
    if policy.HasField("specific"):
        return {version: present[version] for version in policy.specific.versions if version in present}
    newest = sorted(present, reverse=True)[: policy.latest.num_versions or 1]
    return {version: present[version] for version in newest}
