"""Carries a command to the host that serves a file, or follows it here where none does.

What follows a command here is imported only then: to ask a host takes a tenth of that.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Coroutine, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.cli.failures import say
from orchestrator.cli.options import file_here, pipeline_file
from orchestrator.control.refusal import Answer, Refused
from orchestrator.control.socket import SOCKET, NoHost, ask, ask_stream
from orchestrator.journal.errors import JournalLocked
from orchestrator.state import HISTORY_FOLDER, RING_FILE, state_folder

__all__ = ["command", "follow"]

WITH_WORKERS = frozenset({"runs.resume", "runs.compensate"})
"""Commands for which plugins are started when no host has them."""

ALONE = frozenset({"runs.list", "runs.show", "runs.park", "runs.prune", "runs.rekey", "why"})
"""Commands that need the journal and the memory of runs, and no worker."""

WRITTEN_DOWN = frozenset({"history", "diff"})
"""Commands that are answered from what a host wrote down of its revisions."""

TURN_SECONDS = 10.0
"""How long somebody else may hold the journal: another command for a moment, a host until its plugins are ready."""
RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Errand:
    path: Path
    state: Path | None
    folder: Path
    name: str
    params: Mapping[str, object]
    as_json: bool


def command(path: Path, state: Path | None, name: str, params: Mapping[str, object], *, as_json: bool) -> Answer:
    """Follow a command for the file at `path`; with `state` the commands that need no worker need no file either.

    Raises what `control_socket.ask` raises, and what opening the file, its plugins or its journal does.
    """
    folder = state if state is not None and name not in WITH_WORKERS else _folder_of(path, state)
    errand = _Errand(path, state, folder, name, params, as_json)
    until = math.inf
    while True:
        try:
            return _follow(errand)
        except JournalLocked:
            # Whoever holds it is about to take commands, or about to let go. What came before was no waiting.
            until = min(until, time.monotonic() + TURN_SECONDS)
            if time.monotonic() >= until:
                raise
            time.sleep(RETRY_SECONDS)


def follow(
    path: Path, state: Path | None, name: str, params: Mapping[str, object]
) -> Generator[Mapping[str, object], None, None]:
    """The objects of a stream of the host that serves the file at `path`. Raises what `control.socket.ask` raises."""
    folder = state or _folder_of(path, None)
    try:
        yield from ask_stream(folder, name, params)
    except NoHost:
        raise NoHost(f"no host serves {state or path}") from None


def _folder_of(path: Path, state: Path | None) -> Path:
    """The state folder of the file at `path`, which has to be there, unless a host serves it though it is gone."""
    folder = state or state_folder(pipeline_file(path))
    if not (folder / SOCKET).exists():
        file_here(path)
    return folder


def _follow(errand: _Errand) -> Answer:
    try:
        return ask(errand.folder, errand.name, errand.params)
    except NoHost:
        if errand.name in ALONE:
            return _finished(_alone(errand))
        if errand.name in WRITTEN_DOWN and (errand.folder / HISTORY_FOLDER).is_dir():
            return _finished(_written_down(errand))
        if errand.name not in WITH_WORKERS:
            raise NoHost(f"no host serves {errand.state or errand.path}") from None
    return _with_workers(_looked_up(errand))


def _finished(work: Coroutine[object, object, Answer]) -> Answer:
    from orchestrator.cli.loop import run_loop

    return run_loop(work)


async def _alone(errand: _Errand) -> Answer:
    import asyncio

    from orchestrator.clock import LoopClock
    from orchestrator.control.commands import RunCommands
    from orchestrator.journal.opening import open_journal
    from orchestrator.record.ring import Ring
    from pipelines.run import MACHINE_VERSION

    loop = asyncio.get_running_loop()
    ring = Ring()
    ring.load(errand.folder / RING_FILE)
    if not (errand.folder / "journal.db").exists():
        return await RunCommands(ring, None, LoopClock(loop)).perform(errand.name, errand.params)
    with await asyncio.to_thread(open_journal, errand.folder, loop=loop, machine=MACHINE_VERSION) as journal:
        return await RunCommands(ring, journal, LoopClock(loop)).perform(errand.name, errand.params)


async def _written_down(errand: _Errand) -> Answer:
    import msgspec

    from orchestrator.control.changes import HistoryCommands
    from orchestrator.revisions.history import History

    history = History(errand.folder / HISTORY_FOLDER)
    history.load()
    kind, act = HistoryCommands(history).commands[errand.name]
    return await act(msgspec.convert(dict(errand.params), kind), f"uid:{os.getuid()}")


def _looked_up(errand: _Errand) -> _Errand:
    """The errand with the whole id of its run: one that is not known is told before plugins are started."""
    shown = _finished(_alone(replace(errand, name="runs.show", params={"run": errand.params["run"]})))
    assert isinstance(shown, Mapping)
    if not shown["durable"]:
        raise Refused("penstock.no_journal", f"run {shown['run_id']} is not durable; nothing can be done about it now")
    return replace(errand, params={**errand.params, "run": shown["run_id"]})


def _with_workers(errand: _Errand) -> Answer:
    from orchestrator.cli.opening import opened
    from orchestrator.cli.progress import Bars, terminal_watches
    from orchestrator.control.commands import Control
    from orchestrator.loading import load

    async def perform(bars: Bars) -> Answer:
        opening = opened(load(errand.path), bars, locked=False, offline=False, state=errand.state)
        async with opening as orchestrator:
            return await Control(orchestrator).perform(errand.name, errand.params)

    say(f"no host serves {errand.path}; starting its plugins for this")
    with Bars(shown=terminal_watches(stdout_is_data=errand.as_json)) as bars:
        return _finished(perform(bars))
