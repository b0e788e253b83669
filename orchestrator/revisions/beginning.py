"""What serves when a host starts: what the files hold, or what served last where those are not to be had unasked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from isolation.errors import IsolationError
from orchestrator.generations import Report
from orchestrator.revisions.candidates import Candidates
from orchestrator.revisions.generations import Generations
from orchestrator.revisions.history import NoSuchRevision
from orchestrator.revisions.leases import Leases
from orchestrator.revisions.plans import Kept, Plans, archived
from orchestrator.revisions.refusal import ChangeNotMade
from orchestrator.revisions.revision import Candidate, Revision
from pipelines.problem import SpecError

__all__ = ["Beginning"]

log = logging.getLogger("penstock.revisions")

START = "start"
"""Who wanted the revision that a host starts with."""

NOT_HAD_HINT = "change the files, or say `penstock serve --from-files` to serve what they hold all the same"


class Beginning:
    """Starts the first revision of a host. Nothing serves yet, so nothing is swapped."""

    def __init__(self, candidates: Candidates, plans: Plans, leases: Leases, generations: Generations) -> None:
        self._candidates = candidates
        self._plans = plans
        self._history = plans.history
        self._leases = leases
        self._generations = generations

    async def revision(
        self, made: Callable[[Report], Candidate], report: Report, *, follows_files: bool = False
    ) -> Revision:
        """Start what `made` makes of the files, or what served last; it has its number again if nothing changed."""
        last = self._history.latest_served
        why = await asyncio.to_thread(self._why_not_files) if last and not follows_files else ""
        candidate = await self._leases.candidate(partial(self._as_served, last, why) if why else made, report)
        number = self._number_again(candidate, last)
        kept: Kept | None = None
        try:
            kept = await self._plans.keep(candidate, number)
            generations = await self._generations.fleet.start(candidate.wanted, report)
            await self._generations.test(generations, candidate.wanted)
        except BaseException:
            self._leases.release(candidate)
            if not number and kept is not None:
                self._history.discard(kept.number)
            raise
        of = self._history.plan_of(number) if number else 0
        return self._plans.join(candidate, generations, kept, START, of)

    def _why_not_files(self) -> str:
        """Why a start serves what served last and not what the files hold; "" where it serves those. Blocks."""
        if self._history.on_trial:
            return "what the files hold was on trial when the host ended"  # the watch puts it on trial again
        if self._history.passed_over and self._history.passed_over == self._candidates.look():
            return "the files hold what was rolled back from"  # to put it into service after all is `apply`'s
        return ""

    def _as_served(self, last: int, why: str, _: Report) -> Candidate:
        log.warning("revision.kept", extra={"revision": last, "reason": why})
        try:
            return self._candidates.from_archive(self._history.archive(last))
        except (SpecError, IsolationError, NoSuchRevision) as error:
            message = f"{why}, and revision {last}, which served then, cannot be had any more: {error}"
            raise ChangeNotMade("penstock.not_had", message, hint=NOT_HAD_HINT) from error

    def _number_again(self, candidate: Candidate, last: int) -> int:
        """The number of the last revision where nothing has changed since; else 0."""
        try:
            known = self._history.archive(last) if last else None
        except NoSuchRevision:
            return 0
        return last if known is not None and known == archived(candidate) else 0
