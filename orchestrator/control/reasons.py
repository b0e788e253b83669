"""The command that says why a run came out as it did, found by its id or by that of its request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from orchestrator.contexts import request_id_of
from orchestrator.control.refusal import Actor, Answer
from orchestrator.engine.lasting import Lasting
from orchestrator.lookout.why import ChangesBetween, Record, decisive, differences, explained, no_changes_known
from orchestrator.record.history import NoSuchRun, RunHistory, SeveralRuns
from orchestrator.record.ring import Entry, Ring
from orchestrator.traces import MAX_REQUEST_ID_CHARACTERS

__all__ = ["Asked", "BreakerOf", "Reasons"]

SHOWN_CANDIDATES = 4

MAX_SHOWN_RUNS = 100
"""Of one request: every hook of it and every pipeline of each."""

BreakerOf = Callable[[str, str], Mapping[str, object] | None]
"""How the breaker of a stage stands now, by the pipeline and the stage's id."""


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """A run or a request, by its id or by the end of it."""

    id: str


class Reasons:
    """`open` are the runs that are not over; `changes_between` says what differs between two revisions."""

    def __init__(
        self,
        ring: Ring,
        history: RunHistory,
        open: Mapping[str, Lasting],
        changes_between: ChangesBetween = no_changes_known,
        breaker_of: BreakerOf = lambda pipeline, stage: None,
    ) -> None:
        self._ring = ring
        self._history = history
        self._open = open
        self._changes_between = changes_between
        self._breaker_of = breaker_of

    async def why(self, asked: Asked, _: Actor) -> Answer:
        """The answer to `why`. Raises NoSuchRun, SeveralRuns and JournalError."""
        remembered = list(self._ring.entries())
        ids = self._of_request(asked.id, remembered)
        if not ids:
            try:
                ids = [await self._history.find(asked.id)]
            except NoSuchRun as error:
                ids = self._of_request(self._whole(asked.id, remembered), remembered)
                if not ids:
                    return self._untaken(asked.id, error)
        records = [await self._history.shown(id) for id in ids[:MAX_SHOWN_RUNS]]
        decided = next((one for one in records if one.get("verdict") == "deny"), records[0])
        stage = decisive(decided)
        # What an earlier host wrote is decoded for this, thousands of runs in the worst case.
        before = None if stage is None else await asyncio.to_thread(_last_allowed, remembered, decided, stage)
        return self._answer(decided, stage, before, [one for one in records if one is not decided])

    def _of_request(self, request: str, remembered: Sequence[Entry]) -> list[str]:
        """The runs of one request, the last to end first."""
        request = request[:MAX_REQUEST_ID_CHARACTERS]
        if not request:
            return []
        under_way = [id for id, run in self._open.items() if request_id_of(run.context) == request]
        ended = [entry.run_id for entry in remembered if entry.request_id == request]
        return list(dict.fromkeys((*under_way, *ended)))

    def _whole(self, text: str, remembered: Sequence[Entry]) -> str:
        """The id of the one request that ends so; "" where there is none. Raises SeveralRuns."""
        found = {entry.request_id for entry in remembered if text and entry.request_id.endswith(text)}
        if len(found) > 1:
            shown = ", ".join(sorted(found)[:SHOWN_CANDIDATES]) + (", ..." if len(found) > SHOWN_CANDIDATES else "")
            raise SeveralRuns(f"{len(found)} requests have an id that ends in {text!r}: {shown}")
        return found.pop() if found else ""

    def _untaken(self, text: str, error: NoSuchRun) -> Answer:
        """What became of a call that left no run. Raises `error` where there was none either."""
        text = text[:MAX_REQUEST_ID_CHARACTERS]
        for call in reversed(self._ring.untaken):
            if text and call.request_id.endswith(text):
                return {
                    "run_id": None,
                    "request_id": call.request_id,
                    "pipeline": None,
                    "hook": call.hook,
                    "verdict": call.verdict,
                    "status": None,
                    "began": round(call.at, 3),
                    "stage": None,
                    "why": "unmatched" if call.code in (None, "penstock.unmatched") else "refused",
                    "code": call.code,
                    "reason": call.reason,
                    "notes": [],
                    "others": [],
                    "last_allowed": None,
                    "changed": [],
                }
        raise error

    def _answer(self, run: Record, stage: str | None, before: Record | None, others: Sequence[Record]) -> Answer:
        answer = explained(run)
        answer["others"] = [
            {name: other.get(name) for name in ("run_id", "pipeline", "hook", "verdict", "status", "began")}
            for other in others
        ]
        answer["last_allowed"], answer["changed"] = None, []
        if before is not None and stage is not None:
            answer["last_allowed"] = _brief(before, stage)
            answer["changed"] = differences(before, run, stage, self._changes_between)
        if answer["why"] == "breaker" and stage is not None:
            answer["breaker"] = self._breaker_of(str(run.get("pipeline")), stage)
        return answer


def _last_allowed(remembered: Sequence[Entry], run: Record, stage: str) -> Record | None:
    """The newest run before this one in which its stage had nothing against it."""
    began = run.get("began")
    before = began if isinstance(began, float | int) else 0.0
    for entry in remembered:
        older = entry.began <= before + 0.001 and entry.run_id != run.get("run_id")  # a record's is rounded
        if older and entry.pipeline == run.get("pipeline") and entry.succeeded(stage):
            return entry.record()
    return None


def _brief(record: Record, stage: str) -> dict[str, object]:
    stages = record.get("stages")
    then = stages.get(stage) if isinstance(stages, Mapping) else None
    told = {name: record.get(name) for name in ("run_id", "request_id", "began", "revision", "verdict")}
    return told | {name: (then or {}).get(name) for name in ("generation", "version", "config", "mode")}
