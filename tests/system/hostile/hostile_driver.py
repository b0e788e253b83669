"""Calls one plugin through a real generation, beside a polite neighbour, and looks for what is left behind."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from isolation.call import Call
from isolation.errors import CallError, StartError
from isolation.generation import Generation
from isolation.protocol.messages import Invocation, envelope
from isolation.spec import WorkerSpec, child_environment
from pipelines.answer import BadAnswer, StageAnswer, payload_after, read_answer, read_undo
from pipelines.body import Body

__all__ = ["FRAME_BYTES", "MARKER", "Seen", "ask", "configs", "left_behind", "see", "spec_of"]

PLUGINS = Path(__file__).parent / "plugins"
MARKER = "PENSTOCK_TEST_MARKER"
FRAME_BYTES = 1024 * 1024
STARTUP_SECONDS = 1.5
KILL_AFTER_SECONDS = 0.1
PATIENCE_SECONDS = 10.0
"""Bounds every wait of a test that should not wait at all."""


class Asked(Call):
    """A call whose end can be awaited; `ends` counts how often it ended."""

    def __init__(self, seconds: float, *, undo: bool) -> None:
        self.invocation = Invocation(
            static=envelope("unact" if undo else "act", "tool_pre_invoke", "c1"),
            run=b"run",
            key=b"run/act/undo" if undo else b"run/act",
            undoes=b"run/act" if undo else b"",
            input=b"{}",
            context=b"{}",
            payload=b'{"name":"tool","args":{"q":"x"}}',
        )
        self.deadline = time.monotonic() + seconds
        self.end: asyncio.Future[bytes | CallError] = asyncio.get_running_loop().create_future()
        self.ends = 0

    def answered(self, result: msgspec.Raw) -> None:
        self._ended(bytes(result))

    def failed(self, error: CallError) -> None:
        self._ended(error)

    def _ended(self, end: bytes | CallError) -> None:
        self.ends += 1
        if not self.end.done():
            self.end.set_result(end)


@dataclass
class Seen:
    """What the caller of a hostile plugin got. `ends` holds answers and errors in the order of the calls."""

    ends: list[StageAnswer | Exception] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    neighbour: StageAnswer | Exception | None = None
    left: list[str] = field(default_factory=list)
    stop_seconds: float = 0.0


def configs() -> Mapping[str, object]:
    return {"c1": {"with": {}, "secrets": {}}}


def spec_of(script: str, marker: str) -> WorkerSpec:
    """A spec for one script: `runtime_*` runs in our runtime, a `.sh` on its own, the rest under this Python.

    One with `undo` in its name has a second stage, which undoes the first and is the one that is called.
    """
    undoes = {"unact": "act"} if "undo" in script else {}
    entry: str | None = None
    command: tuple[str, ...] | None = None
    if script.startswith("runtime_"):
        entry = f"{script}:plugin"
    elif script.endswith(".sh"):
        command = (f"./{script}",)
    else:
        command = (sys.executable, "-S", "-B", f"{script}.py")
    return WorkerSpec(
        plugin=script,
        plugin_name=script,
        version="1.0.0",
        python=Path(sys.executable),
        root=PLUGINS,
        stages=("act", *undoes),
        undoes=undoes,
        digest="0" * 64,
        entry=entry,
        command=command,
        environment=child_environment(os.environ, fixed={MARKER: marker}),
        startup_seconds=STARTUP_SECONDS,
        kill_after_seconds=KILL_AFTER_SECONDS,
        max_frame_bytes=FRAME_BYTES,
        site=False,
    )


async def ask(generation: Generation, seconds: float) -> StageAnswer | Exception:
    """One call to its end, its answer read as the engine reads it."""
    undo = bool(generation.spec.undoes)
    asked = Asked(seconds, undo=undo)
    generation.submit(asked)
    async with asyncio.timeout(PATIENCE_SECONDS):
        end = await asked.end
    assert asked.ends == 1, "a call ended twice"
    return end if isinstance(end, CallError) else _read(end, undo)


def _read(result: bytes, undo: bool) -> StageAnswer | Exception:
    try:
        answer = read_undo(result) if undo else read_answer(result, ())
        if answer.changes_payload():
            payload_after(answer, Body.of({}))
    except BadAnswer as error:
        return error
    return answer


async def see(script: str, *, calls: int, deadline: float) -> Seen:
    """Start `script` and a neighbour, call both, stop both, and tell everything."""
    marker, seen = uuid.uuid4().hex, Seen()
    async with Generation(spec_of("polite", marker), configs()) as neighbour:
        try:
            async with Generation(spec_of(script, marker), configs()) as hostile:
                for _ in range(calls):
                    began = time.monotonic()
                    seen.ends.append(await ask(hostile, deadline))
                    seen.seconds.append(time.monotonic() - began)
                seen.neighbour = await ask(neighbour, PATIENCE_SECONDS)
                began = time.monotonic()
        except StartError as error:
            seen.ends.append(error)
            seen.neighbour = await ask(neighbour, PATIENCE_SECONDS)
        seen.stop_seconds = time.monotonic() - began if seen.seconds else 0.0
    seen.left = left_behind(marker)
    return seen


def left_behind(marker: str) -> list[str]:
    """Command lines of processes that were started with `marker` and are still there after a moment."""
    wanted = f"{MARKER}={marker}".encode()
    until = time.monotonic() + 2.0
    while (left := _marked(wanted)) and time.monotonic() < until:
        os.sched_yield()  # nobody tells us of the end of a process that is not our child
    return left


def _marked(wanted: bytes) -> list[str]:
    found: list[str] = []
    if not Path("/proc/self").exists():  # macOS: nothing to look at
        return found
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue  # it ended while we looked, or is not ours to look at
    return found
