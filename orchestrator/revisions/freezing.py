"""Whether the watcher applies what it sees: kept in the state folder, so that a restart does not thaw."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from orchestrator.events import Event, Frozen, Thawed
from orchestrator.revisions.history import write_whole

__all__ = ["Freezing"]

log = logging.getLogger("penstock.revisions")


class _Frozen(msgspec.Struct, frozen=True):
    by: str
    reason: str
    since: float


class Freezing:
    """`file` is where it is kept; in memory alone where that is None. `thawed` is called when it ends."""

    def __init__(self, file: Path | None, publish: Callable[[Event], None]) -> None:
        self._file = file
        self._publish = publish
        self._frozen = self._load()
        self.thawed: Callable[[], object] = lambda: None

    def _load(self) -> _Frozen | None:
        if self._file is None:
            return None
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Frozen)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            # Somebody wanted it frozen; what cannot be read must not become a thaw.
            return _Frozen("unknown", f"{self._file.name} cannot be read: {error}", time.time())

    @property
    def on(self) -> bool:
        """Whether the watcher holds back."""
        return self._frozen is not None

    def record(self) -> dict[str, object]:
        """The JSON object of `status`."""
        if self._frozen is None:
            return {"frozen": False}
        return {"frozen": True, "by": self._frozen.by, "reason": self._frozen.reason, "since": self._frozen.since}

    def freeze(self, by: str, reason: str) -> None:
        """Let the watcher apply nothing. Raises OSError when that cannot be kept; it holds all the same."""
        self._frozen = _Frozen(by, reason, time.time())
        self._publish(Frozen(by, reason))
        log.info("watcher.frozen", extra={"by": by, "reason": reason})
        if self._file is not None:
            write_whole(self._file, msgspec.json.encode(self._frozen))

    def thaw(self, by: str) -> None:
        """Let the watcher apply what it sees, and what it saw meanwhile. Raises OSError when it stays frozen."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        if self._frozen is not None:
            self._frozen = None
            self._publish(Thawed(by))
            log.info("watcher.thawed", extra={"by": by})
            self.thawed()
