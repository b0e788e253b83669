"""The revisions that are alive: the one that serves, the one on trial, and those that drain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.generation import Generation
from orchestrator.reload.change import Change, difference
from orchestrator.reload.outline import Outline
from orchestrator.revisions.revision import Revision
from orchestrator.revisions.trial import Trial

if TYPE_CHECKING:
    from orchestrator.engine.engine import Engine

__all__ = ["Draining", "Living"]


@dataclass(frozen=True, slots=True)
class Draining:
    """A revision that takes no new calls, and the runs that hold it."""

    revision: Revision
    runs: tuple[str, ...]


class Living:
    """`current` serves, of which `engine` has the routes; `leaving` has what drains, by its number."""

    current: Revision
    engine: Engine

    def __init__(self) -> None:
        self.trial: Trial | None = None
        self.leaving: dict[int, Revision] = {}

    def __iter__(self) -> Iterator[Revision]:
        yield self.current
        if self.trial is not None:
            yield self.trial.revision
        yield from self.leaving.values()

    def swap(self, revision: Revision) -> Revision:
        """Give all calls to a revision, in one assignment. Return the one that had them."""
        before, self.current = self.current, revision
        self.engine.serving = revision.serving
        return before

    def change_to(self, outline: Outline) -> tuple[Revision, Change]:
        """What gets to an outline, and from which revision: from the one on trial where that is it already."""
        if self.trial is not None:
            change = difference(self.trial.revision.candidate.outline, outline)
            if change.empty:
                return self.trial.revision, change
        return self.current, difference(self.current.candidate.outline, outline)

    def table(self, generation: Generation) -> dict[str, object]:
        """The configurations of a generation that some revision names."""
        table: dict[str, object] = {}
        for one in self:
            for name, each in one.generations.items():
                if each is generation:
                    table |= one.candidate.handed[name].table
        return table

    @property
    def draining(self) -> tuple[Draining, ...]:
        """What takes no new calls and is needed still, oldest first."""
        return tuple(Draining(one, self.engine.holders(number)) for number, one in sorted(self.leaving.items()))

    @property
    def undo_seconds(self) -> float:
        """The longest that a run of any revision may undo what it did."""
        chains = [chain for one in self for chain in one.loaded.plan.routes.values()]
        return max((each.undo_seconds for chain in chains for each in chain), default=0.0)
