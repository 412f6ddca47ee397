"""The signed manifest of a published version: every file with its size and SHA-256, for one model and one number.

Ed25519 over the canonical JSON of all but the signature. The publisher holds the private key; a server needs the public one alone.
"""

import base64
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from training.signatures import PROVENANCE_FILE

MANIFEST_FILE = "assets.extra/manifest.json"
FORMAT = 1


class ManifestRefused(Exception):
    """The folder is not what its publisher signed, or nobody signed it; the message names the file or the fact that differs."""


def make_key(private: Path) -> Ed25519PrivateKey:
    """The signing key in `private` (mode 0600), made where there is none yet, with its public half beside it: see `public_of`."""
    if not private.exists():
        private.parent.mkdir(parents=True, exist_ok=True)
        fresh = private.with_name(f".{private.name}.{secrets.token_hex(8)}")
        fresh.touch(mode=0o600)
        encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        fresh.write_bytes(Ed25519PrivateKey.generate().private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
        try:
            os.link(fresh, private)  # unlike a rename, this never replaces the key that another process has just made
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ManifestRefused(f"A signing key must be Ed25519. {private} holds a {type(key).__name__}. Remove it, and a new one is made.")
    if not public_of(private).exists():
        half = public_of(private).with_name(f".{public_of(private).name}.{secrets.token_hex(8)}")
        half.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        half.replace(public_of(private))
    return key


def public_of(private: Path) -> Path:
    """Where the public half of a key lies."""
    return private.with_suffix(".pub")


def read_public_key(path: Path) -> Ed25519PublicKey:
    """ManifestRefused where the file is no Ed25519 public key."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ManifestRefused(f"A verification key must be a PEM file. Reading {path}: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ManifestRefused(f"A verification key must be Ed25519. {path} holds a {type(key).__name__}.")
    return key


def sign(folder: Path, model: str, version: int, key: Ed25519PrivateKey) -> None:
    """Write the manifest of a whole version folder."""
    provenance = folder / PROVENANCE_FILE
    content: dict[str, Any] = {
        "format": FORMAT,
        "model": model,
        "version": version,
        "files": _files(folder),
        "provenance": json.loads(provenance.read_text(encoding="utf-8")) if provenance.is_file() else {},
    }
    signed = content | {"signature": base64.b64encode(key.sign(_canonical(content))).decode()}
    (folder / MANIFEST_FILE).parent.mkdir(exist_ok=True)
    (folder / MANIFEST_FILE).write_text(json.dumps(signed, indent=1), encoding="utf-8")


def verify(folder: Path, model: str, version: int, key: Ed25519PublicKey) -> None:
    """ManifestRefused unless the folder holds exactly what the key's owner signed as this version of this model."""
    try:
        content = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        signature = base64.b64decode(content.pop("signature"), validate=True)
        key.verify(signature, _canonical(content))
        signed_as, signed = (content["format"], content["model"], content["version"]), content["files"]
    except FileNotFoundError:
        raise ManifestRefused(f"A version must carry {MANIFEST_FILE}. {folder} has none. Publish the model again.") from None
    except InvalidSignature:
        raise ManifestRefused(f"The signature in {folder / MANIFEST_FILE} is not by this house's key. Publish the model again.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestRefused(f"{folder / MANIFEST_FILE} must be a signed manifest. Reading it: {error!r}") from None
    if signed_as != (FORMAT, model, version):
        raise ManifestRefused(
            f"{folder} must be signed as {model} version {version}. It is signed as {signed_as[1]} version {signed_as[2]}."
        )
    found = _files(folder)
    for name in sorted(signed.keys() | found.keys()):
        if signed.get(name) != found.get(name):
            what = "was added after" if name not in signed else "is missing since" if name not in found else "has changed since"
            raise ManifestRefused(f"{name} {what} signing, in {folder}. Publish the model again.")


def _files(folder: Path) -> dict[str, dict[str, int | str]]:
    """Size and hash of every file but the manifest, by path; a link or a special file has no place in a version."""
    found: dict[str, dict[str, int | str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ManifestRefused(f"A version must be plain files and folders. {name} in {folder} is not.")
        if path.is_file() and name != MANIFEST_FILE:
            with path.open("rb") as content:
                found[name] = {"size": path.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}
    return found


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
