"""Carries a command to the host that serves a file, or follows it here where none does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from orchestrator.cli.failures import say
from orchestrator.cli.loop import run_loop
from orchestrator.cli.opening import opened
from orchestrator.cli.options import pipeline_file
from orchestrator.cli.progress import Bars, terminal_watches
from orchestrator.clock import LoopClock
from orchestrator.control import Answer, Control, RunCommands
from orchestrator.control_socket import NoHost, ask
from orchestrator.journal.opening import open_journal
from orchestrator.loading import load
from orchestrator.ring import Ring
from orchestrator.state import RING_FILE, state_folder
from pipelines.run import MACHINE_VERSION

__all__ = ["command"]

WITH_WORKERS = frozenset({"runs.resume", "runs.compensate"})
"""Commands for which plugins are started when no host has them."""

ALONE = frozenset({"runs.list", "runs.show", "runs.park", "runs.prune", "runs.rekey"})


def command(path: Path, state: Path | None, name: str, params: Mapping[str, object], *, as_json: bool) -> Answer:
    """Follow a command for the file at `path`. Raises Refused, NoHost and what opening the file or journal raises."""
    folder = state or state_folder(pipeline_file(path))
    try:
        return ask(folder, name, params)
    except NoHost:
        if name in ALONE:
            return run_loop(_alone(folder, name, params))
        if name not in WITH_WORKERS:
            raise
    say(f"no host serves {path}; starting its plugins for this")
    with Bars(shown=terminal_watches(stdout_is_data=as_json)) as bars:
        return run_loop(_with_workers(path, state, name, params, bars))


async def _alone(folder: Path, name: str, params: Mapping[str, object]) -> Answer:
    loop = asyncio.get_running_loop()
    ring = Ring()
    ring.load(folder / RING_FILE)
    if not (folder / "journal.db").exists():
        return await RunCommands(ring, None, LoopClock(loop)).perform(name, params)
    with await asyncio.to_thread(open_journal, folder, loop=loop, machine=MACHINE_VERSION) as journal:
        return await RunCommands(ring, journal, LoopClock(loop)).perform(name, params)


async def _with_workers(path: Path, state: Path | None, name: str, params: Mapping[str, object], bars: Bars) -> Answer:
    opening = opened(load(path), bars, locked=False, offline=False, state=state)
    async with opening as orchestrator:
        return await Control(orchestrator).perform(name, params)
