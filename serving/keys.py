"""Keys of the API and the web page: who may ask for what. Kept as hashes, in `<home>/api/keys.json` (mode 0600).

A key is `pk_<id>_<secret>`; the secret has 256 random bits, so that one SHA-256 is enough to keep it by. The file is read again when it
changes: a revoked key is refused from the next request on. The house's own key, which its commands use, lies beside it in plain text,
readable by its owner alone, like its other secrets.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from settings import Settings

SCOPES = {
    "read:portrait": "portraits, what changed in them, and segments",
    "read:recommendations": "recommendations and similar items",
    "read:offers": "what each offer would change for a user",
    "write:events": "hand in live events",
    "plan:campaigns": "plan who gets which offer",
    "risk": "decide about credit and orders, and review what waits for a person",
    "marketing": "read campaigns and their lists, approve or reject them",
    "override:campaigns": "approve a campaign against its verdict",
    "read:decisions": "what was decided, and why",
    "read:operations": "metrics, gates, quarantine and model releases",
    "admin": "everything, and taking a model back",
}
HOUSE = "house"


class UnknownScope(Exception):
    """A scope that no route asks for."""

    exit_code = 2


class UnknownKey(Exception):
    """No key of that id."""

    exit_code = 3


@dataclass(frozen=True)
class Key:
    """One key without its secret; times are ISO, UTC."""

    id: str
    name: str
    scopes: tuple[str, ...]
    sha256: str
    made_at: str
    revoked_at: str | None = None

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class KeyRing:
    """The keys of one house. Safe to use from many threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys.json"
        self._keys: dict[str, Key] = {}
        self._read: tuple[int, int] | None = None

    @classmethod
    def of(cls, settings: Settings) -> "KeyRing":
        return cls(folder(settings))

    def add(self, name: str, scopes: Iterable[str]) -> str:
        """A new key with these scopes; this is the only time that it is shown."""
        chosen = tuple(dict.fromkeys(scopes))
        if unknown := [scope for scope in chosen if scope not in SCOPES]:
            raise UnknownScope(f"A key's scopes must be of {', '.join(SCOPES)}. Received {', '.join(unknown)}.")
        if not chosen:
            raise UnknownScope(f"A key needs at least one scope of {', '.join(SCOPES)}. Received none. Name them with --scope.")
        key = Key(secrets.token_hex(4), name, chosen, "", _now())
        token = f"pk_{key.id}_{secrets.token_urlsafe(32)}"
        with self._writing() as keys:
            keys[key.id] = replace(key, sha256=_hash(token))
        return token

    def revoke(self, id: str) -> Key:
        """The key that answers no more."""
        with self._writing() as keys:
            if id not in keys:
                raise UnknownKey(f"A key's id must be one that `portrait keys list` shows. Received {id!r}.")
            keys[id] = replace(keys[id], revoked_at=keys[id].revoked_at or _now())
            return keys[id]

    def all(self) -> list[Key]:
        """Every key, revoked ones too, oldest first."""
        return sorted(self._current().values(), key=lambda key: (key.made_at, key.id))

    def find(self, token: str) -> Key | None:
        """The valid key with this token. Compared in constant time: how long it takes tells nothing of a secret."""
        parts = token.split("_", 2)
        key = self._current().get(parts[1]) if len(parts) == 3 else None
        matches = hmac.compare_digest(_hash(token), key.sha256 if key else "0" * 64)
        return key if key and matches and not key.revoked_at else None

    def valid(self, id: str) -> Key | None:
        """The key of that id, unless it was revoked."""
        key = self._current().get(id)
        return key if key and not key.revoked_at else None

    def _current(self) -> dict[str, Key]:
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return {}
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._read:
            rows = json.loads(self.file.read_text(encoding="utf-8"))
            self._keys, self._read = {row["id"]: Key(**row | {"scopes": tuple(row["scopes"])}) for row in rows}, stamp
        return self._keys

    def _writing(self) -> "_Writing":
        return _Writing(self)


class _Writing:
    """The keys to change, under the file's lock; written whole at the end, unless the block raised."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        ring.file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(ring.file.with_suffix(".lock"))

    def __enter__(self) -> dict[str, Key]:
        self._lock.acquire()
        self._keys = dict(self._ring._current())
        return self._keys

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        try:
            if kind is None:
                write_private(self._ring.file, json.dumps([asdict(key) for key in self._keys.values()], indent=1))
        finally:
            self._lock.release()


def folder(settings: Settings) -> Path:
    return settings.home / "api"


def make_secrets(settings: Settings) -> None:
    """The house's own key, and the secret by which the web page signs its cookies, where there are none yet: when the house comes up."""
    ring = KeyRing.of(settings)
    if ring.find(house_key(settings)) is None:
        write_private(folder(settings) / "house_key", ring.add(HOUSE, ["admin"]))
    if not session_secret(settings):
        write_private(folder(settings) / "session_secret", secrets.token_urlsafe(32))


def house_key(settings: Settings) -> str:
    """The key that the house's own commands send; empty in a house that was never up."""
    return _text(folder(settings) / "house_key")


def session_secret(settings: Settings) -> str:
    return _text(folder(settings) / "session_secret")


def write_private(file: Path, text: str) -> None:
    """Appears whole, readable by its owner alone from the first byte on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    beside.replace(file)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
