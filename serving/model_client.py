"""The model server's client, as the house imports it: `serving.portrait_client`, which others install by itself."""

from serving.portrait_client import (
    AsyncModelClient,
    DeadlineExceeded,
    InvalidRequest,
    ModelClient,
    ModelError,
    ModelMetadata,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    Prediction,
    TensorSpec,
    VersionStatus,
)

__all__ = [
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
