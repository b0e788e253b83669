"""A journal beside a plain dict: whatever is done to both, closed and killed in between, they hold the same."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from keeper import Keeper, copied, event, row

from orchestrator.journal.errors import EntryRefused, JournalError, KeyTaken
from orchestrator.journal.rows import FINISHED, KEEP, UNFINISHED, EventRow, RunRow, RunStatus, RunUpdate

IDS = st.sampled_from("abcdefgh")
TIMES = st.floats(0, 100)
UPDATES = st.builds(
    RunUpdate,
    status=st.sampled_from(RunStatus) | st.just(KEEP),
    verdict=st.sampled_from(["allow", "deny", None, KEEP]),
    reason=st.text(max_size=3) | st.just(KEEP),
    ended_at=TIMES | st.none() | st.just(KEEP),
    confirm_by=TIMES | st.none() | st.just(KEEP),
    delivered=st.booleans() | st.just(KEEP),
)


def _updated(run: RunRow, update: RunUpdate) -> RunRow:
    names = ("status", "verdict", "reason", "ended_at", "confirm_by", "delivered")
    return replace(run, **{name: getattr(update, name) for name in names if getattr(update, name) is not KEEP})


class JournalModel(RuleBasedStateMachine):
    """Submissions wait in `expected` until somebody settles, so that they come in groups of every size."""

    def __init__(self) -> None:
        super().__init__()
        self._place = tempfile.TemporaryDirectory()
        self._folders = 0
        self.keeper = Keeper(self._folder())
        self.runs: dict[str, RunRow] = {}
        self.events: dict[str, list[EventRow]] = {}
        self.expected: list[type[JournalError] | None] = []

    def _folder(self) -> Path:
        self._folders += 1
        return Path(self._place.name) / str(self._folders)

    def teardown(self) -> None:
        self.settle()
        self.keeper.close()
        self._place.cleanup()

    @rule(run=IDS, key=st.sampled_from([None, "k1", "k2"]), pipeline=st.sampled_from("pq"), body=st.binary(max_size=40))
    def begin(self, run: str, key: str | None, pipeline: str, body: bytes) -> None:
        fresh = row(run, key=key, pipeline=pipeline, body=body)
        first = event(run, 0, body)
        self.keeper.journal.begin(fresh, first, self.keeper.hear)
        taken = key is not None and any((each.pipeline, each.key) == (pipeline, key) for each in self.runs.values())
        if run in self.runs:
            self.expected.append(EntryRefused)
        elif taken:
            self.expected.append(KeyTaken)
        else:
            self.expected.append(None)
            self.runs[run] = replace(fresh, machine=1)
            self.events[run] = [first]

    @rule(run=IDS, ahead=st.sampled_from([1, 1, 1, 1, 0, 2]), update=UPDATES | st.none(), body=st.binary(max_size=40))
    def note(self, run: str, ahead: int, update: RunUpdate | None, body: bytes) -> None:
        seq = self.events[run][-1].seq + ahead if run in self.runs else ahead
        noted = event(run, seq, body)
        self.keeper.journal.note(noted, self.keeper.hear, update=update)
        if run not in self.runs or ahead != 1:
            self.expected.append(EntryRefused)
            return
        self.expected.append(None)
        self.events[run].append(noted)
        if update is not None:
            self.runs[run] = _updated(self.runs[run], update)

    @rule(run=IDS, update=UPDATES)
    def mark(self, run: str, update: RunUpdate) -> None:
        self.keeper.journal.mark(run, update, self.keeper.hear)
        self.expected.append(None if run in self.runs else EntryRefused)
        if run in self.runs:
            self.runs[run] = _updated(self.runs[run], update)

    @rule()
    def settle(self) -> None:
        outcomes = self.keeper.settle(len(self.expected))
        assert [None if one is None else type(one) for one in outcomes] == self.expected
        self.expected.clear()

    @rule(before=TIMES | st.none(), keep=st.integers(0, 4) | st.none())
    def prune(self, before: float | None, keep: int | None) -> None:
        self.settle()
        finished = [run for run in self.runs.values() if run.status in FINISHED]
        kept = finished if keep is None and before is None else finished[len(finished) - (keep or 0) :] if keep else []
        pruned = [
            run.id
            for run in finished
            if run not in kept
            and (before is None or (run.started_at if run.ended_at is None else run.ended_at) < before)
        ]
        assert self.keeper.prune(before, keep) == len(pruned)
        for run in pruned:
            del self.runs[run], self.events[run]

    @rule()
    def rekey(self) -> None:
        before = self.keeper.journal.facts().key_ids
        self.keeper.rekey()
        after = self.keeper.journal.facts().key_ids
        assert len(after) == 1 and after != before

    @rule()
    def reopen(self) -> None:
        self.keeper.close()
        self.settle()
        self.keeper = Keeper(self.keeper.folder)

    @rule()
    def crash(self) -> None:
        self.settle()
        dead = copied(self.keeper.folder, self._folder())
        self.keeper.close()
        self.keeper = Keeper(dead)

    @rule()
    def compare(self) -> None:
        self.settle()
        journal = self.keeper.journal
        assert [*journal.runs()] == [*reversed(self.runs.values())]
        assert [*journal.unfinished()] == [run for run in self.runs.values() if run.status in UNFINISHED]
        for status in RunStatus:
            expected = [run for run in reversed(self.runs.values()) if run.status is status]
            assert [*journal.runs(status=status)] == expected
        for run in "abcdefgh":
            assert journal.run(run) == self.runs.get(run)
            assert [*journal.events(run)] == self.events.get(run, [])

    @invariant()
    def settled_ones_can_be_read(self) -> None:
        if not self.expected:
            counted = self.keeper.journal.facts().runs
            assert sum(counted.values()) == len(self.runs)


TestJournal = JournalModel.TestCase
TestJournal.settings = settings(max_examples=25, stateful_step_count=30)
