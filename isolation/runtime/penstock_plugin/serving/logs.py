"""stdlib logging as `log` notifications that carry the run and stage of the call they were written in.

`logging` is not imported before the plugin does it: it would cost every worker 12 ms of its start.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar

from .faults import printable, traceback_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    from ..call import Call

__all__ = ["CURRENT", "log_record", "origin", "send_logs_to"]

CURRENT: ContextVar[Call | None] = ContextVar("penstock_call", default=None)
"""The call that is being answered; every asyncio task and every call has its own."""

# A log line is for people. More is a payload that slipped into it, and would fill the host's log.
MESSAGE_CHARACTERS = 4096
FIELDS_CHARACTERS = 4096

_LEVELS = ((50, "critical"), (40, "error"), (30, "warning"), (20, "info"))


def send_logs_to(notify: Callable[[dict[str, object]], None]) -> None:
    """Hand every log record to `notify`, now or as soon as something imports logging."""
    if "logging" in sys.modules:
        _install(sys.modules["logging"], notify)
    else:
        sys.meta_path.insert(0, _Watch(notify))


class _Watch:
    """Waits for the first import of logging, and installs the handler right behind it."""

    def __init__(self, notify: Callable[[dict[str, object]], None]) -> None:
        self._notify = notify

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "logging":
            return None
        from importlib.machinery import PathFinder

        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute, notify = spec.loader.exec_module, self._notify

        def execute_and_install(module: ModuleType) -> None:
            execute(module)
            _install(module, notify)

        spec.loader.exec_module = execute_and_install  # type: ignore[method-assign]
        return spec


def _install(logging_module: Any, notify: Callable[[dict[str, object]], None]) -> None:
    # What every record has; anything beside it came in by `extra=` and is a field.
    ordinary = frozenset((*vars(logging_module.makeLogRecord({})), "message", "asctime", "taskName"))

    class Handler(logging_module.Handler):  # type: ignore[misc]  # its base is not imported yet
        def emit(self, record: logging.LogRecord) -> None:
            try:
                notify(log_record(record, ordinary))
            except BrokenPipeError:
                pass  # the host is gone, and this process is about to be
            except Exception:  # noqa: BLE001  # as every logging handler: a record that cannot be written is reported, not raised
                self.handleError(record)

    root = logging_module.getLogger()
    root.addHandler(Handler())
    root.setLevel(logging_module.INFO)


def log_record(record: logging.LogRecord, ordinary: frozenset[str]) -> dict[str, object]:
    """The parameters of one `log` notification."""
    members: dict[str, object] = {
        "level": _level(record.levelno),
        "message": printable(_cut(record.getMessage(), MESSAGE_CHARACTERS)),
        "logger": printable(record.name),
    }
    members |= origin()
    fields = {name: _field(value) for name, value in vars(record).items() if name not in ordinary}
    if fields:
        members["fields"] = _bounded(fields)
    if record.exc_info and record.exc_info[1] is not None:
        members["traceback"] = traceback_of(record.exc_info[1])
    return members


def origin() -> dict[str, object]:
    """The run and stage of the call that is being answered here, if there is one."""
    call = CURRENT.get()
    return {} if call is None else {"run": call.run, "stage": call.stage}


def _level(number: int) -> str:
    return next((name for least, name in _LEVELS if number >= least), "debug")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}[... {len(text) - most} more]"


def _field(value: object) -> object:
    """A scalar as it is, anything else as its repr: a field must be JSON whatever the author hands over."""
    if value is None or isinstance(value, (bool, int)):
        return value
    return printable(_cut(value if isinstance(value, str) else repr(value), MESSAGE_CHARACTERS))


def _bounded(fields: dict[str, object]) -> dict[str, object]:
    room = FIELDS_CHARACTERS
    kept: dict[str, object] = {}
    for name, value in fields.items():
        room -= len(name) + len(str(value))
        if room < 0:
            kept["truncated"] = True
            break
        kept[printable(name)] = value
    return kept
