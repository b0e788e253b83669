"""How a trial begins and ends: promoted, ended by somebody, by another change, or because it was found to be worse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from orchestrator.engine.traversal import Traversal
from orchestrator.events import CanaryAborted, CanaryPromoted, CanaryStarted, Event
from orchestrator.reload.change import Change
from orchestrator.revisions.drain import Drain
from orchestrator.revisions.history import Outcome
from orchestrator.revisions.living import Living
from orchestrator.revisions.notes import Notes
from orchestrator.revisions.refusal import ChangeNotMade
from orchestrator.revisions.revision import Candidate, Revision
from orchestrator.revisions.trial import Trial, splits_of
from orchestrator.revisions.turns import Turns
from pipelines.plan import SplitPlan

__all__ = ["ANOTHER_CHANGE", "Trials", "splits_on_trial"]

log = logging.getLogger("penstock.revisions")

ANOTHER_CHANGE = "another change was made"

CANARY = "canary"
"""Who wanted a trial ended that was judged to be worse."""

NO_CANARY_HINT = "a change is put on trial where a stage that uses the plugin has `split`"


def splits_on_trial(candidate: Candidate, change: Change) -> Mapping[str, SplitPlan]:
    """How the calls of the hooks are split that the change puts on trial."""
    splits = splits_of(candidate.loaded.plan)
    return {trial.hook: splits[trial.hook] for trial in change.trial}


class Trials:
    """Puts a revision on trial and ends that. There is one trial at a time, and `living` has it."""

    def __init__(
        self, living: Living, drain: Drain, notes: Notes, turns: Turns, publish: Callable[[Event], None]
    ) -> None:
        self._living = living
        self._drain = drain
        self._notes = notes
        self._turns = turns
        self._publish = publish

    def begin(self, revision: Revision, splits: Mapping[str, SplitPlan]) -> None:
        """Give a part of the calls to a revision."""
        trial = Trial(revision, self._living.current.number, splits, self._worse)
        self._living.trial = self._living.engine.split = trial
        self._publish(CanaryStarted(revision.number, trial.percent, trial.hooks))
        said = f"it takes {trial.percent:g} % of the calls"
        log.info("canary.started", extra={"revision": revision.number, "by": revision.by, "reason": said})

    def asked_for(self, asked: Trial | None = None) -> Trial:
        """The trial. Raises ChangeNotMade where there is none, or another than was asked for."""
        # Where it was found to be worse, it takes no calls and only waits for the end of another change. That one may
        # have put another revision on trial, of which whoever asked before knew nothing.
        trial = self._living.trial
        if trial is None or self._living.engine.split is None or asked not in (None, trial):
            raise ChangeNotMade("penstock.no_canary", "no revision is on trial", hint=NO_CANARY_HINT)
        return trial

    def split(self, percent: float) -> Trial:
        """Give another part of the calls to the revision on trial. Raises ChangeNotMade where there is none."""
        trial = self.asked_for()
        trial.percent = percent
        self._publish(CanaryStarted(trial.revision.number, percent, trial.hooks))
        return trial

    async def promote(self, asked: Trial, by: str) -> Revision:
        """Give all calls to the revision on trial. Raises ChangeNotMade where it is not on trial any more."""
        revision = self.asked_for(asked).revision
        self._living.trial = self._living.engine.split = None
        self._drain.begin(self._living.swap(revision))
        self._publish(CanaryPromoted(revision.number, by))
        log.info("canary.promoted", extra={"revision": revision.number, "by": by})
        await self._notes.became(revision.number, by, Outcome.PROMOTED)
        return revision

    async def abort(self, reason: str, by: str) -> None:
        """End the trial and write that down."""
        trial = self._living.trial
        self.end(reason, by)
        await self.note_end(trial, by)

    def end(self, reason: str, by: str) -> None:
        """Let the revision on trial, if any, take no call more."""
        trial, self._living.trial, self._living.engine.split = self._living.trial, None, None
        if trial is not None:
            trial.reason = reason
            number = trial.revision.number
            self._drain.begin(trial.revision)
            log.warning("canary.aborted", extra={"revision": number, "by": by, "reason": reason})
            self._publish(CanaryAborted(number, by, reason))

    async def note_end(self, trial: Trial | None, by: str) -> None:
        """Write down that a trial was ended, if it was."""
        if trial is not None and trial is not self._living.trial:
            await self._notes.became(trial.revision.number, by, Outcome.ABORTED, trial.reason)

    def _worse(self, reason: str) -> None:
        """End the trial at once: no call more. What follows from that takes its time."""
        if self._living.engine.split is not None and not self._turns.closing:
            self._living.engine.split = None
            self._turns.own(self._abort_worse(reason))

    async def _abort_worse(self, reason: str) -> None:
        async with self._turns.alone:
            if self._living.trial is not None and self._living.engine.split is None:
                await self._notes.pass_over()
                await self.abort(reason, CANARY)

    def ended(self, run: Traversal) -> None:
        """Take in a run that is over."""
        if self._living.trial is not None:
            self._living.trial.heard(run)
