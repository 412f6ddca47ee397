"""What a call can fail with.

ModelError
├── ModelUnavailable    no server answers at the target, or a version did not become AVAILABLE
│   └── Overloaded      the server answers and has no room: ask less, or later
├── ModelNotFound       the server does not serve that model or version
├── InvalidRequest      the server refused the inputs, the label or the signature
└── DeadlineExceeded    no answer within `timeout_s`
"""

from typing import Any

import grpc


class ModelError(Exception):
    """Any failure of a call to the model server."""


class ModelUnavailable(ModelError):
    """Nobody answers, or not yet."""


class Overloaded(ModelUnavailable):
    """The server's queue is full."""


class ModelNotFound(ModelError):
    """The server answers, and has no such model or version."""


class InvalidRequest(ModelError):
    """What was sent does not fit the model."""


class DeadlineExceeded(ModelError):
    """The answer did not come in time."""


def translated(error: Any, target: str, model: str, timeout_s: float) -> ModelError:
    """The ModelError that a gRPC error stands for."""
    code, details = error.code(), error.details()
    if code is grpc.StatusCode.NOT_FOUND:
        return ModelNotFound(f"{model} must be served at {target}. It answered: {details}. Publish the model, or list it in models.config.")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            f"{model} must answer within {timeout_s:g} s. {target} did not: {details}. Allow more, or ask for less at once."
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(f"{target} must have room for a request to {model}. {code.name}: {details}. Ask for less at once, or later.")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return ModelUnavailable(f"A model server must answer at {target}. {code.name}: {details}. Start it with `portrait up`.")
    return InvalidRequest(f"A request to {model} must fit its signature. {code.name}: {details}. See GetModelMetadata for what it takes.")
