"""What becomes of a durable run that was found in the journal unfinished: taken up where it was, undone, or parked."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from orchestrator.durable.replay import replay
from orchestrator.engine.engine import Engine
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.wiring import Route
from orchestrator.faults import StageFault
from orchestrator.journal.rows import EventRow, RunRow
from pipelines.plan import Recover
from pipelines.run import Halt, Invoke, Phase, outstanding

__all__ = ["read_back", "take_up"]

log = logging.getLogger("penstock.recovery")

INTERRUPTED = StageFault("Interrupted", "penstock.interrupted", "the host ended during the run", final=True)

LOST = StageFault("WorkerLost", "penstock.interrupted", "the host ended during the call", final=True)


def read_back(row: RunRow, events: Sequence[EventRow], route: Route, engine: Engine) -> Lasting:
    """The run as its journal has it, nothing performed. Raises ReplayDiffers."""
    run = replay(row, events, route, engine.clock, engine.recorder, engine.closed)
    run.key = row.key
    return run


def take_up(run: Lasting, row: RunRow, engine: Engine) -> None:
    """Go on with a run that was read back."""
    engine.opened(run)
    log.info("run.taken_up", extra={"run": run.id, "phase": run.machine.phase.value})
    resumes = run.route.plan.recover is Recover.RESUME and run.key is not None
    match run.machine.phase:
        case Phase.RUNNING if resumes:
            run.watch_deadline()
            _go_on(run)
        case Phase.RUNNING:
            run.fault = INTERRUPTED
            run.tell(Halt())
        case Phase.DECIDED:
            if not resumes and not run.denied:
                run.deny_for(INTERRUPTED)
            run.conclude()
        case Phase.CONFIRMING:
            _await(run, row, resumes=resumes)
        case Phase.UNDOING | Phase.FINISHING:
            run.perform(tuple(outstanding(run.route.shape, run.machine)))
        case Phase.OVER:
            engine.closed(run)


def _await(run: Lasting, row: RunRow, *, resumes: bool) -> None:
    if row.confirm_by is not None:
        run.await_confirmation(row.confirm_by - run.clock.wall(), noted=True)
    elif resumes:
        run.delivered()  # the caller comes back for it, with its key
    else:
        run.revoke("its verdict was never delivered")


def _go_on(run: Lasting) -> None:
    """Call again what may be called again; of any other stage that was under way the outcome stays unknown."""
    for command in outstanding(run.route.shape, run.machine):
        assert isinstance(command, Invoke)
        wire = run.route.wires[command.stage]
        attempt = run.attempts[command.stage]
        if wire.plan.idempotent or attempt is None:
            run.perform((command,))
        else:
            run.failed(attempt, LOST)
