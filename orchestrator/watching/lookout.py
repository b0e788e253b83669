"""The thread that watches: it arms, looks, and listens for a reason to look again.

What happened is only ever taken from looking. What the kernel says is no more than a reason for it: events are lost
while the watches are set anew, overflow, or name what has gone meanwhile. So every round arms first and looks then.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from orchestrator.watching.sight import Places, Shown, Sight, look

__all__ = ["UNHURRIED", "Arming", "Asked", "Ears", "Lookout", "Pace", "listen"]

log = logging.getLogger("penstock.watch")

ARMINGS = 4
"""How often folders may have changed between the first look and the second, before it has to come to rest first."""

PAUSE_SECONDS = 0.05
"""Between two looks at what is not at rest."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the lookout waits for what.

    `look_seconds`: it looks even if it hears nothing, for overflows of the kernel's queue and for file systems that
    tell nothing. `poll_seconds`, `arm_seconds`: how often it looks while it hears nothing at all, and tries to hear
    again. `patience_seconds`: the longest it waits for a burst to end. `absence_seconds`: how long a file that was
    there may be missing before that is told; an editor that saves in steps takes less.
    """

    look_seconds: float = 30.0
    poll_seconds: float = 1.0
    arm_seconds: float = 60.0
    patience_seconds: float = 1.0
    absence_seconds: float = 0.25


UNHURRIED = Pace()


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be watched. What was touched since then, though never seen before, counts as changed."""

    places: Places
    since_ns: int


class Ears(Protocol):
    """What hears of changes directly in folders: watchfiles' RustNotify."""

    def watch(
        self, debounce_ms: int, step_ms: int, timeout_ms: int, stop_event: threading.Event, /
    ) -> set[tuple[int, str]] | str:
        """Wait for changes, in steps; say which, or "timeout", or "stop"."""

    def close(self) -> None:
        """Hear no more."""


Arming = Callable[[list[str]], Ears]


def listen(folders: list[str]) -> Ears:
    """Hear of changes directly in each of these folders, parents first. Raises OSError, RuntimeError, ValueError."""
    try:
        return _listen(folders)
    except PermissionError:
        # A folder on the way may often be passed through and not be read, as /home. Nothing of ours lies in it.
        return _listen([folder for folder in folders if _may_be_read(folder)])


def _listen(folders: list[str]) -> Ears:
    # Not recursively: folders that no snapshot holds, environments above all, are large and often written to. And
    # without `ignore_permission_denied`, which ignores every error, that there are no more watches too.
    return RustNotify(folders, False, False, 0, False, False)


def _may_be_read(folder: str) -> bool:
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except PermissionError:
        return False
    return True


class Lookout:
    """Owns the thread and the kernel's watches. `report` is called on the thread, with what changed since before.

    `polling` says why it hears nothing and looks by the clock.
    """

    def __init__(
        self,
        asked: Asked,
        report: Callable[[Asked, Mapping[Path, Shown]], None],
        ended: Callable[[], None],
        *,
        debounce_ms: int,
        pace: Pace,
        arming: Arming,
        wall: Callable[[], float],
    ) -> None:
        self.polling: str | None = None
        self._asked = asked
        self._report = report
        self._ended = ended
        self._debounce_ms = debounce_ms
        self._pace = pace
        self._arming = arming
        self._wall = wall
        self._ears: Ears | None = None
        self._folders: Mapping[str, tuple[int, int]] = {}
        self._arm_again = -math.inf
        self._reported: tuple[Asked, Mapping[Path, Shown]] | None = None
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._live, name="penstock-watch", daemon=True)

    @property
    def watched_folders(self) -> int:
        """How many folders it listens to, or would."""
        return len(self._folders)

    def start(self) -> None:
        """Begin. The first report is what there is."""
        self._thread.start()

    def look_at(self, asked: Asked) -> None:
        """Watch something else from now on. Never blocks."""
        self._asked = asked
        self._wake.set()

    def close(self) -> None:
        """Come to an end soon, and call `ended` then. Never blocks."""
        self._closing = True
        self._wake.set()

    def _live(self) -> None:
        try:
            while not self._closing:
                self._survive()
        finally:
            self._deafen()
            self._ended()

    def _survive(self) -> None:
        """Go one round, whatever comes."""
        try:
            self._round()
        except (OSError, WatchfilesRustInternalError) as error:
            # What a look that was impossible would have shown is not known: nothing is told.
            self._poll(str(error))
            self._wake.wait(self._pace.poll_seconds)
        except Exception as error:
            log.exception("watch.crashed")
            self._poll(f"a bug: {type(error).__name__}: {error}")
            self._wake.wait(self._pace.poll_seconds)

    def _round(self) -> None:
        self._wake.clear()  # before anything that setting it announces is read
        if self._closing:
            return
        asked = self._asked
        found = self._look_until_at_rest(asked.places)
        if found is None:
            return
        sight, is_at_rest = found
        self._tell(asked, sight)
        if self._ears is None:
            self._wake.wait(self._pace.poll_seconds)
        elif self._hear(self._ears, sight, self._pace.look_seconds if is_at_rest else PAUSE_SECONDS):
            self._await_quiet(self._ears, sight)

    def _look_until_at_rest(self, places: Places) -> tuple[Sight, bool] | None:
        """Look until whatever comes next will look different; say whether it came to that. None when woken."""
        start = time.monotonic()
        while True:
            sight, is_armed = self._look(places)
            waited = time.monotonic() - start
            is_gone = waited < self._pace.absence_seconds and self._lost(sight)
            is_at_rest = is_armed and not sight.is_young and not is_gone
            if is_at_rest or waited >= self._pace.patience_seconds:
                return sight, is_at_rest
            if self._wake.wait(PAUSE_SECONDS):
                return None

    def _look(self, places: Places) -> tuple[Sight, bool]:
        """Arm, then look: what happens afterwards is heard. Say whether what is heard is what was seen."""
        for _ in range(ARMINGS):
            folders = list(self._folders.items())
            is_armed = self._arm()
            sight = look(places, self._now_ns())
            self._folders = sight.folders
            if is_armed and list(sight.folders.items()) == folders:
                return sight, True
        return sight, False

    def _lost(self, sight: Sight) -> bool:
        before = self._reported[1] if self._reported is not None else {}
        return any(
            shown.is_missing and place in before and not before[place].is_missing
            for place, shown in sight.shown.items()
        )

    def _tell(self, asked: Asked, sight: Sight) -> None:
        if self._reported is None or self._reported[0] is not asked or self._reported[1] != sight.shown:
            self._reported = (asked, sight.shown)
            self._report(asked, sight.shown)

    def _arm(self) -> bool:
        """Listen to the folders of the last look, or poll. False where one of them has gone."""
        if self._ears is None and time.monotonic() < self._arm_again:
            return True
        self._deafen()
        try:
            self._ears = self._arming(list(self._folders))
        except FileNotFoundError:
            return False
        except (OSError, RuntimeError, ValueError) as error:  # no watches left; an inner error; a name that is no text
            self._poll(str(error))
            return True
        if self.polling is not None:
            log.info("watch.hears_again")
            self.polling = None
        return True

    def _poll(self, reason: str) -> None:
        """Hear nothing for a while, and look by the clock."""
        self._deafen()
        self._arm_again = time.monotonic() + self._pace.arm_seconds
        if self.polling != reason:
            self.polling = reason
            log.warning("watch.polling", extra={"reason": reason, "every_seconds": self._pace.poll_seconds})

    def _deafen(self) -> None:
        if self._ears is not None:
            self._ears.close()
            self._ears = None

    def _hear(self, ears: Ears, sight: Sight, seconds: float) -> bool:
        """Wait for something that matters. False when it is time to look, whatever was heard."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            heard = ears.watch(0, self._debounce_ms, math.ceil(left * 1000), self._wake)
            if isinstance(heard, str):
                return False
            if _matters(heard, sight):
                return True
        return False

    def _await_quiet(self, ears: Ears, sight: Sight) -> None:
        """Wait for the end of a burst. `ears` have heard nothing new for a debounce, but the same path many times."""
        until = time.monotonic() + self._pace.patience_seconds
        while time.monotonic() < until:
            heard = ears.watch(0, max(1, self._debounce_ms // 2), 1, self._wake)
            if isinstance(heard, str) or not _matters(heard, sight):
                return

    def _now_ns(self) -> int:
        return int(self._wall() * 1e9)


def _matters(heard: set[tuple[int, str]], sight: Sight) -> bool:
    return any(sight.concerns(path) for _, path in heard)
