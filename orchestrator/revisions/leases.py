"""What revisions have of the store: the leases of candidates, and what is held for a rollback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path

from isolation.store.store import Store
from orchestrator.generations import Report
from orchestrator.revisions.history import History, NoSuchRevision
from orchestrator.revisions.revision import Candidate, Revision

__all__ = ["KEPT_REVISIONS", "Leases"]

log = logging.getLogger("penstock.revisions")

KEPT_REVISIONS = 3
"""Earlier ones whose snapshots and environments stay, so that a rollback builds nothing."""


class Leases:
    """Every candidate that was made and not given back. `let_go` comes last."""

    def __init__(self, store: Store, history: History) -> None:
        self._store = store
        self._history = history
        self._kept = deque[Revision]()
        self._lent = set[Candidate]()

    async def candidate(self, made: Callable[[Report], Candidate], report: Report) -> Candidate:
        """Make one in a thread. Who is given up meanwhile leaves nothing behind. Raises what `made` does."""
        making = asyncio.get_running_loop().run_in_executor(None, made, report)
        try:
            candidate = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._unwanted)
            raise
        self._lent.add(candidate)
        return candidate

    def _unwanted(self, making: asyncio.Future[Candidate]) -> None:
        if not making.cancelled() and making.exception() is None:
            self._lent.add(making.result())
            self.release(making.result())

    def keep(self, revision: Revision) -> None:
        """Keep what a revision has that is gone, as long as it is among the latest."""
        self._kept.append(revision)
        while len(self._kept) > KEPT_REVISIONS:
            self.release(self._kept.popleft().candidate)

    def release(self, candidate: Candidate) -> None:
        """Give back what the store lent, once."""
        if candidate in self._lent:
            self._lent.discard(candidate)
            for prepared in candidate.prepared.values():
                self._store.release(prepared)

    def let_go(self) -> None:
        """Give back all that the store lent. For when no process is left that uses it."""
        for candidate in tuple(self._lent):
            self.release(candidate)

    async def hold_plans(self) -> None:
        """Keep what the latest plans need of the store, also from a collection that runs while no host does."""
        if self._history.folder is None:
            return
        try:
            await asyncio.to_thread(self._hold, self._history.folder)
        except OSError as error:
            log.warning("revisions.not_held", extra={"reason": error.strerror or str(error)})

    def _hold(self, folder: Path) -> None:
        names = set[str]()
        for number in self._history.latest_plans(1 + KEPT_REVISIONS):
            with contextlib.suppress(NoSuchRevision):
                names.update(self._history.archive(number).plan.names)
        self._store.hold(folder, names)
