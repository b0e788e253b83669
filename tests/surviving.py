"""What the tests of surviving runs share: a file served over doubles, on a clock and a journal that the test moves."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fakes import FakeClock, FakeGeneration
from plans import load_text
from simulation import FakeJournal

from isolation.errors import CallError, DeadlineExceeded, ExitReport, WorkerLost
from orchestrator.durable.recorder import JournalRecorder
from orchestrator.durable.recovery import read_back, take_up
from orchestrator.engine.engine import Engine, HookCall, Reply
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.traversal import Traversal
from orchestrator.engine.wiring import Route, Serving, routes_of
from orchestrator.journal.errors import JournalError, JournalFailed
from orchestrator.resilience.breakers import Breakers
from pipelines.plan import Plan
from pipelines.run import Undo

__all__ = ["HOOK", "PAYLOAD", "VIOLATION", "Bench", "HeldJournal", "Numbered", "code_of", "lost", "undos"]

HOOK = "tool_pre_invoke"
PAYLOAD: Mapping[str, object] = {"name": "echo", "args": {"q": "hello"}}
VIOLATION = {"violation": {"code": "blocked", "reason": "a word"}}


def lost(*, sent: bool = True) -> WorkerLost:
    """A worker that was killed."""
    return WorkerLost("s#1", ExitReport(signal=9), sent=sent)


def code_of(reply: Reply) -> str | None:
    """The code of the reply's violation."""
    return reply.violation.code if reply.violation is not None else None


def undos(run: Traversal) -> dict[str, Undo]:
    """Where the undo of each stage stands."""
    return {wire.plan.id: undo for wire, undo in zip(run.route.wires, run.machine.undos, strict=False)}


class Numbered:
    """Ids of runs that a test can tell beforehand: run1, run2, ..."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def next(self, now: float) -> str:
        """A new one."""
        return f"run{next(self._count)}"


class HeldJournal(FakeJournal):
    """Acknowledges what was submitted when the test says `sync`, or `breaks`."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, random.Random(0))
        self.held: list[tuple[Callable[[], JournalError | None], Callable[[JournalError | None], None]]] = []

    def _submit(self, apply: Callable[[], JournalError | None], done: Callable[[JournalError | None], None]) -> None:
        self.held.append((apply, done))

    def sync(self) -> None:
        """Acknowledge all that was submitted so far, and nothing that this causes."""
        group, self.held = self.held, []
        for done, error in [(done, apply()) for apply, done in group]:
            done(error)

    def settle(self) -> None:
        """Acknowledge until nothing more is submitted."""
        while self.held:
            self.sync()

    def breaks(self) -> None:
        """Refuse all that was submitted so far."""
        group, self.held = self.held, []
        for _, done in group:
            done(JournalFailed("the disk is full"))


@dataclass
class Bench:
    """One file over one double. `journal` is there where the file was served with one."""

    folder: Path
    loop: asyncio.AbstractEventLoop
    clock: FakeClock = field(default_factory=FakeClock)
    plugin: FakeGeneration = field(default_factory=FakeGeneration)
    draw: Callable[[float, float], float] = lambda low, high: high
    ended: list[Traversal] = field(default_factory=list)
    journal: HeldJournal = field(init=False)
    breakers: Breakers = field(init=False)
    engine: Engine = field(init=False)
    plan: Plan = field(init=False)
    ids: Numbered = field(default_factory=Numbered)

    def __post_init__(self) -> None:
        self.journal = HeldJournal(self.clock)

    def serve(self, pipelines: str, more: str = "") -> Engine:
        """Load a file and start a host over it."""
        return self.serve_plan(load_text(self.folder, pipelines, more=more).plan)

    def serve_plan(self, plan: Plan) -> Engine:
        """Start a host, over what its predecessor left in the journal."""
        self.plan = plan
        self.breakers = Breakers(self.clock.now)
        routes = routes_of(plan.routes, {"s": self.plugin}, self.breakers, self.draw, "plan")
        recorder = JournalRecorder(self.journal, self.clock, self.recall)  # type: ignore[arg-type]  # its double
        self.engine = Engine(
            Serving(routes, plan.unmatched, frozenset(plan.hooks)),
            self.loop,
            clock=self.clock,
            recorder=recorder,
            ids=self.ids,
            ended=self.ended.append,
        )
        return self.engine

    def call(self, pipelines: str, more: str = "", key: str | None = None) -> HookCall:
        """Serve a file and call its hook."""
        self.serve(pipelines, more)
        return self.submit(key)

    def submit(self, key: str | None = None, payload: Mapping[str, object] = PAYLOAD) -> HookCall:
        """Call the hook of the file that is served; what a journal has to write is written."""
        call = self.engine.submit(HOOK, payload, idempotency_key=key)
        self.journal.settle()
        return call

    def answer(self, stage: str, result: object = None) -> None:
        """Answer a stage and let the journal write."""
        self.plugin.answer(stage, result)
        self.journal.settle()

    def fail(self, stage: str, error: CallError) -> None:
        """Fail a stage and let the journal write."""
        self.plugin.fail(stage, error)
        self.journal.settle()

    def expire(self, stage: str) -> None:
        """Let a call run into its own deadline, as a worker that hangs does."""
        call = self.plugin.find(stage).call
        self.clock.forward(call.deadline - self.clock.now())
        self.fail(stage, DeadlineExceeded("no answer"))

    def forward(self, seconds: float) -> None:
        """Let time pass and the journal write."""
        self.clock.forward(seconds)
        self.journal.settle()

    def tried(self, stage: str) -> list[int]:
        """The attempt numbers of the calls of a stage, in the order in which they came."""
        return [one.call.invocation.attempt for one in self.plugin.handed if one.stage == stage]

    def route(self, pipeline: str) -> Route:
        """The route of a pipeline."""
        return next(route for route in self.engine.serving.routes[HOOK] if route.plan.name == pipeline)

    def recall(self, run: str) -> Lasting | None:
        """A run as the journal has it."""
        row = self.journal.rows[run]
        return read_back(row, self.journal.entries[run], self.route(row.pipeline), self.engine)

    def restart(self) -> list[Lasting]:
        """Kill the host, start another one and let it take up what is unfinished. What was not synced is lost."""
        self.clock.clear()
        self.journal.held = []
        self.plugin = FakeGeneration()
        self.serve_plan(self.plan)
        taken = list[Lasting]()
        for row in self.journal.unfinished():
            run = read_back(row, self.journal.entries[row.id], self.route(row.pipeline), self.engine)
            taken.append(run)
            take_up(run, row, self.engine)
        self.journal.settle()
        return taken
