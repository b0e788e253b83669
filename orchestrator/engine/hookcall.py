"""One call of a hook on its way through the hook's pipelines, in file order, to the one answer of the door.

The first deny ends it and undoes what the earlier pipelines did, the last first. Whatever goes wrong is a denial.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from orchestrator.contexts import Context, request_id_of
from orchestrator.engine.lasting import Lasting, Taken
from orchestrator.engine.traversal import Traversal
from orchestrator.engine.wiring import Route, Serving
from orchestrator.faults import ABANDONED, INTERNAL, StageFault
from pipelines.answer import Violation
from pipelines.body import Body, encode
from pipelines.expressions import ExpressionFailed
from pipelines.merge import apply_patch, same
from pipelines.plan import Recover, Unmatched

if TYPE_CHECKING:
    from orchestrator.engine.engine import Engine

__all__ = ["HookCall", "Reply", "refused"]

log = logging.getLogger("penstock.engine")

_NO_KEY = StageFault(
    "KeyRequired",
    "penstock.key_required",
    "the pipeline resumes its runs, so its callers must supply an idempotency_key",
    final=True,
)
_OTHER_CALL = StageFault(
    "KeyConflict",
    "penstock.key_conflict",
    "the idempotency_key was used before with another payload or context",
    final=True,
)
_LATE = StageFault("DeadlineExceeded", "penstock.timeout", "the run with this idempotency_key took too long")


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
    """`reply` is a future that always gets a result. Who takes it says so with `delivered`, or `abandon`.

    It is answered by what served when it came, or, where it `waits` at first, when it begins.
    """

    advancing = False
    abandoned = False
    lasts = False
    given: Reply | None = None
    mocks: Mapping[str, bytes] | None = None
    state: Mapping[str, object] | None = None
    key: str | None = None
    trace = ""

    waits = False
    pipeline: str | None = None

    def __init__(
        self, engine: Engine, serving: Serving, hook: str, payload: Body, context: Body, deadline: float
    ) -> None:
        self.engine = engine
        self.serving = serving
        self.hook = hook
        self.first = self.payload = payload
        self.context = context
        self.deadline = deadline
        self.left = serving.routes.get(hook, ())
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
            if self.engine.onlooker is not None:
                run.onlooker = self.engine.onlooker
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
        engine = self.engine
        now = engine.clock.now()
        deadline = min(self.deadline, now + route.plan.deadline_seconds)
        id = engine.ids.next(now)
        if not route.shape.lasting:
            run = Traversal(
                id,
                route,
                self.payload,
                self.context,
                now,
                deadline,
                clock=engine.clock,
                done=self._ended,
                mocks=self.mocks,
            )
        else:
            run = self._lasting(id, route, now, deadline)
        if self.trace:
            run.trace = self.trace
        return run

    def _lasting(self, id: str, route: Route, now: float, deadline: float) -> Lasting:
        engine = self.engine
        self.lasts = True
        run = Lasting(
            id,
            route,
            self.payload,
            self.context,
            now,
            deadline,
            clock=engine.clock,
            done=self._ended,
            closed=engine.closed,
            yields=self._gives_way,
            mocks=self.mocks,
            recorder=engine.recorder if route.plan.durable and not self.mocks else None,
        )
        run.key = self.key
        return run

    def _begins(self, route: Route, run: Traversal) -> bool:
        """Whether the pipeline applies; a `match` that cannot be evaluated denies, as does a deadline in the past."""
        if run.deadline <= run.started:
            run.refuse(StageFault("DeadlineExceeded", "penstock.timeout", "the hook's deadline has passed"))
            return False
        if route.plan.match is not None:
            try:
                if not route.plan.match.evaluate({"payload": self.payload.tree, "context": self.context.tree}):
                    return False
            except ExpressionFailed as error:
                run.refuse(StageFault("ExpressionError", "penstock.expression", f"`match`: {error}"))
                return False
        if isinstance(run, Lasting):
            if run.recorder is not None and self.key is None and route.plan.recover is Recover.RESUME:
                run.refuse(_NO_KEY)
                return False
            self.engine.opened(run)
        return True

    def _gives_way(self, taken: Taken) -> None:
        """A run of the pipeline has the caller's key: its verdict is the answer."""
        mine = self.runs.pop()
        assert isinstance(mine, Lasting)
        self.engine.forgotten(mine)
        if not taken.same:
            mine.refuse(_OTHER_CALL)
            self.runs.append(mine)
            self._answer(mine)
            return
        try:
            self.engine.find(taken.run, partial(self._adopt, mine.deadline))
        except Exception:  # noqa: BLE001  as in advance
            self._crash()

    def _adopt(self, deadline: float, run: Lasting | StageFault) -> None:
        if isinstance(run, StageFault):
            self._settle(refused(self, run))
        elif run.revoked_for:
            text = f"the run with this idempotency_key was allowed and then undone: {run.revoked_for}"
            self._settle(refused(self, StageFault("Revoked", "penstock.revoked", text, final=True)))
        else:
            self.runs.append(run)
            run.join(self._ended)
            if run.answered_with is None:
                left_seconds = max(0.0, deadline - self.engine.clock.now())
                self.engine.clock.later(left_seconds, partial(self._no_longer, run))

    def _no_longer(self, run: Lasting) -> None:
        """Deny a caller whose own deadline passes before the run ends that has its key. The run is not its to undo."""
        if run.answered_with is None and run in self.runs:
            self.runs.remove(run)
            self.left = ()
            self._settle(refused(self, _LATE))

    def _ended(self, run: Traversal) -> None:
        if run not in self.runs:
            return  # it waited no longer
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
        last = self.runs[-1] if self.runs else None
        known = {"run": "" if last is None else last.id, "request_id": request_id_of(self.context), "trace": self.trace}
        log.exception("hook.crashed", extra={"hook": self.hook, **known})
        self.left = ()
        if last is None or isinstance(last, Lasting):
            if last is not None:
                last.halt(INTERNAL)
            self._settle(refused(self, INTERNAL))
            return
        last.refuse(INTERNAL)
        self._answer(last)

    def _carry(self, run: Traversal) -> None:
        """Hand what `run` left to the next pipeline."""
        if run.payload is not run.seen:  # what another call's run saw is equal to ours, and not the same object
            self.payload = run.payload
        if run.state is not None:
            self.state = run.state
            tree = {**self.context.tree, "state": run.state}
            self.context = Context(encode(tree), tree, request_id_of(self.context))

    # The answer.

    def _answer(self, last: Traversal | None) -> None:
        self._settle(self._reply(last))

    def _settle(self, reply: Reply) -> None:
        if self.lasts and reply.verdict == "deny":
            self._condemn(reply)
        else:
            self.give(reply)

    def _condemn(self, reply: Reply) -> None:
        """Answer when it is durable that what the earlier pipelines allowed is to be undone."""
        allowed = self._unsettled
        left = len(allowed)

        def settled() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                self.give(reply)

        if allowed:
            # A journal that hangs must not keep the caller.
            left_seconds = max(
                0.0, min(self.deadline, max(run.deadline for run in self.runs)) - self.engine.clock.now()
            )
            self.engine.clock.later(left_seconds, lambda: self.give(reply))
        else:
            self.give(reply)
        for run in allowed:
            run.condemn("a later pipeline of the hook denied", settled)

    def give(self, reply: Reply) -> None:
        """Answer, once. Whoever waited may have cancelled the future: what follows from the answer follows anyway."""
        if self.given is None:
            self.given = reply
            if not self.reply.done():
                self.reply.set_result(reply)
            if self.lasts:
                self._part(reply)
        self.engine.answered(self)

    def _part(self, reply: Reply) -> None:
        if reply.verdict == "deny":
            _revoke_each(self.lasting)
        elif self.abandoned:
            self._leave()

    def _reply(self, last: Traversal | None) -> Reply:
        runs = tuple(self.runs)
        if last is None and not runs and self.serving.unmatched.get(self.hook) is Unmatched.DENY:
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

    # After the answer.

    @property
    def lasting(self) -> list[Lasting]:
        """Its runs that go on after their verdict."""
        return [run for run in self.runs if isinstance(run, Lasting)]

    @property
    def _unsettled(self) -> list[Lasting]:
        """Those of them that were allowed and nobody confirmed: another caller with the same key may have."""
        return [run for run in self.lasting if run.waits_for_caller and not run.denied]

    def delivered(self) -> None:
        """The caller has the answer."""
        if self.lasts and self.given is not None and self.given.verdict != "deny":
            for run in self.lasting:
                run.delivered()

    def abandon(self) -> None:
        """The caller went away: end what is under way for it, undo what it allowed and nobody heard of."""
        self.abandoned = True
        if self.given is not None:
            self._leave()
        else:
            self.halt(ABANDONED)

    def halt(self, fault: StageFault) -> None:
        """Deny now; runs under way are cancelled. One that has a key goes on: its caller may come back for it."""
        self.left = ()
        if self.waits:
            self.give(refused(self, fault))
        elif self.runs and not self.runs[-1].ended:
            run = self.runs[-1]
            if fault is ABANDONED and isinstance(run, Lasting) and run.recorder is not None and self.key is not None:
                return
            run.halt(fault)

    def _leave(self) -> None:
        """Undo what was allowed and nobody heard of; where the caller has a key, give it time to come back."""
        if self.given is None or self.given.verdict == "deny":
            return
        if self.key is None:
            _revoke_each(self.lasting)
            return
        for run in self._unsettled:
            run.await_confirmation(run.route.plan.confirm_seconds or run.route.plan.deadline_seconds)


def _revoke_each(runs: list[Lasting]) -> None:
    """Undo what was allowed, the last pipeline's first and each before the one in front of it."""
    while runs:
        run = runs.pop()
        if run.waits_for_caller and not run.denied:
            run.revoke("its caller went away")
        if not run.over and not run.waits_for_caller:
            run.hear(lambda _: _revoke_each(runs))
            return


def refused(call: HookCall, fault: StageFault) -> Reply:
    """The answer to a call that no pipeline took."""
    violation = Violation(code=fault.code, reason=fault.message)
    return Reply("deny", call.first.raw, violation, fault, None, None, None, (), call.hook)


def _merged(parts: Sequence[Mapping[str, object] | None]) -> Mapping[str, object] | None:
    given = [part for part in parts if part]
    if len(given) < 2:
        return given[0] if given else None
    whole: object = {}
    for part in given:
        whole = apply_patch(whole, part)
    assert isinstance(whole, dict)
    return whole
