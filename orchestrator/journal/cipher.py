"""Bodies encrypted at rest: AES-256-GCM, bound to their place. Reads and writes no file.

Every run and every plan has a key of its own, derived from the journal's (NIST SP 800-108 in counter mode, one block of
HMAC-SHA-256), so that random nonces of 96 bits stay far below their limit of 2**32 messages a key however long a
journal lives.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["ID_BYTES", "SECRET_BYTES", "Cipher", "Entropy", "Key", "NotOurs", "new_key"]

SECRET_BYTES = 32
ID_BYTES = 4
NONCE_BYTES = 12
TAG_BYTES = 16

NONCES_AT_ONCE = 128

# One for each run in motion, and room for those that are just read; dropped all at once when it is full.
DERIVED_MOST = 4096

Entropy = Callable[[int], bytes]


class NotOurs(Exception):
    """The bytes are not what was sealed for this place, or their key is gone."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a journal. `id` stands in front of everything sealed with it."""

    id: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.id.hex()})"


def new_key(entropy: Entropy) -> Key:
    """Draw a key."""
    return Key(entropy(ID_BYTES), entropy(SECRET_BYTES))


class Cipher:
    """Seals with the newest key, opens with every one. `keys` is newest first. One thread may seal, others open."""

    def __init__(self, keys: tuple[Key, ...], entropy: Entropy) -> None:
        self.keys = keys
        self._entropy = entropy
        self._derived: dict[tuple[bytes, str], AESGCM] = {}
        self._nonces: Iterator[bytes] = iter(())

    def renew(self, keys: tuple[Key, ...]) -> None:
        """Use these keys from now on."""
        self.keys = keys
        self._derived.clear()

    def seal(self, owner: str, place: bytes, body: bytes) -> bytes:
        """Encrypt for a place of a run or plan; opens only there."""
        key = self.keys[0]
        nonce = next(self._nonces, None) or self._drawn()
        return key.id + nonce + self._of(key, owner).encrypt(nonce, body, place)

    def open(self, owner: str, place: bytes, sealed: bytes) -> bytes:
        """Decrypt. Raise NotOurs for anything else than what was sealed here."""
        if len(sealed) < ID_BYTES + NONCE_BYTES + TAG_BYTES:
            raise NotOurs("it is cut short")
        head = sealed[:ID_BYTES]
        key = next((key for key in self.keys if key.id == head), None)
        if key is None:
            raise NotOurs(f"journal.key does not hold its key {head.hex()}")
        nonce = sealed[ID_BYTES : ID_BYTES + NONCE_BYTES]
        try:
            return self._of(key, owner).decrypt(nonce, sealed[ID_BYTES + NONCE_BYTES :], place)
        except InvalidTag:
            raise NotOurs("it was damaged, or it stands where it was not written") from None

    def is_newest(self, sealed: bytes) -> bool:
        """Tell whether the newest key sealed this."""
        return sealed[:ID_BYTES] == self.keys[0].id

    def _drawn(self) -> bytes:
        """Draw many nonces at once: one call costs as much as an encryption."""
        drawn = self._entropy(NONCE_BYTES * NONCES_AT_ONCE)
        self._nonces = (drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES))
        return next(self._nonces)

    def _of(self, key: Key, owner: str) -> AESGCM:
        derived = self._derived.get((key.id, owner))
        if derived is None:
            if len(self._derived) >= DERIVED_MOST:
                self._derived.clear()
            derived = AESGCM(_derive(key.secret, owner))
            self._derived[key.id, owner] = derived
        return derived


def _derive(secret: bytes, owner: str) -> bytes:
    """Counter, label, separator, context, length in bits."""
    fixed = b"\x00\x00\x00\x01penstock journal\x00" + owner.encode() + b"\x00\x00\x01\x00"
    return hmac.digest(secret, fixed, "sha256")
