"""The host's signing key: one file, its owner's alone, made when it is first needed or given by the operator."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

__all__ = ["KEY_FILE", "KEY_VARIABLE", "PUBLIC_FILE", "SigningKey", "SigningKeyError", "signing_key"]

KEY_FILE, PUBLIC_FILE = "signing.pem", "signing.pub.pem"
"""In the state folder of a pipeline file. The public half is for whoever verifies; a copy belongs elsewhere."""

KEY_VARIABLE = "PENSTOCK_SIGNING_KEY"
"""Names a key file of the operator's own (Ed25519, PKCS#8 in PEM), in the place of the one in the state folder."""

_MAX_BYTES = 16 * 1024
_OTHERS_MAY = 0o077


class SigningKeyError(Exception):
    """The key that results are signed with cannot be used."""

    code: ClassVar[str] = "penstock.signing_key"
    hint: ClassVar[str] = "an Ed25519 private key in PEM that its owner alone may use; without the file one is made"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and its name: the thumbprint of its public half (RFC 7638 and RFC 8037), as `kid` of a JWS."""

    private: Ed25519PrivateKey
    id: str

    @classmethod
    def of(cls, private: Ed25519PrivateKey) -> SigningKey:
        """Name a key."""
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        point = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        members = f'{{"crv":"Ed25519","kty":"OKP","x":"{point}"}}'
        digest = hashlib.sha256(members.encode()).digest()
        return cls(private, base64.urlsafe_b64encode(digest).rstrip(b"=").decode())

    def public_pem(self) -> bytes:
        """The public half, in PEM."""
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signing_key(folder: Path, environment: Mapping[str, str] = os.environ) -> SigningKey:
    """Read the key that the operator names, or that of `folder`, made if there is none. Raise SigningKeyError.

    Its public half is written beside it in `folder`.
    """
    named = environment.get(KEY_VARIABLE)
    file = Path(named).expanduser() if named else folder / KEY_FILE
    try:
        if not named:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(file)
        key = _read(file)
        _replace(folder / PUBLIC_FILE, key.public_pem())
    except OSError as error:
        raise SigningKeyError(f"{file}: {error.strerror or error}") from None
    return key


def _make(file: Path) -> None:
    """Make a key where there is none. Of two hosts that do so at once, one wins and both read its key."""
    if file.exists():
        return
    secret = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    _write(fresh, secret)
    with suppress(FileExistsError):
        os.link(fresh, file)
    fresh.unlink()


def _read(file: Path) -> SigningKey:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise SigningKeyError(f"{file} is not a file")
        if mode & _OTHERS_MAY:
            raise SigningKeyError(f"others than its owner may use {file} (mode {stat.S_IMODE(mode):04o})")
        data = stream.read(_MAX_BYTES)
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        # What the file says never becomes part of a message: it may be a secret.
        raise SigningKeyError(f"{file} holds no private key that can be read ({type(error).__name__})") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise SigningKeyError(f"{file} holds a key of another kind than Ed25519")
    return SigningKey.of(private)


def _replace(file: Path, data: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    _write(fresh, data)
    os.replace(fresh, file)


def _write(file: Path, data: bytes) -> None:
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)
