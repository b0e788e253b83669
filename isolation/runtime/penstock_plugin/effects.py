"""What a plugin did to the world, by the key of each call: so that it is done once, and can be undone once.

    effects = Effects()
    plugin.startup(effects.open)  # its file is in the plugin's data directory: `data = true` in the manifest

    @plugin.stage("reserve")
    def reserve(call):
        with effects.once(call) as effect:
            if effect.due:
                effect.out = {"ticket": shop.reserve(call.payload["item"], key=call.key)}
        return call.allow(out=effect.out)

    @plugin.compensation("release", undoes="reserve")
    def release(call):
        with effects.undo(call) as effect:
            if effect.due:
                shop.release(key=call.undoes)

All workers of the plugin share the file, now and after a restart. That something is about to be done is written before
it is done, and that it was done after it: a worker that dies between the two leaves an effect of which nobody knows
whether it happened. `effect.unknown` says so to the next attempt and to the undo, and only the world can be asked then,
by the key. In `async def` write `async with`.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from time import time

from .answer import Busy, Retryable, Undone
from .keylock import KeyLock, path_of, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Any, TypeVar

    from .call import Call, Start

    GuardT = TypeVar("GuardT", bound="Guard")

__all__ = ["TRANSITIONS", "Effect", "Effects"]

TRANSITIONS: Mapping[tuple[str, str], str] = {
    ("absent", "do"): "begun",
    ("absent", "undo"): "undone",
    ("begun", "do"): "begun",
    ("begun", "did"): "done",
    ("begun", "undo"): "undoing",
    ("done", "do"): "done",
    ("done", "undo"): "undoing",
    ("undoing", "did"): "undoing",
    ("undoing", "undo"): "undoing",
    ("undoing", "undid"): "undone",
    ("undone", "undo"): "undone",
}
"""(state, event) -> state of one key. A pair that is not here is refused and changes nothing."""

SCHEMA_VERSION = 1
DATABASE = "effects.db"
BUSY_SECONDS = 5.0
"""How long a write waits for those of other workers; each takes a few milliseconds."""
LONGEST_WAIT_SECONDS = 2.0
"""How long an undo waits for a call that is still at it, before it asks to be called again."""
FORGET_EVERY_KEYS = 1000
DAY_SECONDS = 86400.0


class Effect:
    """One effect, inside `with`. Do it where `due` says so, and set `out` to what is worth knowing of it.

    `unknown` is True when somebody else began and nobody knows how far it got. In an undo `did` is the `out` of what is
    to be undone, None when that is not known.
    """

    __slots__ = ("did", "due", "out", "unknown")

    def __init__(self, due: bool, out: dict[str, Any], did: dict[str, Any] | None, unknown: bool) -> None:
        self.due = due
        self.out = out
        self.did = did
        self.unknown = unknown


class Row:
    """What is written down about one key."""

    __slots__ = ("did", "state", "undid")

    def __init__(self, state: str, did: str | None, undid: str | None) -> None:
        self.state = state
        self.did: dict[str, Any] | None = None if did is None else json.loads(did)
        self.undid: dict[str, Any] | None = None if undid is None else json.loads(undid)


class Effects:
    """The ledger of one plugin. What is older than `keep_days` is forgotten: an undo that comes later finds nothing."""

    def __init__(self, *, keep_days: float = 90.0, clock: Callable[[], float] = time) -> None:
        self._keep_seconds = keep_days * DAY_SECONDS
        self._clock = clock
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._until_forgetting = FORGET_EVERY_KEYS
        self.folder: Path | None = None

    def open(self, start: Start) -> None:
        """Open the ledger in the plugin's data directory; hand this to `plugin.startup`, or call it there."""
        if start.data is None:
            raise RuntimeError(
                "effects are kept in the plugin's data directory: write `data = true` in [tool.penstock]"
            )
        import sqlite3

        self.close()
        self.folder = start.data / "effects"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(
            self.folder / DATABASE, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        opening = KeyLock(self.folder / "opening.lock")  # two that turn to WAL at once would refuse each other
        if not opening.take(BUSY_SECONDS):
            raise RuntimeError(f"another worker has been opening {self.folder} for {BUSY_SECONDS:g} s")
        try:
            _prepare(self._database, self.folder)
        finally:
            opening.release()
        sweep(self.folder)
        self._forget()

    def close(self) -> None:
        """Close the ledger; the end of the process does it as well."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def once(self, call: Call) -> Once:
        """Do something once for `call.key`, whatever happens and however often it is called.

        Raises Undone for a key that was undone, and Busy while an earlier attempt is still at it.
        """
        return Once(self, call.key, 0.0)

    def undo(self, call: Call) -> Undo:
        """Undo what was done for `call.undoes`, once; refuse to do it from now on, whether or not it ever was.

        Waits for a call that is still at it; raises Retryable when that takes long.
        """
        if call.undoes is None:
            raise ValueError(f"stage {call.stage!r} is no undo; declare it with @plugin.compensation")
        return Undo(self, call.undoes, min(LONGEST_WAIT_SECONDS, call.deadline.remaining() / 2))

    def lock_of(self, key: str) -> KeyLock:
        """The lock that whoever works on `key` holds."""
        if self.folder is None:
            raise RuntimeError("the ledger is not open: write plugin.startup(effects.open)")
        return KeyLock(path_of(self.folder, key))

    def read(self, key: str) -> Row:
        """What is written down about `key`."""
        with self._lock:
            return self._read(key)

    def apply(self, key: str, event: str, **columns: object) -> tuple[Row, Row]:
        """Move `key` on by `event`, durably, and return what was and what is. Raises Undone when that is refused."""
        with self._lock, self._opened() as database:
            database.execute("BEGIN IMMEDIATE")
            before = self._read(key)
            after = TRANSITIONS.get((before.state, event))
            if after is None:
                raise Undone(f"the effect of {key!r} is {before.state}; it must not be done any more")
            if after == before.state and not columns:
                return before, before  # nothing to write, and so nothing to sync
            values = {"did": before.did, "undid": before.undid, **columns}
            texts = [None if value is None else json.dumps(value) for value in values.values()]
            database.execute(
                "INSERT OR REPLACE INTO effects VALUES (?, ?, ?, ?, ?)", (key, after, *texts, self._clock())
            )
            now = self._read(key)
        if before.state == "absent":
            self._count()
        return before, now

    def _opened(self) -> sqlite3.Connection:
        """As a context manager it commits, or rolls back what raised."""
        if self._database is None:
            raise RuntimeError("the ledger is not open: write plugin.startup(effects.open)")
        return self._database

    def _read(self, key: str) -> Row:
        found = self._opened().execute("SELECT state, did, undid FROM effects WHERE key = ?", (key,)).fetchone()
        return Row("absent", None, None) if found is None else Row(*found)

    def _count(self) -> None:
        self._until_forgetting -= 1
        if self._until_forgetting <= 0:
            self._forget()

    def _forget(self) -> None:
        self._until_forgetting = FORGET_EVERY_KEYS
        with self._lock:
            self._opened().execute("DELETE FROM effects WHERE at < ?", (self._clock() - self._keep_seconds,))


class Guard(ABC):
    """What stands around an effect. Entering and leaving write to the ledger, a synced write each."""

    def __init__(self, effects: Effects, key: str, within: float) -> None:
        self.effects = effects
        self.key = key
        self.within = within
        self.lock = effects.lock_of(key)
        self.effect = Effect(False, {}, None, False)

    @abstractmethod
    def begin(self) -> Effect:
        """Write down what is about to happen, and hold the key if it has to."""

    @abstractmethod
    def finish(self) -> None:
        """Write down that it happened."""

    def __enter__(self) -> Effect:
        try:
            self.effect = self.begin()
        except BaseException:
            self.lock.release()
            raise
        if not self.effect.due:
            self.lock.release()
        return self.effect

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.effect.due:
                self.finish()
        finally:
            self.lock.release()

    async def __aenter__(self) -> Effect:
        import asyncio

        entering = asyncio.ensure_future(asyncio.to_thread(self.__enter__))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(self._abandon)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        # Shielded: the key is let go of even if this call is cancelled meanwhile.
        await asyncio.shield(asyncio.to_thread(self.__exit__, kind, error, trace))

    def _abandon(self, entered: asyncio.Future[Effect]) -> None:
        """The call was cancelled while it waited for its key, which is let go of as soon as it has it."""
        if entered.exception() is None:
            self.lock.release()


class Once(Guard):
    """Around an effect that is to happen once."""

    def begin(self) -> Effect:
        """Take the key, unless the effect is there already."""
        if not self.lock.take(self.within):
            if (state := self.effects.read(self.key).state) in ("undoing", "undone"):
                raise Undone(f"the effect of {self.key!r} is {state}; it must not be done any more")
            raise Busy(f"an earlier attempt of {self.key!r} is still at it")
        before, now = self.effects.apply(self.key, "do")
        return Effect(now.state == "begun", now.did or {}, None, before.state == "begun")

    def finish(self) -> None:
        """Say that it is done. Raises Undone when an undo came meanwhile, which waits and finds what was done."""
        _, now = self.effects.apply(self.key, "did", did=self.effect.out or {})
        if now.state == "undoing":
            raise Undone(f"{self.key!r} was to be undone while it was being done")


class Undo(Guard):
    """Around the undoing of an effect."""

    def begin(self) -> Effect:
        """Refuse the effect from now on; take the key if there may be something to undo."""
        before, now = self.effects.apply(self.key, "undo")
        if now.state == "undoing":
            if not self.lock.take(self.within):
                raise Retryable(f"{self.key!r} is still being done; it will be undone when that has ended")
            now = self.effects.read(self.key)  # it may have ended, or have been undone, while this waited
        due = now.state == "undoing"
        return Effect(due, now.undid or {}, now.did, due and (now.did is None or before.state == "undoing"))

    def finish(self) -> None:
        """Say that it is undone."""
        self.effects.apply(self.key, "undid", undid=self.effect.out or {})


def _prepare(database: sqlite3.Connection, folder: Path) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")  # WAL's default would lose the last commits with the power
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version not in (0, SCHEMA_VERSION):
        raise RuntimeError(f"{folder / DATABASE} was written by a newer version: {version}, not {SCHEMA_VERSION}")
    database.executescript(
        "CREATE TABLE IF NOT EXISTS effects (key TEXT PRIMARY KEY, state TEXT NOT NULL, did TEXT, undid TEXT, at REAL);"
        "CREATE INDEX IF NOT EXISTS effects_at ON effects (at);"
        f"PRAGMA user_version = {SCHEMA_VERSION};"
    )
