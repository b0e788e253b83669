"""An author's exception as an error that the host understands. Never raises, whatever the exception is."""

from __future__ import annotations

from ..answer import Busy, Retryable, Undone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

__all__ = [
    "BUSY",
    "CANCELLED",
    "DEADLINE",
    "INTERNAL",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "NO_METHOD",
    "PARSE",
    "PLUGIN",
    "RETRYABLE",
    "TOO_LARGE",
    "Fault",
    "as_error",
    "is_expected",
    "place_of",
    "printable",
    "traceback_of",
]

PARSE = -32700
INVALID_REQUEST = -32600
NO_METHOD = -32601
INVALID_PARAMS = -32602
INTERNAL = -32603
CANCELLED = -32800
RETRYABLE = -32801
BUSY = -32802
DEADLINE = -32803
PLUGIN = -32804
TOO_LARGE = -32805

# A traceback is for people; more than this is a recursion or a payload, and would fill the host's log.
TRACEBACK_BYTES = 8192
MESSAGE_CHARACTERS = 1000
FRAMES = 30

_OURS = __file__.rpartition("/")[0]


class Fault(Exception):
    """An answer that the runtime itself decided on."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


def as_error(error: BaseException) -> dict[str, Any]:
    """The JSON-RPC error object of whatever an author's code raised."""
    if isinstance(error, Fault):
        return {"code": error.number, "message": str(error)}
    if isinstance(error, (Retryable, Busy)):
        members: dict[str, Any] = {"code": _number_of(error), "message": _text_of(error)}
        if error.retry_after_ms is not None:
            members["data"] = {"retry_after_ms": error.retry_after_ms}
        return members
    name = type(error).__name__
    return {
        "code": PLUGIN,
        "message": f"{name}: {_text_of(error)}",
        "data": {"type": name, "traceback": traceback_of(error)},
    }


def is_expected(error: BaseException) -> bool:
    """Whether an error was meant for the host, and is no mistake of the author's."""
    return isinstance(error, (Fault, Retryable, Busy, Undone))


def place_of(error: BaseException) -> tuple[str, str, int]:
    """Where an exception was raised: its type, file and line."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    file, line = (frames.tb_frame.f_code.co_filename, frames.tb_lineno) if frames is not None else ("", 0)
    return type(error).__name__, file, line


def _number_of(error: Retryable | Busy) -> int:
    return RETRYABLE if isinstance(error, Retryable) else BUSY


def _text_of(error: BaseException) -> str:
    try:
        return printable(str(error)[:MESSAGE_CHARACTERS])
    except BaseException:  # noqa: BLE001  # the author's __str__ runs here
        return "(its message cannot be had)"


def traceback_of(error: BaseException) -> str:
    """The traceback, the author's own frames last, capped from the front."""
    try:
        import traceback

        lines = traceback.format_exception(type(error), error, _without_ours(error.__traceback__), limit=-FRAMES)
        text = printable("".join(lines))
    except BaseException:  # noqa: BLE001  # the author's __str__ runs here, and memory may be short
        return ""
    encoded = text.encode()
    if len(encoded) <= TRACEBACK_BYTES:
        return text
    return "[...]\n" + encoded[6 - TRACEBACK_BYTES :].decode(errors="ignore")


def _without_ours(frames: TracebackType | None) -> TracebackType | None:
    """Leave out the runtime's own frames at the top, unless there are no others."""
    found = frames
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_OURS):
        found = found.tb_next
    return found or frames


def printable(text: str) -> str:
    """The text with lone surrogates written out, so that it can be encoded."""
    return text.encode("utf-8", "backslashreplace").decode()
