"""What plugins log, passed on to the host's own logging. Whatever is no log line is dropped."""

from __future__ import annotations

import logging

import msgspec

__all__ = ["LogLine", "pass_on"]

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
