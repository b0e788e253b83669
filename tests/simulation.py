"""A world without processes: the real engine, policies and journal entries over plugins that misbehave by a seed.

Time is a FakeClock, randomness one `random.Random`. Plugins keep the promise of compensation (an undo of an unknown key
is remembered, a later do of that key refused) and no other: they crash, hang, deny, answer late or not at all. The host
is killed at random points; what it had synced is what the next one finds.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from fakes import FakeClock

from isolation.call import Call
from isolation.errors import (
    DeadlineExceeded,
    ExitReport,
    NotSent,
    PluginBusy,
    PluginError,
    RetryableError,
    WorkerLost,
)
from isolation.spec import WorkerSpec
from orchestrator.durable.recorder import JournalRecorder
from orchestrator.durable.recovery import read_back, take_up
from orchestrator.engine.engine import Engine, HookCall, Reply
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.traversal import Traversal
from orchestrator.engine.wiring import Route, Serving, routes_of
from orchestrator.journal.errors import JournalError, JournalFailed, KeyTaken
from orchestrator.journal.rows import KEEP, UNFINISHED, EventRow, RunRow, RunUpdate
from orchestrator.resilience.breakers import Breakers
from pipelines.hooks import CATALOGUE, Hook
from pipelines.plan import (
    BreakerPolicy,
    Fallback,
    Jitter,
    Mode,
    Need,
    OnError,
    PipelinePlan,
    Recover,
    RetryPolicy,
    StagePlan,
    UndoPlan,
    Variant,
)
from pipelines.run import MACHINE_VERSION

__all__ = ["Effects", "FakeJournal", "World", "play"]

HOOKS = (CATALOGUE["tool_pre_invoke"], CATALOGUE["prompt_pre_fetch"])
PAYLOADS = ({"name": "echo", "args": {"q": "x"}}, {"prompt_id": "p", "args": {"q": "x"}})
END_SECONDS = 3600.0
CLASSES = ("WorkerLost", "Busy", "Retryable", "DeadlineExceeded", "PluginError")


class FakeJournal:
    """The journal's promises in memory: what was acknowledged stays, what was not may or may not."""

    def __init__(self, clock: FakeClock, draw: random.Random) -> None:
        self.rows: dict[str, RunRow] = {}
        self.entries: dict[str, list[EventRow]] = {}
        self._clock = clock
        self._draw = draw
        self.broken = False
        self._pending: list[tuple[Callable[[], JournalError | None], Callable[[JournalError | None], None]]] = []

    def begin(self, run: RunRow, event: EventRow, done: Callable[[JournalError | None], None]) -> None:
        def apply() -> JournalError | None:
            for other in self.rows.values():
                if run.key is not None and (other.pipeline, other.key) == (run.pipeline, run.key):
                    return KeyTaken(other)
            self.rows[run.id] = replace(run, machine=MACHINE_VERSION)
            self.entries[run.id] = [event]
            return None

        self._submit(apply, done)

    def note(
        self, event: EventRow, done: Callable[[JournalError | None], None], *, update: RunUpdate | None = None
    ) -> None:
        def apply() -> JournalError | None:
            assert self.entries[event.run][-1].seq + 1 == event.seq, "a gap in the journal"
            self.entries[event.run].append(event)
            self._update(event.run, update)
            return None

        self._submit(apply, done)

    def mark(self, run: str, update: RunUpdate, done: Callable[[JournalError | None], None]) -> None:
        def apply() -> JournalError | None:
            self._update(run, update)
            return None

        self._submit(apply, done)

    def _update(self, run: str, update: RunUpdate | None) -> None:
        names = ("status", "verdict", "reason", "ended_at", "confirm_by", "delivered")
        changes = {name: getattr(update, name) for name in names} if update is not None else {}
        self.rows[run] = replace(
            self.rows[run], **{name: value for name, value in changes.items() if value is not KEEP}
        )

    def _submit(self, apply: Callable[[], JournalError | None], done: Callable[[JournalError | None], None]) -> None:
        self._pending.append((apply, done))
        if len(self._pending) == 1:
            self._clock.later(self._draw.uniform(0.0001, 0.01), self._sync)

    def fail(self) -> None:
        """The disk takes nothing more until the host is started anew."""
        self.broken = True

    def _sync(self) -> None:
        group, self._pending = self._pending, []
        if self.broken:
            for _, done in group:
                done(JournalFailed("the disk is full"))
            return
        for done, error in [(done, apply()) for apply, done in group]:
            done(error)

    def killed(self) -> None:
        """The host is gone: of what it had not heard of, the first few may be on the disk all the same."""
        for apply, _ in self._pending[: 0 if self.broken else self._draw.randint(0, len(self._pending))]:
            apply()
        self._pending = []
        self.broken = False

    def unfinished(self) -> list[RunRow]:
        return [row for row in self.rows.values() if row.status in UNFINISHED]


@dataclass
class Effects:
    """What plugins really did, in order: (what, key), what is do or undo. It survives every kill."""

    log: list[tuple[str, str]] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)

    def do(self, key: str) -> bool:
        if key in self.undone:
            return False
        if key not in self.done:
            self.done.add(key)
            self.log.append(("do", key))
        return True

    def undo(self, key: str) -> None:
        if key not in self.undone:
            self.undone.add(key)
            self.log.append(("undo", key))

    @property
    def kept(self) -> set[str]:
        """Keys of effects that are still there."""
        return self.done - self.undone


class Plugin:
    """A generation whose workers behave by chance. `mood` weighs what calls come to."""

    def __init__(self, name: str, world: World) -> None:
        self.spec = WorkerSpec(name, name, "1.0.0", Path("python"), Path(), ("act",), name[-1] * 64)
        self._world = world
        self._number = 0

    def submit(self, call: Call) -> None:
        world = self._world
        invocation = call.invocation
        key, undoes = invocation.key.decode(), invocation.undoes.decode()
        world.note("call", key, str(invocation.attempt))
        calm = world.calm or (bool(undoes) and world.draw.random() < 0.7)
        what = "ok" if calm else world.draw.choices(*world.mood)[0]
        if what in ("busy", "unsent"):
            error = PluginBusy("full") if what == "busy" else NotSent("no replica")
            world.clock.later(0.0 if what == "busy" else 0.001, lambda: self._fail(call, error))
            return
        self._number += 1
        call.number = self._number
        call.worker = f"{self.spec.plugin}#1"
        life = world.life
        took = world.draw.uniform(0.001, 0.08)
        world.clock.later(
            max(0.0, call.deadline - world.clock.now()), lambda: self._fail(call, DeadlineExceeded("late"))
        )
        if what == "hang":
            took = world.draw.uniform(0.05, 3.0)  # late, or after its deadline

        flight = (key, undoes)
        world.in_flight.append(flight)

        def act() -> None:
            if world.life == life:  # else its worker died with the host
                world.in_flight.remove(flight)
                self._act(call, what, key, undoes)

        world.clock.later(took, act)

    def _act(self, call: Call, what: str, key: str, undoes: str) -> None:
        world = self._world
        before = world.draw.random() < 0.5  # a crash or an error before or after the effect
        refused = False
        if what == "deny" and undoes:
            what = "ok"
        if what in ("ok", "hang") or (what in ("lost", "error", "again") and not before):
            if undoes:
                world.effects.undo(undoes)
            else:
                refused = not world.effects.do(key)
        if what == "lost":
            self._fail(call, WorkerLost(call.worker, ExitReport(signal=9)))
        elif what == "error":
            self._fail(call, PluginError("broken"))
        elif what == "again":
            self._fail(call, RetryableError("later"))
        elif refused or what == "deny":
            self._answer(call, {"violation": {"code": "no", "reason": "refused"}})
        elif what != "silent":
            self._answer(call, {} if undoes else world.answer())

    def _answer(self, call: Call, result: object) -> None:
        if call.settle():
            self._world.note("answer", call.invocation.key.decode(), json.dumps(result))
            call.answered(msgspec.Raw(json.dumps(result).encode()))

    def _fail(self, call: Call, error: Exception) -> None:
        if call.settle():
            self._world.note("fail", call.invocation.key.decode(), type(error).__name__)
            call.failed(error)  # type: ignore[arg-type]  # every one above is a CallError

    def cancel(self, call: Call) -> None:
        call.settle()


WEIGHTS = {"ok": 60, "deny": 6, "hang": 6, "lost": 8, "unsent": 3, "busy": 4, "error": 5, "again": 5, "silent": 3}


class World:
    """One seed's story. `play` tells it to its end."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.clock = FakeClock()
        self.trace: list[str] = []
        self.effects = Effects()
        self.journal = FakeJournal(self.clock, self.draw)
        self.loop = asyncio.new_event_loop()
        self.calm = False
        self.in_flight: list[tuple[str, str]] = []
        self.life = 0
        self.runs: dict[str, Lasting] = {}
        self.told: dict[str, list[str]] = {}
        self.taken_up: set[str] = set()
        self.plain: set[str] = set()
        self.chains: list[tuple[str, list[str]]] = []
        self.heard: dict[str, set[str]] = {}
        self.calls: list[HookCall] = []
        self.mortal = self.draw.random() < 0.7
        self.lenient = False
        weights = {word: weight * self.draw.choice((0, 1, 1, 3)) for word, weight in WEIGHTS.items()}
        self.mood = (list(weights), list(weights.values())) if any(weights.values()) else (["ok"], [1])
        self.plans = self._plans()
        self.start()

    def note(self, *words: str) -> None:
        """Write a line of the trace. Ids of runs are numbered, because they hold a time of the machine's own."""
        self.trace.append(f"{self.clock.now():.6f} {' '.join(words)}")

    # What runs.

    def _plans(self) -> tuple[PipelinePlan, ...]:
        count = self.draw.choice((1, 1, 2))
        plans = [self._plan(f"p{place}", HOOKS[0]) for place in range(count)]
        if self.draw.random() < 0.3:
            plans.append(self._plan("other", HOOKS[1]))
        return tuple(plans)

    def _plan(self, name: str, hook: Hook) -> PipelinePlan:
        """A pipeline. In a world whose host is never killed some are not journaled: they live in memory alone."""
        draw = self.draw
        durable = self.mortal or draw.random() < 0.4
        self.lenient = draw.random() < 0.2
        stages: list[StagePlan] = []
        for index in range(draw.randint(1, 7)):
            needs = tuple(sorted(draw.sample(range(index), draw.randint(0, min(index, 2)))))
            ancestors = 0
            for need in needs:
                ancestors |= stages[need].ancestors | 1 << need
            stages.append(self._stage(index, needs, ancestors))
        finals = (replace(self._stage(0, (), 0), id="last", undo=None),) if draw.random() < 0.5 else ()
        return PipelinePlan(
            name,
            hook,
            None,
            draw.choice((0.3, 1.0, 5.0)),
            tuple(stages),
            self._fallback(stages),
            durable=durable,
            recover=draw.choice(tuple(Recover)) if durable else Recover.UNDO,
            confirm_seconds=draw.choice((None, None, 2.0)) if durable else None,
            undo_seconds=draw.choice((0.5, 30.0)),
            finals=finals,
        )

    def _fallback(self, stages: list[StagePlan]) -> Fallback | None:
        if self.draw.random() < (0.2 if self.lenient else 0.7):
            return None
        enforces = any(stage.variants[-1].mode is Mode.ENFORCE for stage in stages)
        kinds = frozenset(self.draw.sample((*CLASSES, "BreakerOpen", "MergeConflict"), 3))
        return Fallback(kinds, "as the file says", allow=not enforces)

    def _stage(self, index: int, needs: tuple[int, ...], ancestors: int) -> StagePlan:
        draw = self.draw
        enforces = not self.lenient and draw.random() < 0.85
        variant = Variant(
            None,
            "c",
            Mode.ENFORCE if enforces else draw.choice((Mode.PERMISSIVE, Mode.AUDIT, Mode.DISABLED)),
            OnError.FAIL if enforces or draw.random() < 0.4 else OnError.CONTINUE,
            draw.choice((0.05, 0.1, 0.4)),
        )
        undo = (
            UndoPlan("b", "undo", "c", draw.choice((0.1, 1.0)), (), self._retry(0.9)) if draw.random() < 0.7 else None
        )
        return StagePlan(
            f"s{index}",
            index,
            draw.choice(("a", "b")),
            "act",
            tuple(Need(need) for need in needs),
            ancestors,
            (variant,),
            idempotent=draw.random() < 0.5,
            retry=self._retry(0.5),
            breaker=BreakerPolicy("b", 10, 4, 0.5, 0.5, 2) if draw.random() < 0.4 else None,
            undo=undo,
        )

    def _retry(self, chance: float) -> RetryPolicy | None:
        if self.draw.random() >= chance:
            return None
        classes = frozenset(sorted(self.draw.sample(CLASSES, self.draw.randint(1, 5))))
        return RetryPolicy("r", self.draw.randint(2, 5), classes, 0.01, 0.1, 2.0, self.draw.choice(tuple(Jitter)))

    def answer(self) -> dict[str, object]:
        """What a stage that is well says: mostly `out`, now and then a change that may conflict with another's."""
        said: dict[str, object] = {"out": {"n": 1}}
        if self.draw.random() < 0.4:
            said["patch"] = {"args": {self.draw.choice("xy"): self.draw.randint(1, 3)}}
        if self.draw.random() < 0.1:
            said["state"] = {self.draw.choice("xyz"): self.draw.randint(1, 2)}
        return said

    # The host's lives.

    def start(self) -> None:
        """Start a host over what is on the disk."""
        plugins = {name: Plugin(name, self) for name in ("a", "b")}
        plans = {hook.name: tuple(plan for plan in self.plans if plan.hook is hook) for hook in HOOKS}
        routes = routes_of(plans, plugins, Breakers(self.clock.now), self.draw.uniform, "plan")
        recorder = JournalRecorder(self.journal, self.clock, self.recall)  # type: ignore[arg-type]  # its double
        self.engine = Engine(
            Serving(routes, {}, frozenset(hook.name for hook in HOOKS)),
            self.loop,
            clock=self.clock,
            recorder=recorder,
            ids=self,
            ended=self._over,
        )

    def next(self, now: float) -> str:
        """An id of this seed."""
        return f"run{self.draw.getrandbits(48):012x}"

    def recall(self, run: str) -> Lasting | None:
        """A run read back."""
        row = self.journal.rows[run]
        return read_back(row, self.journal.entries[run], self._route(row), self.engine)

    def _route(self, row: RunRow) -> Route:
        return next(route for route in self.engine.serving.routes[row.hook] if route.plan.name == row.pipeline)

    def kill(self) -> None:
        """SIGKILL: memory, timers and workers are gone; the disk and what was done outside stay."""
        self.note("kill")
        self.life += 1
        self.clock.clear()
        self.journal.killed()
        for key, undoes in self.in_flight:
            if self.draw.random() < 0.5:  # the last that its worker did
                self.effects.undo(undoes) if undoes else self.effects.do(key)
        self.in_flight = []
        self.calls = []
        self.start()
        for row in self.journal.unfinished():
            run = read_back(row, self.journal.entries[row.id], self._route(row), self.engine)
            self.note("take up", row.id, run.machine.phase.value)
            self.taken_up.add(row.id)
            take_up(run, row, self.engine)

    def stop(self) -> None:
        """Stop the host in good order: what lives in memory alone is undone, the rest stays in the journal."""
        self.note("stop")
        self.loop.run_until_complete(self.engine.close())

    def _over(self, run: Traversal) -> None:
        if not isinstance(run, Lasting):
            self.plain.add(run.id)
            return
        self.runs[run.id] = run
        undos = ",".join(undo.value for undo in run.machine.undos)
        self.note("over", run.id, run.verdict, undos)

    # What callers do.

    def submit(self) -> None:
        """A call, sometimes with a key of an earlier one."""
        key = f"k{self.draw.randint(0, 3)}" if any(plan.recover is Recover.RESUME for plan in self.plans) else None
        self.note("submit", str(key))
        place = int(self.plans[-1].hook is HOOKS[1] and self.draw.random() < 0.4)
        mocks: dict[str, dict[str, object]] | None = None
        if not self.mortal and self.draw.random() < 0.2:
            mocks = {f"s{self.draw.randint(0, 3)}": {}}
        call = self.engine.submit(HOOKS[place].name, PAYLOADS[place], idempotency_key=key, mocks=mocks)
        self.calls.append(call)

    def _comparable(self, reply: Reply) -> bool:
        """Whether whoever comes back with the same key must hear the same: a pipeline without a journal runs anew, and
        a caller that waits too long, or comes after an undo, hears of that.
        """
        passing = reply.violation is not None and reply.violation.code in ("penstock.revoked", "penstock.timeout")
        return all(plan.durable for plan in self.plans) and not passing

    def look(self) -> None:
        """Callers take their answers."""
        for call in list(self.calls):
            if call.reply.done():
                self.calls.remove(call)
                if call.abandoned:
                    continue  # nobody is there to hear it
                reply = call.reply.result()
                self.note("reply", reply.verdict, reply.violation.code if reply.violation else "")
                if call.key is None:
                    self.chains.append((reply.verdict, [run.id for run in call.lasting]))
                for run in call.lasting:
                    self.told.setdefault(run.id, []).append(reply.verdict)
                    if self._comparable(reply):
                        self.heard.setdefault(run.id, set()).add(reply.verdict)
                if self.draw.random() < 0.9:
                    call.delivered()
                    for run in call.lasting:
                        if self.draw.random() < 0.8:
                            run.confirm()
                else:
                    call.abandon()


def play(seed: int) -> World:
    """Let a world go to its end: some calls, kills and cancellations, then calm until nothing moves."""
    world = World(seed)
    draw = world.draw
    left, kills = draw.randint(1, 6), draw.randint(0, 3) if world.mortal else 0
    fails = kills > 0 and draw.random() < 0.2
    stops = not world.mortal and draw.random() < 0.5
    for _ in range(4000):
        if left and draw.random() < 0.05:
            left -= 1
            world.submit()
        elif fails and draw.random() < 0.01:
            fails = False
            world.note("journal fails")
            world.journal.fail()
        elif kills and draw.random() < 0.02:
            kills -= 1
            world.kill()
        elif stops and world.calls and draw.random() < 0.15:
            stops, left = False, 0
            world.stop()
        elif world.calls and draw.random() < 0.01:
            draw.choice(world.calls).abandon()
        elif not world.clock.step() and not left:
            break
        world.look()
    if world.journal.broken:
        world.kill()  # nothing but a start repairs it
    world.calm = True
    for _ in range(100_000):
        if not world.clock.step():
            break
        world.look()
    world.loop.close()
    return world
