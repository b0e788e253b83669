"""One revision: a plan with its generations, as it was put into service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isolation.generation import Generation
from isolation.store.store import Prepared
from orchestrator.engine.wiring import Serving
from orchestrator.generations import Wanted, wanted_of
from orchestrator.loading import Loaded
from orchestrator.reload.outline import Outline
from orchestrator.secrets import Handover

__all__ = ["Candidate", "Revision"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A plan whose plugins the store has prepared, and nothing started. Its leases of the store are its holder's."""

    loaded: Loaded
    prepared: Mapping[str, Prepared]
    handed: Mapping[str, Handover]
    outline: Outline

    @property
    def wanted(self) -> dict[str, Wanted]:
        """The generations that it asks for, by the plugin's name in the file."""
        return wanted_of(self.loaded, self.prepared, self.handed)


@dataclass(frozen=True, slots=True, eq=False)
class Revision:
    """`number` counts from 1 in each state folder; `began` is when it was put into service, in seconds since 1970.

    `of` is the revision whose plan it has again, itself where the plan was new.
    """

    number: int
    candidate: Candidate
    generations: Mapping[str, Generation]
    serving: Serving
    origin: str
    by: str
    began: float
    of: int

    @property
    def loaded(self) -> Loaded:
        """Its checked file."""
        return self.candidate.loaded
