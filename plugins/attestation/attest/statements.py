"""Statements of the host, as a relying party reads them: compact JWSs, of which those about the log are checkpoints.

What a statement is about stands in its protected header. One about something else proves nothing about the log, whoever
signed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attest.audit import Checkpoint
from attest.strictjson import NotJson, b64url, read_object

__all__ = ["Statements", "read_statements"]

_STAGE, _OUT = "penstock-attestation/appraise", "checkpoint"


@dataclass(frozen=True, slots=True)
class Statements:
    """The checkpoints among some lines, and the numbers of the lines that are no statements at all."""

    checkpoints: tuple[Checkpoint, ...]
    unreadable: tuple[int, ...]


def read_statements(lines: Iterable[bytes]) -> Statements:
    """Read one statement a line. Nothing is verified here."""
    found, unreadable = [], []
    for number, line in enumerate(lines, 1):
        try:
            one = _read(line.rstrip(b"\n"))
        except (NotJson, UnicodeDecodeError):
            unreadable.append(number)
            continue
        if one is not None:
            found.append(one)
    return Statements(tuple(found), tuple(unreadable))


def _read(jws: bytes) -> Checkpoint | None:
    said, _, signature = jws.rpartition(b".")
    header, _, payload = said.partition(b".")
    about = read_object(b64url(header.decode()))
    told = about.get("penstock")
    if about.get("alg") != "EdDSA" or not isinstance(told, dict):
        raise NotJson("not a statement of the host")
    if (told.get("stage"), told.get("out")) != (_STAGE, _OUT):
        return None
    document = read_object(b64url(payload.decode()))
    version, number, digest = (document.get(name) for name in ("v", "n", "digest"))
    if version != 1 or type(number) is not int or not isinstance(digest, str):
        raise NotJson("not a checkpoint: v, n, digest")
    return Checkpoint(number, digest, said, b64url(signature.decode()))
