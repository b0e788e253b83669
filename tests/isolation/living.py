"""Real workers for tests: small plugins written into a folder, a generation around them, calls that can be awaited.

Nothing here waits for a length of time. A plugin waits for a gate, a FIFO that a test opens; a test waits for an
event, bounded by `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from isolation.call import Call
from isolation.errors import CallError
from isolation.generation import Generation
from isolation.protocol.messages import Invocation, envelope
from isolation.spec import WorkerSpec, child_environment
from isolation.worker import Worker

__all__ = [
    "CONCURRENT",
    "CONFIGS",
    "PATIENCE_SECONDS",
    "PEER",
    "SEQUENTIAL",
    "Asked",
    "Gate",
    "ask",
    "descriptors",
    "peer_spec",
    "run",
    "serving",
    "spec_of",
    "until",
]

PATIENCE_SECONDS = 15.0
"""Bounds every wait for what should come at once, on a machine that is busy with other tests."""

CONFIGS: Mapping[str, object] = {"c1": {"with": {}, "secrets": {}}}

SEQUENTIAL = """
import os, signal, subprocess, sys, threading
from penstock_plugin import Plugin

plugin = Plugin()

@plugin.stage("echo")
def echo(call):
    return call.modify(call.payload)

@plugin.stage("hang")
def hang(call):
    threading.Event().wait()

@plugin.stage("gate")
def gate(call):
    open(call.payload["gate"]).close()
    return call.allow(out={"pid": os.getpid()})

@plugin.stage("die")
def die(call):
    if "gate" in call.payload:
        open(call.payload["gate"]).close()
    print("these are my last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

@plugin.stage("leave")
def leave(call):
    os._exit(3)

@plugin.stage("deaf")
def deaf(call):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(call.payload["gate"]).close()
    threading.Event().wait()

@plugin.stage("shout")
def shout(call):
    subprocess.Popen(["cat", "/dev/zero"], stdout=2, stdin=subprocess.DEVNULL)

@plugin.stage("raise")
def raising(call):
    raise ValueError("not this one")
"""

CONCURRENT = """
import asyncio, threading
from penstock_plugin import Plugin

plugin = Plugin()
seen = []

@plugin.stage("echo")
async def echo(call):
    return call.modify(call.payload)

@plugin.stage("seen")
async def what_was_seen(call):
    return call.allow(out={"seen": list(seen)})

@plugin.stage("nap")
async def nap(call):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise

@plugin.stage("stubborn")
async def stubborn(call):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("ignored")

@plugin.stage("gate")
async def gate(call):
    await asyncio.to_thread(lambda: open(call.payload["gate"]).close())
    return call.allow(out={"passed": True})

@plugin.stage("block")
async def block(call):
    threading.Event().wait()
"""

PEER = """
import json, os, sys

def say(text):
    os.write(1, text.encode() + b"\\n")

def answer(message, result):
    say(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))

hello = {"protocol": "1.0", "plugin": {"name": "living", "version": "1.0.0"}, "stages": {"act": {}}, "concurrency": 1}

def shake_hands():
    answer(json.loads(sys.stdin.readline()), hello)
    answer(json.loads(sys.stdin.readline()), {})
"""
"""The beginning of a plugin that speaks the protocol itself."""


class Asked(Call):
    """A call whose end can be awaited; `ends` counts how often it ended, `seconds` how long it took."""

    def __init__(self, stage: str, payload: Mapping[str, object] | bytes = b"{}", *, within: float = 60.0) -> None:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        invocation = Invocation(envelope(stage, "tool_pre_invoke", "c1"), b"run", b"run/s", b"{}", b"{}", raw)
        self.began = time.monotonic()
        super().__init__(invocation, self.began + within)
        self.future: asyncio.Future[bytes | CallError] = asyncio.get_running_loop().create_future()
        self.ends = 0
        self.seconds = 0.0

    def answered(self, result: msgspec.Raw) -> None:
        self._ended(bytes(result))

    def failed(self, error: CallError) -> None:
        self._ended(error)

    def _ended(self, end: bytes | CallError) -> None:
        self.ends += 1
        self.seconds = time.monotonic() - self.began
        if not self.future.done():
            self.future.set_result(end)

    async def end(self) -> bytes | CallError:
        """The answer or the error, which came exactly once."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            end = await asyncio.shield(self.future)
        assert self.ends == 1
        return end

    async def answer(self) -> dict[str, Any]:
        """The answer, decoded."""
        end = await self.end()
        assert isinstance(end, bytes), end
        decoded: dict[str, Any] = json.loads(end)
        return decoded

    async def error(self) -> CallError:
        """The error."""
        end = await self.end()
        assert isinstance(end, CallError), end
        return end


class Gate:
    """What a plugin waits at until a test opens it. `reached` waits until the plugin is there."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self.path = folder / name
        self.payload = {"gate": str(self.path)}
        os.mkfifo(self.path)

    async def reached(self) -> None:
        """Wait until the plugin stands at the gate, and let it pass: the two are one act."""
        await until(self.opened)

    def opened(self) -> bool:
        """Let pass whoever stands at the gate; False when nobody does."""
        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # ENXIO: nobody reads yet
            return False
        return True


def ask(
    generation: Generation, stage: str, payload: Mapping[str, object] | bytes = b"{}", within: float = 60.0
) -> Asked:
    """Submit one call."""
    asked = Asked(stage, payload, within=within)
    generation.submit(asked)
    return asked


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110  what is watched tells nobody
            await asyncio.sleep(0)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on the loop that the product runs on."""
    uvloop.run(main)


def spec_of(folder: Path, source: str, *stages: str, **members: Any) -> WorkerSpec:
    """Write a plugin for our runtime and choose how to start it."""
    (folder / "plugin.py").write_text(source)
    return _spec(folder, stages, {"entry": "plugin:plugin", **members})


def peer_spec(folder: Path, source: str, **members: Any) -> WorkerSpec:
    """Write a plugin that speaks the protocol itself and offers the stage `act`."""
    (folder / "peer.py").write_text(PEER + source)
    return _spec(folder, ("act",), {"command": (sys.executable, "-S", "-B", "peer.py"), **members})


def _spec(folder: Path, stages: tuple[str, ...], members: Mapping[str, Any]) -> WorkerSpec:
    chosen: dict[str, Any] = {
        "plugin": "living",
        "plugin_name": "living",
        "version": "1.0.0",
        "python": Path(sys.executable),
        "root": folder,
        "stages": stages,
        "digest": "0" * 64,
        "environment": child_environment(os.environ),
        "kill_after_seconds": 0.1,
        "site": False,
    }
    return WorkerSpec(**{**chosen, **members})


class serving(contextlib.AbstractAsyncContextManager[Generation]):  # reads as the words it stands for
    """A generation that is ready. At its end no worker of it is left."""

    def __init__(self, spec: WorkerSpec, configs: Mapping[str, object] = CONFIGS, **choices: Any) -> None:
        self._generation = Generation(spec, configs, **choices)

    async def __aenter__(self) -> Generation:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._generation.__aenter__()

    async def __aexit__(self, *what: object) -> None:
        workers: set[Worker] = set(self._generation._supervisor.alive)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._generation.close()
        assert all(worker.gone.done() for worker in workers)


def descriptors() -> set[str]:
    """What this process has open, but for the listing itself."""
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}
