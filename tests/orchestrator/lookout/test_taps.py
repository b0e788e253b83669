"""A stage is looked at: what it is given and answers, without its values, without holding anything up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from fakes import FakeClock, FakeGeneration
from plans import load_text, routes_for

from isolation.errors import ExitReport, NotSent, WorkerLost
from orchestrator.engine.engine import Engine
from orchestrator.engine.hookcall import HookCall
from orchestrator.engine.wiring import Serving
from orchestrator.lookout.taps import MOST_BYTES, SHOWN_PER_SECOND, Tap, Taps

PIPELINES = """
  p:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act }
      b: { uses: s/act, needs: [a], when: "payload.name == 'echo'" }
"""
PAYLOAD = {"name": "echo", "args": {"q": "a very secret thing"}}
CONTEXT = {"request_id": "r-1", "user": {"email": "bob@example.org"}}
WAIT_SECONDS = 20.0

_T = TypeVar("_T")


class Bench:
    """An engine over a double, its taps, and a clock that the test moves."""

    def __init__(self, folder: Path, pipelines: str = PIPELINES) -> None:
        self.plugin = FakeGeneration()
        self.clock = FakeClock()
        plan = load_text(folder, pipelines).plan
        serving = Serving(routes_for(plan, {"s": self.plugin}, self.clock), plan.unmatched, frozenset(plan.hooks))
        self.engine = Engine(serving, asyncio.get_running_loop(), clock=self.clock)
        self.taps = Taps(self._hang)

    def _hang(self, taps: Taps | None) -> None:
        self.engine.onlooker = taps

    def call(self, answer: object = None, payload: object = PAYLOAD) -> HookCall:
        call = self.engine.submit("tool_pre_invoke", json.dumps(payload).encode(), json.dumps(CONTEXT).encode())
        self.plugin.answer("a", answer)
        return call


@asynccontextmanager
async def tapped(bench: Bench, tap: Tap) -> AsyncIterator[AsyncIterator[dict[str, object]]]:
    with bench.taps.opened(tap):
        async with asyncio.timeout(WAIT_SECONDS):
            yield tap.read()


def run(main: Coroutine[object, object, _T]) -> _T:
    return asyncio.run(main)


def test_values_are_not_shown(tmp_path: Path) -> None:
    async def go() -> dict[str, object]:
        bench = Bench(tmp_path)
        async with tapped(bench, Tap("a", None, values=False)) as seen:
            bench.call({"violation": {"code": "word", "reason": "bob said secret"}, "out": {"n": 3}})
            return await anext(seen)

    seen = run(go())
    assert "secret" not in json.dumps(seen)
    assert "bob" not in json.dumps(seen)
    given = seen["given"]
    assert isinstance(given, dict)
    assert given["payload"] == {"name": "text(4)", "args": {"q": "text(19)"}}
    assert given["context"]["user"]["email"] == "text(15)"
    assert seen["answer"] == {"violation": {"code": "text(4)", "reason": "text(15)"}, "out": {"n": "number"}}
    assert (seen["state"], seen["code"], seen["request_id"], seen["values"]) == ("denied", "word", "r-1", False)


def test_values_are_shown_to_who_asks_for_them(tmp_path: Path) -> None:
    async def go() -> dict[str, object]:
        bench = Bench(tmp_path)
        async with tapped(bench, Tap("a", "p", values=True)) as seen:
            bench.call({"patch": {"args": {"q": "hidden"}}})
            return await anext(seen)

    seen = run(go())
    given = seen["given"]
    assert isinstance(given, dict)
    assert given["payload"] == PAYLOAD
    assert seen["answer"] == {"patch": {"args": {"q": "hidden"}}}


def test_a_stage_that_was_passed_over_or_failed_is_seen_too(tmp_path: Path) -> None:
    async def go() -> list[dict[str, object]]:
        bench = Bench(tmp_path)
        found = []
        async with tapped(bench, Tap("b", None, values=False)) as seen:
            bench.call(payload={**PAYLOAD, "name": "other"})
            found.append(await anext(seen))
            for error in (WorkerLost("w", ExitReport(signal=9)), NotSent("nobody is there")):
                bench.clock.forward(1.0)
                bench.call()
                bench.plugin.fail("b", error)
                found.append(await anext(seen))
        return found

    skipped, lost, unsent = run(go())
    assert (skipped["state"], skipped["why"], skipped["given"]) == ("skipped", "when", None)
    assert (lost["state"], lost["code"], lost["answer"]) == ("failed", "penstock.worker_lost", None)
    assert lost["given"] is not None
    assert unsent["given"] is None


FINALLY = """
  p:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act }
    finally:
      told: { uses: s/act, when: "run.verdict == 'allow'" }
"""


def test_a_stage_of_finally_is_seen_too(tmp_path: Path) -> None:
    async def go() -> list[dict[str, object]]:
        bench, found = Bench(tmp_path, FINALLY), []
        async with tapped(bench, Tap("told", "p", values=True)) as seen:
            bench.call().delivered()
            bench.clock.forward(0.25)
            bench.plugin.answer("finally/told", {"out": {"n": 3}})
            found.append(await anext(seen))
            bench.call({"violation": {"code": "word", "reason": "no"}}).delivered()
            found.append(await anext(seen))
            bench.call().delivered()
            bench.plugin.fail("finally/told", WorkerLost("w", ExitReport(signal=9)))
            found.append(await anext(seen))
        return found

    told, skipped, lost = run(go())
    assert (told["stage"], told["state"], told["attempts"], told["duration_ms"]) == ("told", "succeeded", 1, 250.0)
    given = told["given"]
    assert isinstance(given, dict)
    assert (given["payload"], told["answer"]) == (PAYLOAD, {"out": {"n": 3}})
    assert (skipped["state"], skipped["attempts"], skipped["given"]) == ("skipped", 0, None)
    assert (lost["state"], lost["code"], lost["answer"]) == ("failed", "penstock.worker_lost", None)


def test_of_a_busy_stage_some_calls_are_shown_and_the_rest_is_counted(tmp_path: Path) -> None:
    async def go() -> list[dict[str, object]]:
        bench = Bench(tmp_path)
        async with tapped(bench, Tap("a", None, values=False)) as seen:
            for _ in range(100):
                bench.call()
            bench.clock.forward(1 / SHOWN_PER_SECOND)
            bench.call()
            return [await anext(seen) for _ in range(SHOWN_PER_SECOND + 1)]

    assert [seen["passed"] for seen in run(go())] == [0] * SHOWN_PER_SECOND + [100 - SHOWN_PER_SECOND]


def test_who_reads_too_slowly_is_told_and_holds_up_no_call(tmp_path: Path) -> None:
    async def go() -> tuple[dict[str, object], int]:
        bench = Bench(tmp_path)
        async with tapped(bench, Tap("a", None, values=False)) as seen:
            for _ in range(100):
                bench.call()
                bench.plugin.answer("b")
                bench.clock.forward(1.0)
            found = [await anext(seen) for _ in range(65)]
            return found[-1], bench.engine.under_way

    missed, under_way = run(go())
    assert missed == {"type": "Missed", "count": 36}
    assert under_way == 0


def test_what_is_too_large_is_not_taken_apart(tmp_path: Path) -> None:
    async def go() -> dict[str, object]:
        bench = Bench(tmp_path)
        async with tapped(bench, Tap("a", None, values=True)) as seen:
            bench.call(payload={"name": "x", "args": {"q": "y" * MOST_BYTES}})
            return await anext(seen)

    given = run(go())["given"]
    assert isinstance(given, dict)
    assert str(given["payload"]).endswith("bytes, too many to be taken apart")


@pytest.mark.parametrize(("stage", "pipeline"), [("b", None), ("a", "other")])
def test_other_stages_and_pipelines_are_not_seen(tmp_path: Path, stage: str, pipeline: str | None) -> None:
    async def go() -> bool:
        bench = Bench(tmp_path)
        tap = Tap(stage, pipeline, values=False)
        with bench.taps.opened(tap):
            bench.call({"violation": {"code": "x", "reason": "y"}})
            waiting = asyncio.ensure_future(anext(tap.read()))
            await asyncio.sleep(0)
            done = waiting.done()
            waiting.cancel()
            return done

    assert not run(go())


def test_without_a_tap_no_run_carries_anything(tmp_path: Path) -> None:
    async def go() -> list[object]:
        bench = Bench(tmp_path)
        first, second = Tap("a", None, values=False), Tap("a", None, values=False)
        seen: list[object] = [bench.engine.onlooker]
        with bench.taps.opened(first):
            with bench.taps.opened(second):
                seen.append(bench.engine.onlooker is bench.taps)
            seen.append(bench.engine.onlooker is bench.taps)
        return [*seen, bench.engine.onlooker]

    assert run(go()) == [None, True, True, None]
