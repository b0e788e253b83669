"""What plugins and the host log, as lines on stderr: warnings and changes of what serves always, more when asked.

Touches no logger but ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["logged"]

CHANGES = "penstock.revisions"
"""Whose records are shown at any verbosity: what a host serves is nothing that it may change in silence."""

_LEVELS = {0: logging.WARNING, 1: logging.INFO}
_TONES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}
_OWN_FIELDS = (
    "run", "pipeline", "hook", "phase", "plugin", "generation", "worker", "pid", "breaker", "key", "command", "event",
    "where", "revision", "stage", "tapped", "mode", "calls", "by", "request_id", "trace",
)  # fmt: skip
_TRACE_FIELDS = ("request_id", "trace")
_SAID_FIELDS = ("how", "reason")
"""What is a sentence, or lines, and no name."""


class _Lines(logging.Handler):
    def __init__(self, note: Callable[..., None], wanted: int) -> None:
        super().__init__(min(wanted, logging.INFO))
        self._note = note
        self._wanted = wanted

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is shown."""
        return record.levelno >= self._wanted or record.name == CHANGES

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a plugin's carries the line as the plugin sent it."""
        line = getattr(record, "line", None)
        text = _host_text(record) if line is None else _plugin_text(record, line)
        self._note(text, tone=_TONES.get(record.levelno), label=record.levelname.lower())


def _host_text(record: logging.LogRecord) -> str:
    said = [str(getattr(record, name)) for name in _SAID_FIELDS if getattr(record, name, "")]
    known = {name: getattr(record, name, "") for name in _OWN_FIELDS}
    if said and said[0].startswith(f"{known['where']}:"):
        known["where"] = ""  # the first mistake of a file begins with its place
    text = record.getMessage() + _pairs({name: value for name, value in known.items() if value != ""})
    text += "".join(f": {words}" for words in said).replace("\n", "\n    ")
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


def _plugin_text(record: logging.LogRecord, line: object) -> str:
    places = {"stage": getattr(line, "stage", None), "run": getattr(line, "run", None)}
    places |= {name: getattr(record, name, None) for name in _TRACE_FIELDS}
    fields = getattr(line, "fields", None)
    known = {**(fields if isinstance(fields, dict) else {}), **{name: value for name, value in places.items() if value}}
    traceback = getattr(line, "traceback", None)
    tail = f"\n{traceback.rstrip()}" if isinstance(traceback, str) and traceback else ""
    return f"{getattr(record, 'plugin', 'plugin')}: {record.getMessage()}{_pairs(known)}{tail}"


def _pairs(fields: dict[str, object]) -> str:
    return "".join(f" {name}={value}" for name, value in fields.items())


@contextmanager
def logged(note: Callable[..., None], verbosity: int) -> Iterator[None]:
    """Show warnings and changes, with `verbosity` 1 what plugins say of their work, with 2 everything.

    What the host itself says of its work is logged in any case: `penstock logs` shows it.
    """
    wanted = _LEVELS.get(verbosity, logging.DEBUG)
    logger, lines = logging.getLogger("penstock"), _Lines(note, wanted)
    logger.addHandler(lines)
    try:
        # Plugins are heard without their logger, so that a line that is not shown costs nothing.
        with _at(logger, min(wanted, logging.INFO)), _at(logging.getLogger("penstock.plugin"), wanted):
            yield
    finally:
        logger.removeHandler(lines)


@contextmanager
def _at(logger: logging.Logger, level: int) -> Iterator[None]:
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
