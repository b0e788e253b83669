"""What is known of runs: the journal and the ring joined, over a real journal and runs of the real engine."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from fakes import FakeGeneration
from plans import load_text

from isolation.call import Call
from isolation.errors import ExitReport, WorkerLost
from orchestrator.clock import LoopClock
from orchestrator.control.commands import RunCommands
from orchestrator.durable.recorder import JournalRecorder
from orchestrator.engine.engine import Engine, Reply
from orchestrator.engine.lasting import Lasting
from orchestrator.engine.traversal import Traversal
from orchestrator.engine.wiring import Route, Serving, routes_of
from orchestrator.journal.awaiting import AwaitedJournal
from orchestrator.journal.journal import Journal
from orchestrator.journal.opening import open_journal
from orchestrator.journal.rows import RunRow
from orchestrator.record.history import NoSuchRun, RunHistory, SeveralRuns, Wanted
from orchestrator.record.records import records_of
from orchestrator.record.ring import Ring
from orchestrator.record.summary import SAID_CHARACTERS, Summary
from orchestrator.resilience.breakers import Breakers
from pipelines.run import MACHINE_VERSION

HOOK = "tool_pre_invoke"
SECRET = "a card number that nobody may keep"
WAIT_SECONDS = 20.0

PIPELINES = """
  plain:
    hook: tool_pre_invoke
    match: "payload.name == 'plain'"
    stages:
      act: { uses: s/act }
      more: { uses: s/act, needs: [act], mode: audit }
  kept:
    hook: tool_pre_invoke
    match: "payload.name == 'kept'"
    durable: true
    confirm_within: 60s
    stages:
      act: { uses: s/act }
"""

_T = TypeVar("_T")
Record = dict[str, object]


class Asked(FakeGeneration):
    """Says when it is handed its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    def submit(self, call: Call) -> None:
        """Keep the call, and say so."""
        super().submit(call)
        self.asked.set()


@dataclass
class Host:
    """An engine with a journal and a ring, and what a command would look at."""

    journal: Journal
    plugin: Asked
    routes: dict[str, tuple[Route, ...]]
    engine: Engine
    ring: Ring = field(default_factory=Ring)

    @property
    def history(self) -> RunHistory:
        return RunHistory(self.ring, self.journal, self.route, self.engine.clock, self.engine.open)

    def route(self, row: RunRow) -> Route | None:
        return next(route for route in self.routes[row.hook] if route.plan.name == row.pipeline)

    def ended(self, run: Traversal) -> None:
        self.ring.add(Summary.of(run))

    async def call(self, name: str, *, confirm: bool = True, **answers: object) -> Reply:
        """Run a call whose stages answer with these; what is not named answers nothing, an error is raised."""
        call = self.engine.submit(HOOK, {"name": name, "args": {"q": SECRET}})
        while not call.reply.done():
            for stage in self.plugin.waiting:
                answer = answers.get(stage)
                if isinstance(answer, WorkerLost):
                    self.plugin.fail(stage, answer)
                else:
                    self.plugin.answer(stage, answer)
            await asyncio.sleep(0)
        reply = call.reply.result()
        call.delivered()
        for run in reply.runs:
            if isinstance(run, Lasting) and not run.over and confirm:
                over: asyncio.Future[Lasting] = asyncio.get_running_loop().create_future()
                run.hear(over.set_result)
                run.confirm()
                await over
        return reply


def hosted(folder: Path, story: Callable[[Host], Coroutine[object, object, _T]]) -> _T:
    """Tell a story with a host over this folder."""

    async def bounded() -> _T:
        async with asyncio.timeout(WAIT_SECONDS), host_of(folder) as host:
            return await story(host)

    return asyncio.run(bounded())


@asynccontextmanager
async def host_of(folder: Path) -> AsyncIterator[Host]:
    loop = asyncio.get_running_loop()
    plan = load_text(folder, PIPELINES).plan
    plugin = Asked()
    routes = routes_of(plan.routes, {"s": plugin}, Breakers(lambda: 0.0), lambda low, high: low, "plan")
    with open_journal(folder / "state", loop=loop, machine=MACHINE_VERSION) as journal:
        await AwaitedJournal(journal).put_plan("plan", b"a plan")
        engine = Engine(Serving(routes, plan.unmatched, frozenset(plan.hooks)), loop, clock=LoopClock(loop))
        engine.recorder = JournalRecorder(journal, engine.clock, lambda run: None)
        host = Host(journal, plugin, routes, engine)
        engine._ended = host.ended
        yield host


def test_the_list_is_the_journal_and_the_ring_newest_first_each_run_once(tmp_path: Path) -> None:
    async def story(host: Host) -> list[Record]:
        for name in ("plain", "kept", "plain", "kept"):
            await host.call(name)
        return await host.history.listed(Wanted())

    records = hosted(tmp_path, story)
    assert [record["pipeline"] for record in records] == ["kept", "plain", "kept", "plain"]
    assert len({record["run_id"] for record in records}) == 4
    assert {record["status"] for record in records} == {"completed"}


def test_after_a_kill_the_journal_alone_still_lists_and_shows(tmp_path: Path) -> None:
    """The ring is a memory, and gone; how long stages took nobody knows any more."""

    async def first(host: Host) -> str:
        reply = await host.call("kept", act={"violation": {"code": "no", "reason": "never"}})
        return reply.runs[0].id

    async def second(host: Host) -> tuple[list[Record], Record]:
        return await host.history.listed(Wanted()), await host.history.shown(run)

    run = hosted(tmp_path, first)
    (listed,), shown = hosted(tmp_path, second)
    assert (listed["run_id"], listed["verdict"], listed["reason"]) == (run, "deny", "no")
    assert (shown["verdict"], shown["violation"]) == ("deny", {"code": "no", "reason": "never"})
    assert shown["payload"] == {"name": "kept", "args": {"q": SECRET}}
    assert [event["kind"] for event in shown["events"]] == ["begin", "settled", "answered"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(limit=2), ["kept deny", "plain deny"]),
        (Wanted(pipeline="plain"), ["plain deny", "plain allow"]),
        (Wanted(verdict="allow"), ["kept allow", "plain allow"]),
        (Wanted(verdict="deny", pipeline="kept"), ["kept deny"]),
        (Wanted(status="parked"), []),
        (Wanted(status="completed", limit=1), ["kept deny"]),
    ],
)
def test_a_list_holds_what_was_asked_for(tmp_path: Path, wanted: Wanted, expected: list[str]) -> None:
    async def story(host: Host) -> list[Record]:
        for answer in (None, {"violation": {"code": "no", "reason": "never"}}):
            for name in ("plain", "kept"):
                await host.call(name, act=answer)
        return await host.history.listed(wanted)

    assert [f"{record['pipeline']} {record['verdict']}" for record in hosted(tmp_path, story)] == expected


def test_a_run_that_stands_otherwise_in_the_journal_is_not_listed_as_the_ring_has_it(tmp_path: Path) -> None:
    async def story(host: Host) -> tuple[list[Record], list[Record]]:
        reply = await host.call("kept")
        run = reply.runs[0].id
        await asyncio.to_thread(
            _alter, tmp_path, "UPDATE run SET status = 'parked', reason = 'why not' WHERE id = ?", run
        )
        return await host.history.listed(Wanted(status="completed")), await host.history.listed(Wanted(status="parked"))

    completed, (parked,) = hosted(tmp_path, story)
    assert completed == []
    assert parked["reason"] == "why not"


def test_a_run_that_waits_for_its_caller_is_known(tmp_path: Path) -> None:
    async def story(host: Host) -> tuple[list[Record], Record]:
        reply = await host.call("kept", confirm=False)
        run = reply.runs[0].id
        listed = await host.history.listed(Wanted(status="confirming"))
        return listed, await host.history.shown(await host.history.find(run[-4:]))

    (listed,), shown = hosted(tmp_path, story)
    assert listed["run_id"] == shown["run_id"]
    assert (shown["status"], shown["verdict"]) == ("confirming", "allow")


def test_a_run_without_a_verdict_says_so(tmp_path: Path) -> None:
    async def story(host: Host) -> Record:
        call = host.engine.submit(HOOK, {"name": "kept", "args": {}})
        await host.plugin.asked.wait()
        shown = await host.history.shown(call.runs[0].id)
        host.plugin.answer("act")
        await call.reply
        return shown

    shown = hosted(tmp_path, story)
    assert (shown["status"], shown["verdict"], shown["duration_ms"]) == ("running", None, None)


def test_a_damaged_run_is_listed_as_unreadable_and_costs_no_other(tmp_path: Path) -> None:
    async def first(host: Host) -> list[str]:
        return [(await host.call("kept")).runs[0].id for _ in range(3)]

    async def second(host: Host) -> tuple[list[Record], list[Record], Record, Record]:
        history = host.history
        unreadable = await history.listed(Wanted(status="unreadable"))
        return await history.listed(Wanted()), unreadable, await history.shown(runs[1]), await history.shown(runs[0])

    runs = hosted(tmp_path, first)
    _alter(tmp_path, "UPDATE run_body SET body = x'00' WHERE number = (SELECT number FROM run WHERE id = ?)", runs[1])
    listed, unreadable, shown, whole = hosted(tmp_path, second)
    assert [record["status"] for record in listed] == ["completed", "unreadable", "completed"]
    assert [record["run_id"] for record in unreadable] == [runs[1]]
    assert (shown["status"], shown["pipeline"]) == ("unreadable", "kept")
    assert shown["reason"]
    assert "unread" not in whole


def test_a_run_whose_plan_is_not_to_be_had_shows_what_a_human_needs(tmp_path: Path) -> None:
    async def story(host: Host) -> Record:
        reply = await host.call("kept")
        history = RunHistory(Ring(), host.journal, lambda row: None, host.engine.clock, {})
        return await history.shown(reply.runs[0].id)

    shown = hosted(tmp_path, story)
    assert str(shown["unread"]).startswith("its plan is not to be had")
    assert shown["payload"] == {"name": "kept", "args": {"q": SECRET}}
    assert shown["status"] == "completed"


def test_an_archived_plan_that_is_damaged_is_not_to_be_had(tmp_path: Path) -> None:
    """`b"a plan"`, which the host of these tests archives, is none."""

    async def story(host: Host) -> object:
        reply = await host.call("kept")
        commands = RunCommands(Ring(), host.journal, host.engine.clock)
        return await commands.perform("runs.show", {"run": reply.runs[0].id})

    shown = hosted(tmp_path, story)
    assert isinstance(shown, dict)
    assert "its plan is not to be had" in shown["unread"]


def test_a_run_is_found_by_the_end_of_its_id_in_either_case(tmp_path: Path) -> None:
    async def story(host: Host) -> None:
        runs = [(await host.call(name)).runs[0].id for name in ("plain", "kept")]
        for run in runs:
            assert await host.history.find(run) == run
            assert await host.history.find(run[-8:].lower()) == run
        with pytest.raises(SeveralRuns, match="2 runs have an id that ends in '': ") as several:
            await host.history.find("")
        assert runs[1] in str(several.value)
        mistyped = f"{runs[0][:-3]}!{runs[0][-2:]}"
        with pytest.raises(NoSuchRun, match=f"did you mean {runs[0]}\\?"):
            await host.history.find(mistyped)
        with pytest.raises(NoSuchRun, match=r"or one that ends so$"):
            await host.history.find("NEVERHEARDOFIT")

    hosted(tmp_path, story)


def test_what_run_shows_holds_all_that_stays_with_the_same_values(tmp_path: Path) -> None:
    """A program that reads `penstock run --json` and `penstock runs list --json` finds the same fields in both."""
    answers = (
        {"act": None},
        {"act": {"patch": {"args": {"q": "x"}}, "out": {"n": 1}}},
        {"act": {"violation": {"code": "no", "reason": "never"}}},
        {"act": WorkerLost("s#1", ExitReport(signal=9))},
        {"more": {"violation": {"code": "seen", "reason": "only noted"}}},
    )

    async def story(host: Host) -> list[tuple[Record, Record]]:
        pairs = []
        for name in ("plain", "kept"):
            for answer in answers:
                (record,) = records_of(await host.call(name, **answer))
                entry = host.ring.find(str(record["run_id"]))
                assert entry is not None
                pairs.append((entry.record(), record))
        return pairs

    for kept, whole in hosted(tmp_path, story):
        assert _within(kept, whole)


def _within(part: object, whole: object) -> bool:
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and _within(value, whole[name]) for name, value in part.items())
    return part == whole


def test_what_stays_of_a_run_holds_no_payload(tmp_path: Path) -> None:
    """Neither in memory nor in its file, also where a plugin quotes what it saw."""
    quoted = f"I saw\n{SECRET}"
    long = "x" * 5000

    async def story(host: Host) -> list[Record]:
        violation = {
            "code": "no",
            "reason": quoted,
            "description": SECRET,
            "details": {"seen": SECRET},
            "http_headers": {"X-Seen": SECRET},
        }
        whole = {"name": "plain", "args": {"q": SECRET + "!"}}
        await host.call("plain", act={"payload": whole, "out": {"note": SECRET}})
        await host.call("plain", act={"violation": violation})
        await host.call("plain", act=WorkerLost("s#1", ExitReport(signal=9, stderr=SECRET)))
        await host.call("plain", more={"violation": violation})
        await host.call("plain", act={"violation": {"code": "no", "reason": long}})
        host.ring.save(tmp_path / "runs.jsonl")
        for entry in host.ring.entries():
            assert isinstance(entry, Summary)
            assert SECRET not in repr(entry)
        return [entry.record() for entry in host.ring.entries()]

    records = hosted(tmp_path, story)
    assert len(records) == 5
    assert SECRET not in json.dumps(records)
    assert SECRET.encode() not in (tmp_path / "runs.jsonl").read_bytes()
    violation = records[0]["violation"]
    assert isinstance(violation, dict)
    assert violation["reason"] == "x" * (SAID_CHARACTERS - 1) + "…"


def _alter(folder: Path, statement: str, run: str) -> None:
    with closing(sqlite3.connect(folder / "state" / "journal.db")) as connection, connection:
        connection.execute(statement, (run,))
