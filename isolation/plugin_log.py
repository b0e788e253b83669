"""What plugins log, passed on to the host's own logging: their log lines, and what they print.

A notification that is no log line is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

__all__ = ["LogLine", "Printed", "pass_on"]

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


def pass_on(params: bytes, *, plugin: str, worker: str) -> None:
    """Log what `params` say, at their level; an unknown level is `info`."""
    try:
        line = _decode(params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    level = logging.getLevelNamesMapping().get(line.level.upper(), logging.INFO)
    if log.isEnabledFor(level):
        log.log(level, "%s", line.message, extra={"plugin": plugin, "worker": worker, "line": line})


class Printed:
    """The stderr of one worker, line by line: where `print`, and C code that writes to descriptor 1, end up.
    `redacted` takes out of a line what nobody may read.

    Who printed a line, and in which run, nobody can say; so it carries neither.
    """

    def __init__(self, plugin: str, worker: str, redacted: Callable[[str], str] = str) -> None:
        self._plugin = plugin
        self._worker = worker
        self._redacted = redacted
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take what was read; nothing means that no more will come."""
        if not log.isEnabledFor(logging.INFO):
            self._rest = b""
            return
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
        log.info("%s", text, extra={"plugin": self._plugin, "worker": self._worker, "line": line})
