"""Takes a hook's call through the pipelines of that hook, in file order, to one verdict.

Knows routes and runs; starts no process and reads no file. Whatever happens, every call gets its verdict by its
deadline, and anything unforeseen is a denial.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

import msgspec

from orchestrator.door import admit_context, admit_payload
from orchestrator.faults import StageFault
from orchestrator.ids import RunIds
from orchestrator.traversal import Traversal
from orchestrator.wiring import Route
from pipelines.answer import Violation
from pipelines.body import Body, encode
from pipelines.expressions import ExpressionFailed
from pipelines.merge import apply_patch, same
from pipelines.plan import Unmatched

__all__ = ["Engine", "HookCall", "Reply", "UnknownHook", "UnknownPipeline"]

log = logging.getLogger("penstock.engine")

NO_DEADLINE_SECONDS = 3600.0
"""Stands for the hook's deadline where the door names none; each run still has its pipeline's own."""

_SHUTDOWN = StageFault("Shutdown", "penstock.shutdown", "the host is stopping")

_INTERNAL = StageFault("InternalError", "penstock.internal", "the host failed; its log has the traceback")

_ABANDONED = StageFault("Abandoned", "penstock.timeout", "the caller went away")


class UnknownHook(LookupError):
    """The pipeline file and the catalogue know no such hook."""

    code = "penstock.unknown_hook"
    hint = "docs/hooks.md lists the hooks; a custom one is declared under `hooks` in the pipeline file"


class UnknownPipeline(LookupError):
    """The pipeline file has no pipeline of this name."""

    code = "penstock.unknown_pipeline"
    hint = "`penstock graph FILE` shows the pipelines of a file"


class Reply(msgspec.Struct, frozen=True):
    """The one answer of a door to a hook's call. `payload` is JSON bytes; the runs are in file order."""

    verdict: str
    payload: bytes
    violation: Violation | None
    fault: StageFault | None
    hints: Mapping[str, object] | None
    state: Mapping[str, object] | None
    result: Mapping[str, object] | None
    runs: tuple[Traversal, ...]
    hook: str

    @property
    def run_id(self) -> str | None:
        """The id of the run that decided."""
        return self.runs[-1].id if self.runs else None


class HookCall:
    """One hook's call on its way through the pipelines of the hook."""

    advancing = False
    mocks: Mapping[str, bytes] | None = None
    state: Mapping[str, object] | None = None

    def __init__(self, engine: Engine, hook: str, payload: Body, context: Body, deadline: float) -> None:
        self.engine = engine
        self.hook = hook
        self.first = self.payload = payload
        self.context = context
        self.deadline = deadline
        self.left = engine.routes.get(hook, ())
        self.runs: list[Traversal] = []
        self.reply: asyncio.Future[Reply] = engine.loop.create_future()

    def advance(self) -> None:
        """Run the next pipeline whose `match` holds, or answer."""
        self.advancing = True
        try:
            self._advance()
        except Exception:  # noqa: BLE001  a bug of ours must end in a denial, not leave the door waiting
            self._crash()
        self.advancing = False

    def _advance(self) -> None:
        while self.left:
            route = self.left[0]
            self.left = self.left[1:]
            run = self._traversal(route)
            if self._begins(route, run):
                self.runs.append(run)
                run.start()
                if not run.ended or run.denied or not self.left:
                    return
            elif run.fault is not None:
                self.runs.append(run)
                if run.denied:
                    self._answer(run)
                    return
        self._answer(None)

    def _traversal(self, route: Route) -> Traversal:
        now = time.monotonic()
        deadline = min(self.deadline, now + route.plan.deadline_seconds)
        id = self.engine.ids.next(now)
        return Traversal(id, route, self.payload, self.context, deadline, done=self._ended, mocks=self.mocks)

    def _begins(self, route: Route, run: Traversal) -> bool:
        """Whether the pipeline applies; a `match` that cannot be evaluated denies, as does a deadline in the past."""
        if run.deadline <= run.started:
            run.refuse(StageFault("DeadlineExceeded", "penstock.timeout", "the hook's deadline has passed"))
            return False
        if route.plan.match is None:
            return True
        try:
            return bool(route.plan.match.evaluate({"payload": self.payload.tree, "context": self.context.tree}))
        except ExpressionFailed as error:
            run.refuse(StageFault("ExpressionError", "penstock.expression", f"`match`: {error}"))
            return False

    def _ended(self, run: Traversal) -> None:
        try:
            if not run.denied:
                self._carry(run)
            if run.denied or not self.left:
                self._answer(run)
            elif not self.advancing:
                self.advance()
        except Exception:  # noqa: BLE001  as above
            self._crash()

    def _crash(self) -> None:
        """Deny after a bug of ours."""
        log.exception("hook.crashed", extra={"hook": self.hook})
        self.left = ()
        if not self.runs:
            self._settle(_refused(self, _INTERNAL))
            return
        self.runs[-1].refuse(_INTERNAL)
        self._answer(self.runs[-1])

    def _carry(self, run: Traversal) -> None:
        """Hand what `run` left to the next pipeline."""
        self.payload = run.payload
        if run.state is not None:
            self.state = run.state
            self.context = Body.of({**self.context.tree, "state": run.state})

    def _answer(self, last: Traversal | None) -> None:
        self._settle(self._reply(last))

    def _settle(self, reply: Reply) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)
        self.engine.ended(self)

    def _reply(self, last: Traversal | None) -> Reply:
        runs = tuple(self.runs)
        if last is None and not runs and self.engine.unmatched.get(self.hook) is Unmatched.DENY:
            violation = Violation(code="penstock.unmatched", reason=f"no pipeline applies to this {self.hook}")
            return Reply("deny", self.first.raw, violation, None, None, None, None, runs, self.hook)
        if last is not None and last.denied:
            return Reply("deny", self.first.raw, last.violation, last.fault, None, None, None, runs, self.hook)
        if len(runs) > 1 and self.payload is not self.first and same(self.payload.tree, self.first.tree):
            self.payload = self.first  # one pipeline took back what another did
        verdict = "allow" if self.payload is self.first else "modify"
        if last is not None and len(runs) == 1:
            hints: Mapping[str, object] | None = last.hints
            result, fault = last.result, last.fault
        else:
            hints = _merged([run.hints for run in runs])
            result = next((run.result for run in reversed(runs) if run.result is not None), None)
            fault = next((run.fault for run in runs if run.fault is not None), None)
        return Reply(verdict, self.payload.raw, None, fault, hints, self.state, result, runs, self.hook)

    def halt(self, fault: StageFault) -> None:
        """Deny now; runs under way are cancelled."""
        self.left = ()
        if self.runs and not self.runs[-1].ended:
            self.runs[-1].halt(fault)

    def abandon(self) -> None:
        """The caller went away: cancel what is under way for it."""
        self.halt(_ABANDONED)


def _merged(parts: Sequence[Mapping[str, object] | None]) -> Mapping[str, object] | None:
    given = [part for part in parts if part]
    if len(given) < 2:
        return given[0] if given else None
    whole: object = {}
    for part in given:
        whole = apply_patch(whole, part)
    assert isinstance(whole, dict)
    return whole


class Engine:
    """Routes in service. `routes` may be replaced in one assignment; runs under way keep theirs."""

    def __init__(
        self,
        routes: Mapping[str, tuple[Route, ...]],
        unmatched: Mapping[str, Unmatched],
        hooks: frozenset[str],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.routes = routes
        self.unmatched = unmatched
        self.hooks = hooks
        self.loop = loop
        self.ids = RunIds()
        self._calls = set[HookCall]()
        self._closing = False

    def submit(
        self,
        hook: str,
        payload: bytes | Mapping[str, object] | Body,
        context: bytes | Mapping[str, object] | Body | None = None,
        *,
        within_seconds: float = NO_DEADLINE_SECONDS,
        pipeline: str | None = None,
        mocks: Mapping[str, Mapping[str, object]] | None = None,
    ) -> HookCall:
        """Take a call in; its `reply` is a future that always gets a result.

        Raises UnknownHook, UnknownPipeline and DoorError.

        A Body has passed the door before and is taken as it is. `pipeline` limits the call to one pipeline;
        `mocks` answers stages, by their id, in their plugins' stead.
        """
        if hook not in self.hooks:
            raise UnknownHook(hook)
        call = HookCall(self, hook, admit_payload(payload), admit_context(context), time.monotonic() + within_seconds)
        if pipeline is not None:
            if not any(route.plan.name == pipeline for chain in self.routes.values() for route in chain):
                raise UnknownPipeline(pipeline)
            call.left = tuple(route for route in call.left if route.plan.name == pipeline)
        if mocks:
            call.mocks = {stage: encode(answer) for stage, answer in mocks.items()}
        if self._closing:
            call.reply.set_result(_refused(call, _SHUTDOWN))
        else:
            self._calls.add(call)
            call.advance()
        return call

    @property
    def under_way(self) -> int:
        """Calls that are not answered yet."""
        return len(self._calls)

    def ended(self, call: HookCall) -> None:
        """Forget a call that was answered."""
        self._calls.discard(call)

    async def close(self) -> None:
        """Deny what is under way and whatever still comes."""
        self._closing = True
        for call in list(self._calls):
            call.halt(_SHUTDOWN)


def _refused(call: HookCall, fault: StageFault) -> Reply:
    violation = Violation(code=fault.code, reason=fault.message)
    return Reply("deny", call.first.raw, violation, fault, None, None, None, (), call.hook)
