"""Log records that name a run get the request id and the trace that its caller gave, wherever they were written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["LOGGERS", "traced_logs"]

LOGGERS = (
    "penstock.call",
    "penstock.engine",
    "penstock.journal",
    "penstock.orchestrator",
    "penstock.plugin",
    "penstock.recovery",
    "penstock.run",
    "penstock.signing",
)
"""Whoever may name a run. A filter sees what is logged to its own logger, not what comes from those below it."""

Find = Callable[[str], tuple[str, str] | None]
"""From the id of a run to its request id and trace; None when nothing is known of it."""


class _Traced(logging.Filter):
    """Lets every record pass."""

    def __init__(self, find: Find) -> None:
        super().__init__()
        self._find = find

    def filter(self, record: logging.LogRecord) -> bool:
        """Add `request_id` and `trace`, unless who logged knew them."""
        run = getattr(record, "run", None) or getattr(getattr(record, "line", None), "run", None)
        if isinstance(run, str) and not hasattr(record, "request_id"):
            found = self._find(run)
            if found is not None:
                record.request_id, record.trace = found
        return True


@contextmanager
def traced_logs(find: Find) -> Iterator[None]:
    """Do so while inside."""
    traced = _Traced(find)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addFilter(traced)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(traced)
