"""Which versions of which models are loaded: loading, unloading, labels and states, by TensorFlow Serving's rules.

A new version is loaded before the old one is let go; one that fails never takes the old one down and is not tried again while it stays
wanted; a model whose folder cannot be read keeps what it has and does not stop the others.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.model_server import config
from serving.model_server.errors import ServingError, invalid, not_found
from serving.model_server.servable import Servable

State = get_model_status_pb2.ModelVersionStatus.State
log = logging.getLogger("model_server")


@dataclass
class Version:
    """What is known of one version: its state, the error that ended it, and while AVAILABLE the loaded model."""

    state: int = State.LOADING
    error: ServingError | None = None
    servable: Servable | None = None


class Catalogue:
    """The models a server was told to serve. Every method may be called from any thread."""

    def __init__(self, load: Callable[[str, int, Path], Servable], *, labels_before_versions: bool = False) -> None:
        """`load` makes a Servable of a model's name, version and folder; `labels_before_versions` lets a new label name a version that is
        not loaded yet."""
        self._load = load
        self._labels_before_versions = labels_before_versions
        self._models: dict[str, model_server_config_pb2.ModelConfig] = {}
        self._versions: dict[str, dict[int, Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._wanted: dict[str, set[int]] = {}  # versions that the folder and the policy asked for when last seen
        self._failed: dict[str, set[int]] = {}  # those of them that did not load
        self.on_change: Callable[[], None] = lambda: None  # called whenever versions may have changed
        self._lock = threading.Lock()  # guards all of the above, for moments
        self._changing = threading.Lock()  # held while versions load: one change at a time

    def configure(self, new: model_server_config_pb2.ModelServerConfig) -> None:
        """Serve exactly the models of `new`, and load them.

        ServingError where `new` is refused (then nothing changed), or UNKNOWN where a model that is new in it did not become available
        (then the others did).
        """
        if new.WhichOneof("config") is None:
            log.info("taking no action for an empty config")
            return
        models = config.models(new)
        with self._changing:
            labels = {name: self._checked_labels(model) for name, model in models.items()}
            added = models.keys() - self._models.keys()
            with self._lock:
                self._models, self._labels = models, labels
            self._reconcile()
            missing = [f"{{{name}: {self._why_unavailable(name)}}}" for name in sorted(added) if not self._available(name)]
        if missing:
            raise ServingError(grpc.StatusCode.UNKNOWN, f"{len(missing)} model(s) did not become available: {{{', '.join(missing)}}}")

    def refresh(self) -> None:
        """Look at the folders again: load what is new, unload what is no longer wanted."""
        with self._changing:
            self._reconcile()

    def ready(self) -> bool:
        """Something is served, and every model that has versions has one AVAILABLE."""
        with self._lock:
            having_versions = [name for name in self._models if self._wanted.get(name)]
            return bool(having_versions) and all(self._available(name) for name in having_versions)

    @contextmanager
    def borrow(self, spec: model_pb2.ModelSpec) -> Iterator[tuple[int, Servable]]:
        """The version that `spec` asks for, kept loaded inside the `with`."""
        with self._lock:
            number = self._asked_version(spec)
            if number is None:
                number, wanted = max(self._available(spec.name), default=None), f"Latest({spec.name})"
            else:
                wanted = f"Specific({spec.name}, {number})"
            version = self._versions.get(spec.name, {}).get(number) if number is not None else None
            if number is None or version is None or version.servable is None:
                raise not_found(f"Servable not found for request: {wanted}")
            servable = version.servable
            servable.acquire()
        try:
            yield number, servable
        finally:
            servable.release()

    def states(self, spec: model_pb2.ModelSpec) -> list[get_model_status_pb2.ModelVersionStatus]:
        """State of every version of a model that was ever loaded or tried, or of the one asked for; the newest first."""
        with self._lock:
            versions = self._versions.get(spec.name, {})
            number = self._asked_version(spec)
            if number is not None and number not in versions:
                raise not_found(f"Could not find version {number} of model {spec.name}")
            if not versions:
                raise not_found(f"Could not find any versions of model {spec.name}")
            return [_status(n, versions[n]) for n in sorted(versions, reverse=True) if number in (None, n)]

    def lists(self, name: str) -> bool:
        return name in self._models

    def loaded(self) -> list[tuple[str, int]]:
        """Model and number of every version that answers."""
        with self._lock:
            return [(name, number) for name in sorted(self._versions) for number in sorted(self._available(name))]

    def _asked_version(self, spec: model_pb2.ModelSpec) -> int | None:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            return spec.version.value
        if choice == "version_label":
            labels = self._labels.get(spec.name, {})
            if spec.version_label not in labels:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
            return labels[spec.version_label]
        return None

    def _available(self, name: str) -> set[int]:
        return {number for number, version in self._versions.get(name, {}).items() if version.state == State.AVAILABLE}

    def _why_unavailable(self, name: str) -> str:
        errors = [f"version {n}: {v.error}" for n, v in sorted(self._versions.get(name, {}).items()) if v.error]
        return "; ".join(errors) or f"no versions under {self._models[name].base_path}"

    def _checked_labels(self, model: model_server_config_pb2.ModelConfig) -> dict[str, int]:
        for label, number in model.version_labels.items():
            version = self._versions.get(model.name, {}).get(number)
            moves = self._labels.get(model.name, {}).get(label, number) != number
            if (version is None or version.state != State.AVAILABLE) and (moves or not self._labels_before_versions):
                raise ServingError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {number} of model {model.name}, which is not currently available for inference",
                )
        return dict(model.version_labels)

    def _reconcile(self) -> None:
        for name in [*self._models, *(self._versions.keys() - self._models.keys())]:
            try:
                wanted = config.versions(self._models[name]) if name in self._models else {}
            except ServingError as error:
                log.warning("%s", error)
                continue
            with self._lock:
                self._wanted[name] = set(wanted)
                failed = self._failed[name] = self._failed.get(name, set()) & wanted.keys()
            for number in sorted(wanted.keys() - self._available(name) - failed):
                self._load_version(name, number, wanted[number])
            available = self._available(name)
            if wanted and not available & wanted.keys():
                continue  # the old version stays until a new one answers
            for number in sorted(available - wanted.keys()):
                self._unload_version(name, number)
        self.on_change()

    def _load_version(self, name: str, number: int, path: Path) -> None:
        version = Version()
        with self._lock:
            self._versions.setdefault(name, {})[number] = version
        log.info("loading %s version %d from %s", name, number, path)
        try:
            servable = self._load(name, number, path)
        except ServingError as error:
            log.error("%s version %d cannot be served: %s: %s", name, number, error.code.name, error)
            with self._lock:
                version.state, version.error = State.END, error
                self._failed[name].add(number)
            return
        with self._lock:
            version.state, version.servable = State.AVAILABLE, servable
        log.info("%s version %d is available", name, number)

    def _unload_version(self, name: str, number: int) -> None:
        version = self._versions[name][number]
        with self._lock:
            servable, version.servable, version.state = version.servable, None, State.END
        if servable:
            servable.release()
        log.info("%s version %d is unloaded", name, number)


def _status(number: int, version: Version) -> get_model_status_pb2.ModelVersionStatus:
    status = get_model_status_pb2.ModelVersionStatus(version=number, state=version.state)
    status.status.error_code = version.error.number if version.error else 0
    status.status.error_message = version.error.message if version.error else ""
    return status
