"""What must hold when nothing is left to do: the journal and what callers heard, against the ledger outside."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lives import Told

from orchestrator.clock import LoopClock
from orchestrator.journal.errors import Unreadable
from orchestrator.journal.opening import open_journal
from orchestrator.record.history import RunHistory
from orchestrator.record.ring import Ring
from orchestrator.record.unmanned import UnmannedRoutes
from pipelines.plan import StagePlan
from pipelines.run import MACHINE_VERSION

__all__ = ["Kept", "Ledger", "Run", "check", "check_delivery", "runs_of"]

OVER = ("completed", "undone", "parked")
RESUMED = ("resumed", "earlier")
"""The pipelines with `recover: resume`."""

MANY = 1_000_000


@dataclass
class Ledger:
    """What really happened: for each key of a call the places in the file of its effect and of its undo."""

    did: dict[str, int] = field(default_factory=dict)
    undid: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read it; an effect that happened twice, or was undone twice or before it happened, is an error at once."""
        ledger = cls()
        for place, line in enumerate(map(json.loads, path.read_text().splitlines())):
            key, what = line["key"], line["what"]
            into = ledger.did if what == "do" else ledger.undid
            assert key not in into, f"{key}: a second {what}"
            assert what == "undo" or key not in ledger.undid, f"{key} was done after it had been undone"
            into[key] = place
        return ledger

    def kept(self, key: str) -> bool:
        """Whether the effect is there."""
        return key in self.did and key not in self.undid


@dataclass(frozen=True)
class Kept:
    """An effect that can be undone, as the journal has it."""

    key: str
    effect: str
    undo: dict[str, object] | None
    ancestors: tuple[str, ...]

    @property
    def parked(self) -> bool:
        """Whether its undo is left to a human, who has all that he needs for it."""
        undo = self.undo
        if undo is None or undo["state"] != "parked":
            return False
        assert (undo["undoes"], undo["key"]) == (self.key, f"{self.key}/undo")
        assert undo["plugin"] == "shop" and undo["stage"] in ("release", "refund")
        assert isinstance(undo["input"], dict) and set(undo["input"]) == {"receipt"}
        assert undo["error"] is not None
        return True


@dataclass(frozen=True)
class Run:
    """One run of the journal, as `penstock runs show` has it."""

    record: dict[str, object]
    key: str | None
    effects: tuple[Kept, ...]

    def __getattr__(self, name: str) -> object:
        return self.record[name]

    @property
    def id(self) -> str:
        return str(self.record["run_id"])

    @property
    def stages(self) -> Iterator[str]:
        """The keys of all stages, those of `finally` too."""
        for place, prefix in (("stages", ""), ("finally", "finally/")):
            names = self.record[place]
            assert isinstance(names, dict)
            yield from (f"{self.id}/{prefix}{name}" for name in names)


def runs_of(state: Path) -> dict[str, Run]:
    """Every run of a journal that nobody has open."""
    loop = asyncio.new_event_loop()
    try:
        with open_journal(state, loop=loop, machine=MACHINE_VERSION) as journal:
            routes = UnmannedRoutes(journal)
            history = RunHistory(Ring(), journal, routes, LoopClock(loop), {})
            found: dict[str, Run] = {}
            for row in journal.runs(limit=MANY):
                assert not isinstance(row, Unreadable)
                record, route = loop.run_until_complete(history.shown(row.id)), routes(row)
                assert route is not None and "unread" not in record, record
                found[row.id] = Run(record, row.key, tuple(_effects(record, route.plan.stages)))
            return found
    finally:
        loop.close()


def _effects(record: dict[str, object], plans: tuple[StagePlan, ...]) -> Iterator[Kept]:
    stages = record["stages"]
    assert isinstance(stages, dict)
    for plan in plans:
        if plan.undo is not None:
            shown = stages[plan.id]
            before = tuple(f"{record['run_id']}/{one.id}" for one in plans if plan.ancestors >> one.index & 1)
            yield Kept(f"{record['run_id']}/{plan.id}", shown["effect"], shown["undo"], before)


def check(runs: dict[str, Run], ledger: Ledger, told: Told) -> None:
    """Every promise about runs whose host may be killed at any moment."""
    assert all(run.status in OVER for run in runs.values()), "a run was forgotten"
    known = {key for run in runs.values() for key in run.stages}
    assert set(ledger.did) <= known, "an effect of no run"
    for run in runs.values():
        _check_effects(run, ledger)
        _check_order(run, ledger)
        _check_finally(run, ledger)
    _check_answers(runs, ledger, told)
    _check_keys(runs, told)


def _check_effects(run: Run, ledger: Ledger) -> None:
    allowed = run.verdict in ("allow", "modify")
    for effect in run.effects:
        stands = f"{effect.key} of a run that is {run.verdict}, {run.status} ({run.reason}): {effect.undo}"
        if ledger.kept(effect.key):
            assert effect.parked or (allowed and run.status == "completed"), f"kept: {stands}"
            assert run.status == "parked" or not effect.parked, f"parked and not said: {stands}"
        elif effect.key in ledger.undid:
            assert run.status != "completed", f"undone: {stands}"


def _check_order(run: Run, ledger: Ledger) -> None:
    for effect in run.effects:
        mine = ledger.undid.get(effect.key)
        for ancestor in effect.ancestors:
            theirs = ledger.undid.get(ancestor)
            assert mine is None or theirs is None or mine < theirs, f"{ancestor} was undone before {effect.key}"
            # What waits for a parked undo is not begun.
            assert theirs is None or not ledger.kept(effect.key), f"{ancestor} was undone, {effect.key} is kept"


def _check_finally(run: Run, ledger: Ledger) -> None:
    finals = run.record["finally"]
    assert isinstance(finals, dict)
    assert bool(finals) == (run.pipeline == "closing"), f"{run.id}: its `finally` was not performed"
    for name, final in finals.items():
        assert final["state"] != "succeeded" or f"{run.id}/finally/{name}" in ledger.did


def _check_answers(runs: dict[str, Run], ledger: Ledger, told: Told) -> None:
    for line in told.having("heard"):
        ids = line["runs"]
        assert isinstance(ids, list)
        for run in (runs[id] for id in ids if id in runs):
            # What was never written down is not known to the next host, which goes on with what it is to resume.
            is_unwritten = line["code"] == "penstock.journal" and run.pipeline in RESUMED
            if line["heard"] == "deny" and not is_unwritten:
                kept = [effect.key for effect in run.effects if ledger.kept(effect.key) and not effect.parked]
                assert not kept, f"denied to its caller, and kept: {kept}"
        # What was allowed is in the journal; a denial may be of a run that never began.
        assert line["heard"] == "deny" or all(id in runs for id in ids)
    for line in told.having("confirmed"):
        if line["really"]:
            run = runs[str(line["confirmed"])]
            lost = [effect.key for effect in run.effects if not ledger.kept(effect.key)]
            assert run.status == "completed" and not lost, f"confirmed, and undone: {lost}"
    for line in told.having("compensated"):
        run = runs[str(line["compensated"])]
        assert run.status in ("undone", "parked"), f"{run.id} was to be undone and is {run.status}"


def check_delivery(runs: dict[str, Run], told: Told) -> None:
    """What was allowed and never heard of is undone, unless its caller may come back for it with a key."""
    heard = {id for line in told.having("heard") for id in line["runs"]}  # type: ignore[attr-defined]  # a list
    for run in runs.values():
        if run.status == "completed" and run.verdict != "deny" and run.pipeline not in RESUMED:
            assert run.id in heard, f"{run.id} was allowed, and kept although nobody ever heard of it"


def _check_keys(runs: dict[str, Run], told: Told) -> None:
    """That a stage of a run has its effect once, the ledger has shown; so a key must not have two runs."""
    keyed = [(run.pipeline, run.key) for run in runs.values() if run.key is not None]
    assert len(keyed) == len(set(keyed))
    verdicts = defaultdict(set)
    for line in told.having("heard"):
        # A journal that takes nothing has no run to come back to.
        if line["key"] is not None and line["code"] != "penstock.journal":
            verdicts[line["key"]].add((line["heard"], line["code"], *line["runs"]))  # type: ignore[misc]  # a list
    different = {key: heard for key, heard in verdicts.items() if len(heard) > 1}
    assert not different, f"one key, several answers: {different}"
