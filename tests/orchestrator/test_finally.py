"""`finally` in a run: after the answer and after undo, once, side by side, and nothing of it changes the verdict."""

from __future__ import annotations

import pytest
from surviving import PAYLOAD, VIOLATION, Bench, code_of, lost

from isolation.errors import CallError, DeadlineExceeded, NotSent, PluginBusy, PluginError
from orchestrator.engine.hookcall import HookCall
from orchestrator.engine.lasting import Lasting
from pipelines.plan import StageState

TEXT = """
  p:
    hook: tool_pre_invoke
    deadline: 5s
    durable: false
    stages:
      a: {{ uses: s/reserve, compensate: {{ uses: s/release, retry: none }} }}
      b: {{ uses: s/act, needs: [a] }}
    finally:
      last: {{ uses: s/act, {last} }}
      also: {{ uses: s/act, timeout: 1s }}
"""


def text(last: str = "timeout: 1s") -> str:
    return TEXT.format(last=last)


def records(call: HookCall) -> dict[str, StageState]:
    run = call.runs[0]
    assert isinstance(run, Lasting)
    return {record.id: record.state for record in run.finally_.records}


def over(call: HookCall) -> bool:
    run = call.runs[0]
    assert isinstance(run, Lasting)
    return run.over


def allowed(bench: Bench, last: str = "timeout: 1s") -> HookCall:
    call = bench.call(text(last))
    bench.answer("a", {"patch": {"args": {"q": "x"}}})
    bench.answer("b")
    return call


def test_it_comes_after_the_answer_and_side_by_side(bench: Bench) -> None:
    call = allowed(bench)
    assert call.reply.result().verdict == "modify"
    assert bench.plugin.waiting == [], "not before the verdict is delivered"
    call.delivered()
    assert bench.plugin.waiting == ["finally/last", "finally/also"]
    bench.answer("finally/also")
    assert not over(call)
    bench.answer("finally/last")
    assert over(call)
    assert records(call) == {"last": StageState.SUCCEEDED, "also": StageState.SUCCEEDED}
    assert bench.engine.open == {}


def test_it_comes_after_undo(bench: Bench) -> None:
    call = bench.call(text())
    bench.answer("a")
    bench.answer("b", VIOLATION)
    assert call.reply.done()
    assert bench.plugin.waiting == ["a/undo"]
    bench.answer("a/undo")
    assert bench.plugin.waiting == ["finally/last", "finally/also"]


def test_a_parked_undo_does_not_keep_it_waiting(bench: Bench) -> None:
    bench.call(text())
    bench.answer("a")
    bench.answer("b", VIOLATION)
    bench.fail("a/undo", PluginError("broken"))
    assert bench.plugin.waiting == ["finally/last", "finally/also"]


def test_it_is_performed_once_however_often_the_run_is_undone(bench: Bench) -> None:
    call = allowed(bench)
    call.delivered()
    for stage in ("finally/last", "finally/also"):
        bench.answer(stage)
    run = call.runs[0]
    assert isinstance(run, Lasting)
    assert run.revoke("by command")
    bench.answer("a/undo")
    assert run.over
    assert bench.tried("finally/last") == [1]


def test_it_sees_the_verdict_and_what_the_stages_left(bench: Bench) -> None:
    given = '{ verdict: "${run.verdict}", code: "${run.code}", id: "${run.id}", n: "${stages.a.out.n}" }'
    call = allowed(bench, f"timeout: 1s, in: {given}")
    call.delivered()
    last = bench.plugin.find("finally/last")
    assert last.input == {"verdict": "modify", "code": "", "id": "run1", "n": None}
    assert last.payload == {"name": "echo", "args": {"q": "x"}}
    assert last.call.invocation.key == b"run1/finally/last"


def test_of_a_denied_run_it_sees_why_and_the_payload_as_it_came(bench: Bench) -> None:
    bench.call(text('timeout: 1s, in: { code: "${run.code}", reason: "${run.reason}" }'))
    bench.answer("a", {"patch": {"args": {"q": "x"}}})
    bench.answer("b", VIOLATION)
    bench.answer("a/undo")
    last = bench.plugin.find("finally/last")
    assert last.input == {"code": "blocked", "reason": "a word"}
    assert last.payload == PAYLOAD


def test_when_says_whether_it_runs(bench: Bench) -> None:
    call = allowed(bench, "timeout: 1s, when: \"run.verdict == 'deny'\"")
    call.delivered()
    assert bench.plugin.waiting == ["finally/also"]
    bench.answer("finally/also")
    assert records(call) == {"last": StageState.SKIPPED, "also": StageState.SUCCEEDED}


def test_a_condition_that_cannot_be_worked_out_skips_it_and_says_so(bench: Bench) -> None:
    call = allowed(bench, "timeout: 1s, when: \"payload.args.k == 'x'\"")
    call.delivered()
    bench.answer("finally/also")
    assert records(call)["last"] is StageState.SKIPPED
    run = call.runs[0]
    assert isinstance(run, Lasting)
    fault = next(record.fault for record in run.finally_.records if record.id == "last")
    assert fault is not None
    assert fault.code == "penstock.expression"


@pytest.mark.parametrize(
    "error", [lost(), NotSent("no worker"), PluginBusy("full"), PluginError("broken"), DeadlineExceeded("late")]
)
def test_whatever_becomes_of_it_the_verdict_stays(bench: Bench, error: CallError) -> None:
    call = allowed(bench)
    call.delivered()
    bench.fail("finally/last", error)
    bench.answer("finally/also", VIOLATION)
    assert over(call)
    run = call.runs[0]
    assert run.verdict == call.reply.result().verdict == "modify"
    assert records(call) == {"last": StageState.FAILED, "also": StageState.SUCCEEDED}


@pytest.mark.parametrize(
    "answer", [{"patch": {"name": "y"}}, {"state": {"k": 1}}, {"violation": VIOLATION["violation"]}]
)
def test_whatever_it_answers_changes_nothing(bench: Bench, answer: object) -> None:
    call = allowed(bench)
    before = call.reply.result().payload
    call.delivered()
    bench.answer("finally/last", answer)
    bench.answer("finally/also")
    assert call.runs[0].payload.raw == before
    assert not call.runs[0].denied


def test_it_has_its_own_timeout_and_retries_and_not_what_the_run_has_left(bench: Bench) -> None:
    call = allowed(bench, "timeout: 1s, retry: { attempts: 2, backoff: { initial: 100ms, jitter: none }, on: [Busy] }")
    bench.clock.forward(4.5)
    call.delivered()
    first = bench.plugin.find("finally/last").call
    assert first.deadline - bench.clock.now() == pytest.approx(1.0)
    bench.fail("finally/last", PluginBusy("full"))
    bench.forward(0.1)
    assert bench.tried("finally/last") == [1, 2]


def test_a_pipeline_without_undo_has_it_too(bench: Bench) -> None:
    stages = "    stages:\n      a: { uses: s/act }\n    finally:\n      z: { uses: s/act }\n"
    call = bench.call(f"  p:\n    hook: tool_pre_invoke\n{stages}")
    bench.answer("a", VIOLATION)
    assert code_of(call.reply.result()) == "blocked"
    assert bench.plugin.waiting == ["finally/z"]
    bench.answer("finally/z")
    assert over(call)


def test_it_is_performed_again_by_a_host_that_cannot_know_whether_it_was(bench: Bench) -> None:
    call = bench.call(text().replace("durable: false", "durable: true"))
    bench.answer("a")
    bench.answer("b")
    call.delivered()
    bench.journal.settle()
    bench.plugin.answer("finally/last")
    bench.restart()
    assert bench.plugin.waiting == ["finally/last", "finally/also"], "at least once"
    for stage in ("finally/last", "finally/also"):
        bench.answer(stage)
    assert bench.restart() == []
