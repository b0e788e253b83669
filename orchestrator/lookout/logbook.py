"""The newest lines of every plugin and of the host, bounded in bytes for each, to be looked at later or followed.

It hears every line, whatever the terminal shows, and makes text of none before somebody looks.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import msgspec

from isolation.plugin_log import LogLine, level_of
from isolation.spec import WorkerSpec
from orchestrator.lookout.feed import Feed

__all__ = ["HOST", "KEPT_BYTES", "LEVELS", "Entry", "Logbook", "WantedLines"]

HOST = "host"
"""Under this name stand the host's own lines."""

KEPT_BYTES = 256 * 1024
"""Of each plugin, and of the host: some two thousand lines."""

LONGEST_CHARACTERS = 8192
"""Of a longer message or traceback only the beginning is kept."""

LONGEST_FIELDS_BYTES = 8192
"""Fields that are longer when written as JSON are left out."""

LINE_BYTES = 400
"""What a line costs beside its texts."""

QUEUED_LINES = 5000
QUEUED_BYTES = 4 * 1024 * 1024
"""What may wait for one reader."""

LEVELS = ("debug", "info", "warning", "error", "critical")
_ORDINARY = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `at` is in seconds since 1970; `generation` and `worker` are empty for the host's own. `asked` has the
    request id and the trace of its run, where who logged it knew them.
    """

    number: int
    at: float
    level: int
    plugin: str
    generation: str
    worker: str
    run: str
    stage: str
    logger: str
    message: str
    fields: dict[str, object]
    traceback: str
    asked: tuple[str, str] | None = None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return LINE_BYTES + len(self.message) + len(self.traceback) + sum(map(_size, self.fields.values()))

    def as_json(self, request_id: str, trace: str) -> dict[str, object]:
        """As `penstock logs --json` shows it."""
        return {
            "at": round(self.at, 6),
            "level": logging.getLevelName(self.level).lower(),
            "plugin": self.plugin,
            "generation": self.generation or None,
            "worker": self.worker or None,
            "run_id": self.run or None,
            "stage": self.stage or None,
            "request_id": request_id or None,
            "trace": trace or None,
            "logger": self.logger,
            "message": self.message,
            "fields": self.fields,
            "traceback": self.traceback or None,
        }


def _size(value: object) -> int:
    return 64 + (len(value) if isinstance(value, str) else 0)


@dataclass(frozen=True, slots=True)
class WantedLines:
    """Which lines somebody wants. `run` is the end of an id; `stages` are the plugins' own, with their plugins."""

    plugin: str | None = None
    run: str | None = None
    level: int = logging.NOTSET
    stages: frozenset[tuple[str, str]] | None = None

    def fits(self, entry: Entry) -> bool:
        """Whether a line is wanted."""
        return (
            entry.level >= self.level
            and self.plugin in (None, entry.plugin)
            and (self.run is None or (bool(entry.run) and entry.run.endswith(self.run)))
            and (self.stages is None or (entry.plugin, entry.stage) in self.stages)
        )


class Logbook:
    """One thread writes and reads it, the event loop's; lines that others log reach it through `call`.

    `wall` gives seconds since 1970, `call` lets a function run on the loop's thread.
    """

    def __init__(self, wall: Callable[[], float], call: Callable[..., object]) -> None:
        self._wall = wall
        self._kept: dict[str, deque[Entry]] = {}
        self._bytes: dict[str, int] = {}
        self._number = 0
        self._readers: list[tuple[WantedLines, Feed[Entry]]] = []
        self._handler = _HostLines(lambda entry: call(self._add, entry))

    def hear(self, spec: WorkerSpec, worker: str, line: LogLine) -> None:
        """Keep what a plugin logged."""
        run, stage = line.run or "", line.stage or ""
        self._add(
            Entry(
                0, self._wall(), level_of(line), spec.plugin, spec.name, worker, run, stage, line.logger,
                line.message[:LONGEST_CHARACTERS], _bounded(line.fields), (line.traceback or "")[:LONGEST_CHARACTERS],
            )
        )  # fmt: skip

    def _add(self, entry: Entry) -> None:
        self._number += 1
        entry = replace(entry, number=self._number)
        kept = self._kept.setdefault(entry.plugin, deque())
        kept.append(entry)
        held = self._bytes.get(entry.plugin, 0) + entry.size
        while held > KEPT_BYTES and len(kept) > 1:
            held -= kept.popleft().size
        self._bytes[entry.plugin] = held
        for wanted, feed in self._readers:
            if wanted.fits(entry):
                feed.put(entry, entry.size)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear, while inside, what the host itself logs, as far as the level of its loggers lets it through."""
        logger = logging.getLogger("penstock")
        logger.addHandler(self._handler)
        try:
            yield
        finally:
            logger.removeHandler(self._handler)

    # Reading.

    def newest(self, wanted: WantedLines, most: int) -> list[Entry]:
        """The newest lines that are wanted, oldest first."""
        books = self._kept.values() if wanted.plugin is None else [self._kept.get(wanted.plugin, deque())]
        found = sorted((entry for book in books for entry in book if wanted.fits(entry)), key=_number)
        return found[-most:] if most else []

    @contextmanager
    def joined(self, wanted: WantedLines) -> Iterator[Feed[Entry]]:
        """Lines as they come, from now on."""
        reader = (wanted, Feed[Entry](QUEUED_LINES, QUEUED_BYTES))
        self._readers.append(reader)
        try:
            yield reader[1]
        finally:
            self._readers.remove(reader)


def _number(entry: Entry) -> int:
    return entry.number


def _bounded(fields: dict[str, object]) -> dict[str, object]:
    if not fields:
        return fields
    size = len(msgspec.json.encode(fields))
    return fields if size <= LONGEST_FIELDS_BYTES else {"left_out": f"{size} bytes of fields"}


class _HostLines(logging.Handler):
    """Makes entries of what the host logs. A plugin's lines pass here too, and were heard before."""

    def __init__(self, take: Callable[[Entry], object]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        if hasattr(record, "line"):
            return
        fields = {name: _plain(value) for name, value in vars(record).items() if name not in _ORDINARY}
        run, stage = fields.pop("run", ""), fields.pop("stage", "")
        asked = str(fields.pop("request_id", "")), str(fields.pop("trace", ""))
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        entry = Entry(
            0, record.created, record.levelno, HOST, "", "", str(run), str(stage), record.name,
            record.getMessage()[:LONGEST_CHARACTERS], fields, trace[:LONGEST_CHARACTERS], asked if any(asked) else None,
        )  # fmt: skip
        with suppress(RuntimeError):  # the loop is closed: nobody can look any more
            self._take(entry)


def _plain(value: object) -> object:
    """A field as JSON can carry it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:LONGEST_CHARACTERS]
