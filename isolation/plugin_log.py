"""What plugins log, their log lines and what they print: passed on to the host's own logging, and to who listens.

The host's logging hears what its level lets through; a listener hears every line, so that it can be looked at later.

A notification that is no log line is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

__all__ = ["LogLine", "Printed", "level_of", "pass_on"]

PRINTED_LINES = 100
"""Of one read, at most so many lines are passed on: a flood of short ones would hold the loop."""

PRINTED_LINE_BYTES = 4096
"""Of a longer line only the beginning is passed on."""

log = logging.getLogger("penstock.plugin")


class LogLine(msgspec.Struct):
    """The parameters of a `log` notification; a record carries it as `line`."""

    message: str
    level: str = "info"
    logger: str = ""
    run: str | None = None
    stage: str | None = None
    fields: dict[str, object] = {}
    traceback: str | None = None


_decode = msgspec.json.Decoder(LogLine).decode


_LEVELS = logging.getLevelNamesMapping()


def level_of(line: LogLine) -> int:
    """The level of a line as `logging` numbers it; an unknown one is `info`."""
    return _LEVELS.get(line.level.upper(), logging.INFO)


def pass_on(params: bytes, hear: Callable[[LogLine], None], *, plugin: str, worker: str) -> None:
    """Log what `params` say, at their level, and tell `hear` at any."""
    try:
        line = _decode(params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    hear(line)
    level = level_of(line)
    if log.isEnabledFor(level):
        log.log(level, "%s", line.message, extra={"plugin": plugin, "worker": worker, "line": line})


class Printed:
    """The stderr of one worker, line by line: where `print`, and C code that writes to descriptor 1, end up.
    `redacted` takes out of a line what nobody may read.

    Who printed a line, and in which run, nobody can say; so it carries neither.
    """

    def __init__(
        self, plugin: str, worker: str, hear: Callable[[LogLine], None], redacted: Callable[[str], str] = str
    ) -> None:
        self._plugin = plugin
        self._worker = worker
        self._hear = hear
        self._redacted = redacted
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take what was read; nothing means that no more will come."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > PRINTED_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        lines = [line for line in lines if line.strip()]
        for line in lines[:PRINTED_LINES]:
            self._say(self._redacted(line.decode("utf-8", "replace"))[:PRINTED_LINE_BYTES].rstrip())
        if len(lines) > PRINTED_LINES:
            self._say(f"({len(lines) - PRINTED_LINES} more lines)")

    def _say(self, text: str) -> None:
        line = LogLine(text, logger="stderr")
        self._hear(line)
        log.info("%s", text, extra={"plugin": self._plugin, "worker": self._worker, "line": line})
