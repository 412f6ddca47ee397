"""A light client of any server that speaks TensorFlow Serving's gRPC protocol: grpcio, protobuf and numpy, no TensorFlow.

    with ModelClient("127.0.0.1:8500") as client:
        answer = client.predict("recommender", {"event_item_ids": [["p1", "p2"]], ..., "k": [10]}, timeout_s=0.2)
        answer["item_ids"], answer.version

Inside this repository it is `serving.portrait_client`; `pip install ./serving/portrait_client` installs the same files as
`portrait_client`.
"""

from .aio import AsyncModelClient
from .calls import SIGNATURE, ModelMetadata, Prediction, TensorSpec, VersionStatus
from .client import ModelClient
from .errors import DeadlineExceeded, InvalidRequest, ModelError, ModelNotFound, ModelUnavailable, Overloaded

__all__ = [
    "SIGNATURE",
    "AsyncModelClient",
    "DeadlineExceeded",
    "InvalidRequest",
    "ModelClient",
    "ModelError",
    "ModelMetadata",
    "ModelNotFound",
    "ModelUnavailable",
    "Overloaded",
    "Prediction",
    "TensorSpec",
    "VersionStatus",
]
