"""What is counted of calls, runs and stages: plain ints in one object for each of what they are counted by.

Names come from pipeline files, and files change while a host serves; codes come from plugins. So both are bounded here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from typing import Generic, TypeVar

from orchestrator.faults import CODES
from orchestrator.metrics.distribution import Distribution
from pipelines.plan import StageState

__all__ = [
    "CODES_PER_STAGE",
    "LEFT_BEHIND",
    "OTHER",
    "STATES",
    "VALUES_PER_OUTPUT",
    "VERDICTS",
    "Codes",
    "Kept",
    "PipelineTally",
    "StageTally",
    "Trouble",
    "Verdicts",
]

CODES_PER_STAGE = 20
"""Distinct codes of violations that a stage is counted by; whatever else its plugin says is counted under OTHER."""

VALUES_PER_OUTPUT = 100
"""Distinct values of an output that its manifest has counted; all others are OTHER."""

CODE_CHARACTERS = 64
"""Of a code; a plugin may say anything."""

OTHER = "other"

LEFT_BEHIND = 100
"""Of what stood in earlier revisions, and in none that serves now, so many go on being shown: the newest."""

VERDICTS = ("allow", "modify", "deny")

STATES = tuple(state.value for state in StageState if state not in (StageState.PENDING, StageState.RUNNING))
"""Where a stage may stand when its run has ended."""


class Verdicts(dict[str, int]):
    """How often each verdict was given."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(VERDICTS, 0))


class Codes:
    """Counts by code. The host's own are always told apart, of a plugin's the first `most`."""

    __slots__ = ("_most", "_own", "counts")

    def __init__(self, most: int = CODES_PER_STAGE) -> None:
        self.counts = Counter[str]()
        self._most = most
        self._own = 0

    def count(self, code: str) -> None:
        """Count one."""
        if code not in self.counts and code not in CODES:
            code = self._shown(code)
        self.counts[code] += 1

    def _shown(self, code: str) -> str:
        # A lone surrogate cannot be written as UTF-8, and would cost the whole page.
        shown = code[:CODE_CHARACTERS].encode(errors="replace").decode()
        if shown in self.counts:
            return shown
        if self._own >= self._most:
            return OTHER
        self._own += 1
        return shown


class Trouble:
    """What went wrong in a stage, or in a run outside of every stage. `errors` are counted by class and code."""

    __slots__ = ("denials", "errors", "violations")

    def __init__(self) -> None:
        self.denials = Codes()
        self.violations = Codes()
        self.errors = Counter[tuple[str, str]]()


class StageTally:
    """One stage of a pipeline, whatever hook it runs on.

    `smooth` counts those that succeeded at the first try without a word of trouble, which are nearly all: they are in
    neither `states` nor `attempts` yet.
    """

    __slots__ = ("attempts", "durations", "outputs", "retries", "smooth", "states", "trouble", "undoable", "undos")

    def __init__(self) -> None:
        self.smooth = 0
        self.states = Counter[str]()
        self.attempts = 0
        self.retries = 0
        self.durations = Distribution()
        self.trouble = Trouble()
        self.undos = Counter[str]()
        self.undoable = False
        self.outputs: dict[str, Codes] = {}

    def count_output(self, name: str, value: object) -> None:
        """Count the value of an output, or each of a list; what is no text is not counted."""
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, str):
                if name not in self.outputs:
                    self.outputs[name] = Codes(VALUES_PER_OUTPUT)
                self.outputs[name].count(one)

    @property
    def all_states(self) -> dict[str, int]:
        """How often it ended in each state."""
        smooth = {StageState.SUCCEEDED.value: self.smooth}
        return {state: self.states[state] + smooth.get(state, 0) for state in STATES}

    @property
    def all_attempts(self) -> int:
        """How often its plugin was called."""
        return self.attempts + self.smooth


class PipelineTally:
    """One pipeline, whatever hook it runs on. `trouble` is that of no stage."""

    __slots__ = ("durations", "parked", "trouble")

    def __init__(self) -> None:
        self.durations = Distribution()
        self.trouble = Trouble()
        self.parked = 0


_Key = TypeVar("_Key")
_Tally = TypeVar("_Tally")


class Kept(Generic[_Key, _Tally]):
    """Tallies by key, made when first asked for. `served` says which keys are in service: the others are bounded."""

    def __init__(self, make: Callable[[], _Tally], served: Callable[[], Container[_Key]]) -> None:
        self.all: dict[_Key, _Tally] = {}
        self._make = make
        self._served = served

    def of(self, key: _Key) -> _Tally:
        """Return the tally, and take it for the newest."""
        tally = self.all.pop(key, None)
        is_new = tally is None
        self.all[key] = tally = self._make() if tally is None else tally
        if is_new and len(self.all) > LEFT_BEHIND:
            self._trim()
        return tally

    def _trim(self) -> None:
        served = self._served()
        left = [key for key in self.all if key not in served]
        for key in left[:-LEFT_BEHIND]:
            del self.all[key]
