"""A folder of plugins that say which they are, changed while hosts serve it: for tests of what comes into service how.

Every plugin appends [its name, its version, its process, the `with` of the call] to `args.marks` of the payload. One
that is told a gate in `args.gate` says that it arrived there, and goes on when the test opens it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from isolation.store.store import Prepared, Store
from orchestrator.events import Event
from orchestrator.loading import load
from orchestrator.orchestrator import HookResult, Orchestrator
from orchestrator.revisions.refusal import ChangeNotMade

__all__ = [
    "BOUND_SECONDS",
    "BY",
    "HOOK",
    "ORDER",
    "Building",
    "Gate",
    "Host",
    "Marks",
    "Yard",
    "children",
    "marks",
    "payload",
    "refusal_of",
]

BOUND_SECONDS = 60.0
"""No test waits longer for anything."""

BY = "uid:1000"
HOOK = "ask"
ORDER = "order"

Marks = list[tuple[str, str, object]]
"""Of each stage that a call passed: plugin, version, and the `n` of its `with`."""

CODE = """\
import fcntl, os, time
from penstock_plugin import Plugin, Retryable

NAME, VERSION = {name!r}, {version!r}
plugin = Plugin()


@plugin.stage("mark")
def mark(call):
    args = call.payload["args"]
    if args.get("gate", "").endswith("/" + NAME):
        with open(args["gate"] + "/arrived", "wb", buffering=0) as arrived:
            arrived.write(b"x")
        with open(args["gate"] + "/go", "rb", buffering=0) as go:
            go.read(1)
    if args.get("die") == NAME:
        os._exit(3)
    marks = [*args.get("marks", ()), [NAME, VERSION, os.getpid(), call.config.get("n")]]
    return call.modify({{**call.payload, "args": {{**args, "marks": marks}}}})


@plugin.stage("take")
def take(call):
    write(call, "take")
    return call.allow(out={{"receipt": call.key}})


@plugin.compensation("give_back", undoes="take")
def give_back(call):
    if os.path.exists(call.payload["args"]["ledger"] + ".stuck"):
        raise RuntimeError("the drawer is stuck")
    write(call, "give_back")


def write(call, what):
    with open(call.payload["args"]["ledger"], "a") as ledger:
        ledger.write(f"{{what}} {{VERSION}} {{os.getpid()}} {{call.undoes or call.key}}\\n")

"""

ALONE = """
@plugin.startup
def start(start):
    global held
    held = open(start.data / "lock", "w")
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
"""A plugin of which there can be only one: a second process of it cannot start."""

TESTED = """
@plugin.stage("self_test")
def self_test(call):
    {test}
"""

START = """
@plugin.startup
def start(start):
    with open("{gate}/arrived", "wb", buffering=0) as arrived:
        arrived.write(b"x")
    with open("{gate}/go", "rb", buffering=0) as go:
        go.read(1)
"""

_T = TypeVar("_T")


class Gate:
    """Where calls wait inside their plugin until the test lets them go on."""

    def __init__(self, folder: Path, plugin: str) -> None:
        self.path = folder / plugin
        self.path.mkdir(parents=True)
        for name in ("arrived", "go"):
            os.mkfifo(self.path / name)
        self._arrived = os.open(self.path / "arrived", os.O_RDONLY | os.O_NONBLOCK)
        self._keep = os.open(self.path / "arrived", os.O_WRONLY)  # or it would read as ended between two calls
        self._go = os.open(self.path / "go", os.O_RDWR)

    async def arrived(self, calls: int = 1) -> None:
        """Wait until so many calls more stand before it."""
        loop = asyncio.get_running_loop()
        for _ in range(calls):
            came: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._arrived, _came, came)
            try:
                async with asyncio.timeout(BOUND_SECONDS):
                    await came
            finally:
                loop.remove_reader(self._arrived)
            os.read(self._arrived, 1)

    def open(self, calls: int = 1) -> None:
        """Let so many calls through."""
        os.write(self._go, b"x" * calls)

    def before_start(self) -> str:
        """Code of a plugin that waits here when it starts."""
        return START.format(gate=str(self.path))

    def close(self) -> None:
        """Give its descriptors back."""
        for descriptor in (self._arrived, self._keep, self._go):
            os.close(descriptor)


def _came(came: asyncio.Future[None]) -> None:
    if not came.done():
        came.set_result(None)


def _stages(*pairs: tuple[str, str]) -> dict[str, object]:
    return {id: {"uses": uses} for id, uses in pairs}


class Building(Store):
    """A store that builds for as long as it is not told to be ready."""

    began: threading.Event
    ready: threading.Event

    @classmethod
    def become(cls, store: Store) -> Building:
        """Let a store be one from now on."""
        store.__class__ = cls
        assert isinstance(store, cls)
        store.began, store.ready = threading.Event(), threading.Event()
        return store

    def prepare_all(self, *wanted: Any) -> list[Prepared]:
        """Wait, then prepare."""
        self.began.set()
        self.ready.wait()
        return super().prepare_all(*wanted)


@dataclass
class Yard:
    """The pipeline file as `file`, which `save` writes; its plugins beside it; the store and the state.

    Two pipelines answer the hook, the first by plugin `a`, the second by `b`.
    """

    folder: Path
    store: Path
    file: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        hook = {"payload": {"name": "string", "args": "object"}, "can_deny": True}
        self.file = {
            "hooks": {HOOK: {"summary": "A question", **hook}, ORDER: {"summary": "A wish", **hook}},
            "plugins": {"a": {"source": "./a"}, "b": {"source": "./b"}},
            "pipelines": {
                "first": {"hook": HOOK, "deadline": "30s", "stages": _stages(("mark", "a/mark"))},
                "second": {"hook": HOOK, "deadline": "30s", "stages": _stages(("mark", "b/mark"))},
            },
        }
        self._heard = asyncio.Event()
        self.plugin("a", "a1")
        self.plugin("b", "b1")
        self.save()

    # Files.

    @property
    def path(self) -> Path:
        """The pipeline file."""
        return self.folder / "pipeline.yaml"

    @property
    def state(self) -> Path:
        """The state folder of its hosts."""
        return self.folder / "state"

    @property
    def ledger(self) -> Path:
        """Where `take` and `give_back` say what they did."""
        return self.folder / "ledger"

    def taken(self) -> list[list[str]]:
        """The lines of the ledger: what, version, process, key."""
        return [line.split() for line in self.ledger.read_text().splitlines()] if self.ledger.exists() else []

    def save(self) -> None:
        """Write the pipeline file. JSON is YAML."""
        self.path.write_text(json.dumps({"version": 1, "name": "yard", **self.file}, indent=1))

    def set_with(self, plugin: str, n: int | None) -> None:
        """Give a plugin another configuration, and save."""
        self.file["plugins"][plugin]["with"] = {} if n is None else {"n": n}
        self.save()

    def plugin(
        self,
        name: str,
        version: str,
        *,
        alone: bool = False,
        reload: str = "",
        test: str = "",
        more: str = "",
        manifest: str = "",
        requires: str = "",
    ) -> None:
        """Write a plugin. `test` is the body of its self-test, `more` code after all, `manifest` more keys of it."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        code = CODE.format(name=name, version=version) + (ALONE if alone else "")
        code += TESTED.format(test=test) if test else ""
        reload = reload or ("replace" if alone else "overlap")
        lines = ["[project]", f'name = "{name}"', 'version = "1.0.0"', 'requires-python = ">=3.11"'] if requires else []
        lines += [f'dependencies = ["{requires}"]'] if requires else []
        lines += ["[tool.penstock]", f'reload = "{reload}"', "data = true"]
        lines += [] if requires else [f'name = "{name}"', 'version = "1.0.0"']
        lines += [manifest, "[tool.penstock.stages.mark]"]
        lines += ["[tool.penstock.stages.take]", 'effects = "external"', "idempotent = true"]
        lines += ['outputs = { receipt = "string" }', "[tool.penstock.stages.give_back]", 'undoes = "take"']
        lines += ["[tool.penstock.stages.self_test]"] if test else []
        (folder / "pyproject.toml").write_text("\n".join(lines) + "\n")
        (folder / "plugin.py").write_text(code + more)

    def secret(self, plugin: str, version: str, value: str = "of a secret") -> Path:
        """Hand a plugin a secret from a file, and save. Return that file."""
        self.plugin(plugin, version, manifest='permissions = { secrets = ["token"] }')
        self.file["plugins"][plugin] |= {"grant": {"secrets": ["token"]}, "secrets": {"token": "token"}}
        self.file["secrets"] = {"token": {"from": "file", "path": "token"}}
        self.save()
        path = self.folder / "token"
        path.write_text(value)
        return path

    def durable(self, plugin: str = "a", **more: object) -> None:
        """Add a pipeline on the hook ORDER whose runs take something, and save."""
        take = {"uses": f"{plugin}/take", "compensate": {"uses": f"{plugin}/give_back"}}
        mark = {"uses": f"{plugin}/mark", "needs": ["take"]}
        stages = {"take": take, "mark": mark}
        pipeline = {"hook": ORDER, "deadline": "30s", "durable": True, "stages": stages, **more}
        self.file["pipelines"]["lasting"] = pipeline
        self.save()

    def gate(self, plugin: str) -> Gate:
        """A gate inside a plugin."""
        gate = Gate(self.folder / "gates" / str(len(self.gates)), plugin)
        self.gates.append(gate)
        return gate

    # Hosts.

    @asynccontextmanager
    async def served(
        self, store: Store | None = None, within_seconds: float = BOUND_SECONDS, *, follows_files: bool = False
    ) -> AsyncIterator[Orchestrator]:
        """A host of the file as it is now, with a history. What it tells is added to `events`."""
        with nullcontext(store) if store else Store(self.store, offline=True) as kept:
            loaded = load(self.path)
            host = Orchestrator(loaded, kept, state=self.state, keeps_history=True, follows_files=follows_files)
            host.events.subscribe(self._hear)
            async with asyncio.timeout(within_seconds), host as inside:
                try:
                    yield inside
                finally:
                    for gate in self.gates:
                        gate.open(64)  # whatever fails, nobody is left standing before it
        for gate in self.gates:
            gate.close()
        self.gates.clear()

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self._heard.set()

    def told(self, kind: type[_T]) -> list[_T]:
        """The events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that an event announces."""
        async with asyncio.timeout(BOUND_SECONDS):
            while not holds():
                self._heard.clear()
                await self._heard.wait()

    async def ask(self, inside: Orchestrator, gate: Gate | None = None, hook: str = HOOK, **more: object) -> HookResult:
        """Call a hook."""
        key = more.pop("idempotency_key", None)
        assert key is None or isinstance(key, str)
        return await inside.invoke(hook, payload(self, gate, **more), idempotency_key=key)


def payload(yard: Yard, gate: Gate | None = None, **more: object) -> Mapping[str, object]:
    """What a call hands over."""
    args = {"ledger": str(yard.ledger), **({} if gate is None else {"gate": str(gate.path)}), **more}
    return {"name": "x", "args": args}


def marks(result: HookResult) -> Marks:
    """What a call went through."""
    assert result.verdict != "deny", result.records
    return [(name, version, n) for name, version, _, n in json.loads(result.payload)["args"]["marks"]]


async def refusal_of(change: Awaitable[object]) -> ChangeNotMade:
    """Why a change was not made."""
    try:
        made = await change
    except ChangeNotMade as error:
        return error
    raise AssertionError(f"it was made: {made}")


def children() -> set[int]:
    """The workers of this process that run. What the store starts, such as a compiler of bytecode, is none."""
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError), open(f"/proc/self/task/{task}/children") as listed:  # a thread may end
            found |= set(map(int, listed.read().split()))
    return {pid for pid in found if _is_worker(pid)}


def _is_worker(pid: int) -> bool:
    try:
        return b"launch.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Host:
    """A host of a yard in a process of its own. It can be killed."""

    def __init__(self, yard: Yard) -> None:
        # -P: beside the script lie folders that bear the names of the packages.
        command = [sys.executable, "-P", str(Path(__file__).with_name("changing_host.py"))]
        self.process = subprocess.Popen(
            [*command, str(yard.folder), str(yard.store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, **wish: object) -> None:
        """Ask for something, and do not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()

    def ask(self, **wish: object) -> Any:
        """Ask for something, and wait for the answer."""
        self.tell(**wish)
        assert self.process.stdout is not None
        alarm = threading.Timer(BOUND_SECONDS, self.process.kill)
        alarm.start()
        try:
            return json.loads(self.process.stdout.readline())
        finally:
            alarm.cancel()

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait(BOUND_SECONDS)

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
