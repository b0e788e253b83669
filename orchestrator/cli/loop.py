"""Runs one coroutine from the command line. Ctrl-C and SIGTERM cancel it, so that workers end before we do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import TypeVar

import uvloop

from orchestrator.cli.failures import Terminated

__all__ = ["run_loop"]

_Result = TypeVar("_Result")


def run_loop(work: Coroutine[object, object, _Result]) -> _Result:
    """Return what `work` returns. Raise KeyboardInterrupt after Ctrl-C and Terminated after SIGTERM."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_terminable(work))
        except asyncio.CancelledError:
            raise Terminated from None


async def _terminable(work: Coroutine[object, object, _Result]) -> _Result:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work
