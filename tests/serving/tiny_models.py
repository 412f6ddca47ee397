"""SavedModels small enough to check by hand: `y = scale * sum of x's row`, `greeting = "hello " + name`.

To run the protocol's and the client's tests against the official server, with the same models (docs/serving-model-server.md):

    python -m tests.serving.tiny_models /tmp/tiny
    docker run --rm --network=host -v /tmp/tiny:/tmp/tiny tensorflow/serving:2.20.0 --port=8500 --rest_api_port=8501 \
        --model_config_file=/tmp/tiny/models.config --allow_version_labels_for_unavailable_models=true
    TF_SERVING_TARGET=127.0.0.1:8500 TF_SERVING_REST_TARGET=127.0.0.1:8501 \
        pytest tests/serving/test_model_server_protocol.py tests/serving/test_model_client.py
"""

import json
import sys
from pathlib import Path

from training.signatures import GOLDEN_FILE, WARMUP_FILE

TINY_CONFIG = """model_config_list {{
  config {{
    name: "tiny" base_path: "{folder}/tiny" model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
  }}
{more}}}
"""


def export_tiny(folder: Path, scale: float) -> Path:
    """Write the model, its golden request and one warm-up request."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    class Tiny(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = tf.Variable(scale)

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x"), tf.TensorSpec([None], tf.string, "name")])
        def serve(self, x: tf.Tensor, name: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": self.scale * tf.reduce_sum(x, axis=1), "greeting": tf.strings.join(["hello ", name])}

    model = Tiny()
    tf.saved_model.save(model, str(folder), signatures=model.serve)
    golden = {"inputs": {"x": [[1.0, 2.0]], "name": ["ann"]}, "outputs": {"y": [3.0 * scale], "greeting": ["hello ann"]}}
    (folder / GOLDEN_FILE).parent.mkdir()
    (folder / GOLDEN_FILE).write_text(json.dumps(golden))
    request = predict_pb2.PredictRequest()
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([[1.0, 2.0]], tf.float32))
    request.inputs["name"].CopyFrom(tf.make_tensor_proto(["ann"]))
    write_warmup(folder, request)
    return folder


def write_warmup(folder: Path, request) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    record = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        writer.write(record.SerializeToString())


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    export_tiny(folder / "tiny" / "1", 1.0)
    export_tiny(folder / "tiny" / "2", 2.0)
    (folder / "models.config").write_text(TINY_CONFIG.format(folder=folder, more=""))


if __name__ == "__main__":
    main()
