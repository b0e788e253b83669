"""Routes without workers, for looking at runs: everything of a plan but somebody who could be called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from isolation.call import Call
from isolation.errors import NotSent
from isolation.spec import WorkerSpec
from orchestrator.engine.wiring import Route, routes_of
from orchestrator.journal.errors import JournalError
from orchestrator.journal.journal import Journal
from orchestrator.journal.rows import RunRow
from orchestrator.resilience.breakers import Breakers
from orchestrator.revisions.archive import read_archive
from pipelines.problem import SpecError

__all__ = ["UnmannedRoutes"]


@dataclass(frozen=True, slots=True)
class _Nobody:
    """A generation without workers."""

    spec: WorkerSpec

    def submit(self, call: Call) -> None:
        call.reject(NotSent(f"{self.spec.plugin} is not started, only looked at"))

    def cancel(self, call: Call) -> None:
        call.settle()


class UnmannedRoutes:
    """Makes each archived plan of a journal once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._made: dict[str, Mapping[str, tuple[Route, ...]]] = {}

    def __call__(self, row: RunRow) -> Route | None:
        """The route of a run; None where its plan cannot be made again."""
        if row.plan not in self._made:
            self._made[row.plan] = self._make(row.plan)
        routes = self._made[row.plan].get(row.hook, ())
        return next((route for route in routes if route.plan.name == row.pipeline), None)

    def _make(self, digest: str) -> Mapping[str, tuple[Route, ...]]:
        try:
            body = self._journal.plan(digest)
            if body is None:
                return {}
            archive = read_archive(body)
            loaded = archive.load()
        except (JournalError, SpecError, msgspec.DecodeError):
            return {}
        nobody = {
            name: _Nobody(WorkerSpec.of(name, loaded.manifests[name], plugin.prepared, os.environ))
            for name, plugin in archive.plugins.items()
        }
        return routes_of(loaded.plan.routes, nobody, Breakers(lambda: 0.0), lambda low, high: low, digest)
