"""What must hold before a version is served: signed and unchanged files, allowed operations, the golden request answered as recorded."""

from collections.abc import Callable
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from serving import golden, manifest
from serving.model_server import operations
from serving.model_server.errors import ServingError
from serving.model_server.servable import Servable
from serving.portrait_client import wire
from training.signatures import SERVED_MODELS, SIGNATURE

Load = Callable[[Path], Servable]


def guarded(load: Load, key: Ed25519PublicKey) -> Callable[[str, int, Path], Servable]:
    """`load` for versions that the key's owner signed. What it gives has answered its golden request."""
    allowed = operations.read_allowed()

    def load_signed(model: str, version: int, folder: Path) -> Servable:
        try:
            manifest.verify(folder, model, version, key)
        except manifest.ManifestRefused as error:
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from None
        return load_checked(folder, load, allowed)

    return load_signed


def load_checked(folder: Path, load: Load, allowed: frozenset[str]) -> Servable:
    """A loaded version of allowed operations that answers its golden request. ServingError says what does not hold."""
    operations.check(folder, allowed)
    servable = load(folder)
    try:
        request = golden.read(folder)
        dtypes = {name: wanted.dtype for name, wanted in servable.signature(SIGNATURE).inputs.items()}
        request.check(servable.run(SIGNATURE, request.arrays(dtypes)))
    except (ServingError, golden.GoldenMismatch) as error:
        servable.release()
        if isinstance(error, ServingError):
            raise
        raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from None
    return servable


def check_contract(model: str, servable: Servable) -> None:
    """ServingError unless a model of `training.signatures` takes and returns what its consumers send and read; a shop's own covariates
    (`x_*`) may come on top."""
    contract = SERVED_MODELS.get(model)
    if contract is None:
        return
    signature = servable.signature(SIGNATURE)
    for tensor in contract.inputs:
        got = signature.inputs.get(tensor.name)
        if got is None or wire.dtype_name(got.dtype) != tensor.dtype or len(got.dims or ()) != len(tensor.dims):
            raise _breaks(model, f"take `{tensor.name}` as {tensor.dtype} of {len(tensor.dims)} dimensions")
    for name in sorted(signature.inputs.keys() - {tensor.name for tensor in contract.inputs}):
        if not name.startswith("x_"):
            raise _breaks(model, f"not ask for `{name}`")
    for tensor in contract.outputs:
        dims = signature.output_dims.get(tensor.name, ())
        if tensor.name not in signature.outputs or len(dims or ()) != len(tensor.dims):
            raise _breaks(model, f"return `{tensor.name}` of {len(tensor.dims)} dimensions")


def _breaks(model: str, rule: str) -> ServingError:
    return ServingError(grpc.StatusCode.FAILED_PRECONDITION, f"Signature `{SIGNATURE}` of {model} must {rule}: see training/signatures.py")
