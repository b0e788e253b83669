"""Signed statements: what a stage put out, by whom and in which run, as one compact JWS (RFC 7515, EdDSA) each.

The payload is the value alone, so that a value which is a claims set (such as an attestation result, EAR) makes a JWT.
Where it comes from stands in the protected header: a statement about one thing cannot pass for one about another.
Every statement is also a line of a file in the host's own folder, which no plugin can reach.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from orchestrator.engine.attempt import Attempt
from orchestrator.engine.traversal import Traversal
from orchestrator.signing.key import SigningKey
from pipelines.plan import StageState

__all__ = ["STATEMENTS_FILE", "Signatory", "statement"]

log = logging.getLogger("penstock.signing")

STATEMENTS_FILE = "statements.jws"
"""In the state folder: one statement a line. Appended only; it may be shipped elsewhere and cut at any line."""

_PIECE_BYTES = 64 * 1024
_ANSWERED = (StageState.SUCCEEDED, StageState.DENIED)


class Signatory:
    """Signs what the stages of runs put out under the names that their manifests list in `signs`."""

    def __init__(self, key: SigningKey, file: Path) -> None:
        self._key = key
        self._file = file
        self._book = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        _mend(file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._book)

    def sign(self, run: Traversal) -> None:
        """Sign for every stage of a run that has a verdict; `signed` of its attempts then holds the statements.

        A statement that cannot be written is not handed out: what is not in the file was never said.
        """
        for attempt in run.attempts:
            if attempt is None or not attempt.wire.plan.signs or attempt.signed is not None:
                continue
            if attempt.state in _ANSWERED and attempt.out and not run.is_mocked(attempt.wire.plan.index):
                made = {name: self._made(run, attempt, name) for name in attempt.wire.plan.signs if name in attempt.out}
                if self._is_written(run, made):
                    attempt.signed = made

    def _made(self, run: Traversal, attempt: Attempt, name: str) -> str:
        plan = attempt.wire.plan
        about = {
            "run": run.id,
            "pipeline": run.route.plan.name,
            "stage": f"{attempt.wire.generation.spec.plugin_name}/{plan.stage}",
            "out": name,
            "verdict": run.verdict,
        }
        assert attempt.out is not None
        return statement(self._key, attempt.out[name], about)

    def _is_written(self, run: Traversal, made: Mapping[str, str]) -> bool:
        lines = "".join(f"{one}\n" for one in made.values()).encode()
        try:
            before = os.fstat(self._book).st_size
            if os.write(self._book, lines) == len(lines):
                return True
            os.ftruncate(self._book, before)
            reason = "the disk is full"
        except OSError as error:
            reason = error.strerror or str(error)
        log.error("statement.not_written", extra={"run": run.id, "where": str(self._file), "reason": reason})
        return False


def _mend(file: Path) -> None:
    """Cut off half a statement that a crash left at the end: it was never handed out, and would spoil the next one."""
    if not file.is_file():
        return
    with file.open("rb+") as book:
        size = at = book.seek(0, os.SEEK_END)
        while at:
            begin = max(0, at - _PIECE_BYTES)
            book.seek(begin)
            end = book.read(at - begin).rfind(b"\n") + 1
            at = begin + end
            if end:
                break
        if at < size:
            book.truncate(at)


def statement(key: SigningKey, value: object, about: Mapping[str, str]) -> str:
    """Sign a JSON value. `about` stands in the protected header, beside algorithm and key."""
    header = {"alg": "EdDSA", "kid": key.id, "typ": "JWT", "penstock": dict(about)}
    said = f"{_text(msgspec.json.encode(header))}.{_text(msgspec.json.encode(value, order='deterministic'))}"
    return f"{said}.{_text(key.private.sign(said.encode()))}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
