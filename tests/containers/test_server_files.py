"""What the house writes for its model server is what TensorFlow Serving reads: parsed with its own messages."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.model_server import parameters_pb2
from serving.publish import MAX_BATCH_ROWS, write_server_config
from serving.release_config import write_config
from serving.release_state import Release, write


def read_models(house: Path) -> model_server_config_pb2.ModelServerConfig:
    write_config()
    return text_format.Parse((house / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())


def test_a_fresh_house_lists_no_model_so_that_the_server_starts(house: Path) -> None:
    """It would wait without end for a listed model of which no version exists. An unset `config` it would not follow later either."""
    config = read_models(house)
    assert config.WhichOneof("config") == "model_config_list"
    assert len(config.model_config_list.config) == 0


def test_models_are_listed_with_the_versions_and_labels_that_are_there(house: Path) -> None:
    (house / "models" / "recommender" / "3").mkdir(parents=True)
    (house / "models" / "portrait" / "1").mkdir(parents=True)
    write(Release("recommender", stable=3, serves={"versions": [3, 4], "labels": {"stable": 3, "canary": 4}}))
    write(Release("risk", serves={"versions": [], "labels": {}}))
    models = {model.name: model for model in read_models(house).model_config_list.config}
    assert models.keys() == {"recommender", "portrait"}
    recommender, portrait = models["recommender"], models["portrait"]
    assert list(recommender.model_version_policy.specific.versions) == [3]
    assert dict(recommender.version_labels) == {"stable": 3}
    assert (recommender.base_path, recommender.model_platform) == (str(house / "models" / "recommender"), "tensorflow")
    assert not portrait.HasField("model_version_policy")


def test_batching_and_monitoring_are_read_by_the_servers_own_names(house: Path) -> None:
    """Its Python package leaves these two messages out; serving/model_server/parameters.proto has their names and numbers."""
    write_server_config(house)
    batching = text_format.Parse((house / "batching.config").read_text(), parameters_pb2.BatchingParameters())
    assert batching.max_batch_size.value == MAX_BATCH_ROWS
    assert batching.max_enqueued_batches.value > 0
    monitoring = text_format.Parse((house / "monitoring.config").read_text(), parameters_pb2.MonitoringConfig())
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"
