"""The server that one writes first: gRPC in Python, a thread for each request, the SavedModel's signature called. `FOLDER PORT`.

Beside Predict it has `/bench.Wire/Answer`, which gives the last answer's bytes back without work: what the wire itself costs.
"""

import os
import sys
from concurrent import futures
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

last = b""


def main() -> None:
    folder, port = sys.argv[1:]
    model = tf.saved_model.load(folder)
    signature = model.signatures["serving_default"]

    def predict(request: Any, _context: Any) -> bytes:
        global last
        answer = signature(**{name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()})
        response = predict_pb2.PredictResponse()
        for name, tensor in answer.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(tensor.numpy()))
        last = response.SerializeToString()
        return last

    server = grpc.server(futures.ThreadPoolExecutor(10), options=[("grpc.so_reuseport", 0)])
    methods = {"Predict": grpc.unary_unary_rpc_method_handler(predict, predict_pb2.PredictRequest.FromString)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", methods)])
    echo = {"Answer": grpc.unary_unary_rpc_method_handler(lambda _request, _context: last)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Wire", echo)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
