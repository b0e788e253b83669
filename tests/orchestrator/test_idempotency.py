"""Idempotency keys: one key is answered by the run that has it, and nobody undoes what another caller confirmed."""

from __future__ import annotations

from surviving import PAYLOAD, VIOLATION, Bench, code_of

from orchestrator.engine.lasting import Lasting
from orchestrator.journal.rows import RunStatus

ONE = """
  p:
    hook: tool_pre_invoke
    deadline: 5s
    durable: true
    recover: resume
    {under}
    stages:
      a: {{ uses: s/reserve, compensate: {{ uses: s/release }} }}
"""
PLAIN = ONE.format(under="")
SECOND = "  q:\n    hook: tool_pre_invoke\n    stages:\n      c: { uses: s/act }\n"


def undone(bench: Bench) -> list[str]:
    return [handed.stage for handed in bench.plugin.handed if handed.stage.endswith("/undo")]


def test_a_pipeline_that_resumes_takes_no_call_without_a_key(bench: Bench) -> None:
    call = bench.call(PLAIN)
    assert code_of(call.reply.result()) == "penstock.key_required"
    assert bench.plugin.handed == []
    assert bench.engine.open == {}


def test_a_second_call_joins_the_run_that_is_under_way(bench: Bench) -> None:
    first = bench.call(PLAIN, key="k")
    second = bench.submit("k")
    assert not second.reply.done()
    assert bench.tried("a") == [1]
    bench.answer("a", {"patch": {"args": {"q": "x"}}})
    assert first.reply.result().verdict == second.reply.result().verdict == "modify"
    assert first.reply.result().run_id == second.reply.result().run_id
    assert bench.engine.under_way == 0


def test_a_later_call_gets_the_verdict_that_is_stored(bench: Bench) -> None:
    first = bench.call(PLAIN, key="k")
    bench.answer("a", {"patch": {"args": {"q": "x"}}})
    first.delivered()
    bench.journal.settle()
    assert bench.engine.open == {}
    again = bench.submit("k").reply.result()
    assert (again.verdict, again.payload, again.run_id) == ("modify", first.reply.result().payload, "run1")
    assert bench.tried("a") == [1]


def test_a_stored_denial_is_given_again_with_its_violation(bench: Bench) -> None:
    first = bench.call(PLAIN, key="k")
    bench.answer("a", VIOLATION)
    again = bench.submit("k").reply.result()
    assert (code_of(again), again.violation) == ("blocked", first.reply.result().violation)


def test_the_key_of_another_call_is_refused(bench: Bench) -> None:
    bench.call(PLAIN, key="k")
    other = bench.submit("k", {"name": "other"})
    assert code_of(other.reply.result()) == "penstock.key_conflict"
    bench.answer("a")
    assert bench.tried("a") == [1]


def test_other_keys_are_other_runs(bench: Bench) -> None:
    bench.call(PLAIN, key="k")
    bench.submit("l")
    assert bench.tried("a") == [1, 1]
    assert len(bench.journal.rows) == 2


def test_a_key_survives_the_host(bench: Bench) -> None:
    first = bench.call(PLAIN, key="k")
    bench.answer("a")
    first.delivered()
    bench.journal.settle()
    bench.restart()
    assert bench.submit("k").reply.result().run_id == "run1"
    assert bench.plugin.handed == []


def test_a_caller_that_leaves_may_come_back_for_its_verdict(bench: Bench) -> None:
    bench.call(PLAIN, key="k").abandon()
    assert bench.plugin.cancelled == [], "the run goes on"
    bench.answer("a")
    back = bench.submit("k")
    assert back.reply.result().verdict == "allow"
    back.delivered()
    bench.forward(100.0)
    assert undone(bench) == []


def test_a_caller_that_never_comes_back_has_everything_undone(bench: Bench) -> None:
    bench.call(PLAIN, key="k").abandon()
    bench.answer("a")
    bench.forward(5.0)
    assert undone(bench) == ["a/undo"]
    bench.answer("a/undo")
    assert code_of(bench.submit("k").reply.result()) == "penstock.revoked"


def test_a_second_caller_that_leaves_undoes_nothing_that_the_first_confirmed(bench: Bench) -> None:
    first = bench.call(PLAIN, key="k")
    bench.answer("a")
    first.delivered()
    bench.journal.settle()
    bench.submit("k").abandon()
    bench.forward(100.0)
    assert undone(bench) == []
    assert [row.status for row in bench.journal.rows.values()] == [RunStatus.COMPLETED]


def test_a_later_pipeline_that_denies_a_repeated_call_undoes_nothing_that_was_confirmed(bench: Bench) -> None:
    first = bench.call(PLAIN + SECOND, key="k")
    bench.answer("a")
    bench.answer("c")
    first.delivered()
    bench.journal.settle()
    second = bench.submit("k")
    bench.answer("c", VIOLATION)
    assert second.reply.result().verdict == "deny"
    bench.forward(100.0)
    assert undone(bench) == []


def test_a_second_caller_waits_no_longer_than_its_own_deadline(bench: Bench) -> None:
    first = bench.call(PLAIN, key="k")
    second = bench.engine.submit("tool_pre_invoke", PAYLOAD, idempotency_key="k", within_seconds=1.0)
    bench.journal.settle()
    bench.forward(1.0)
    assert code_of(second.reply.result()) == "penstock.timeout"
    bench.answer("a")
    assert first.reply.result().verdict == "allow"
    first.delivered()
    bench.forward(100.0)
    assert undone(bench) == [], "it belongs to the first"


def test_a_run_that_cannot_be_read_back_denies(bench: Bench) -> None:
    first = bench.call(PLAIN, key="k")
    bench.answer("a")
    first.delivered()
    bench.journal.settle()
    del bench.journal.entries["run1"][2:]
    bench.journal.entries["run1"][1] = bench.journal.entries["run1"][0]
    second = bench.submit("k")
    assert code_of(second.reply.result()) == "penstock.internal"


def test_a_mocked_call_is_not_journaled_and_takes_no_key(bench: Bench) -> None:
    engine = bench.serve(PLAIN)
    call = engine.submit("tool_pre_invoke", PAYLOAD, mocks={"a": {}}, idempotency_key="k")
    assert call.reply.result().verdict == "allow"
    assert bench.journal.rows == {}
    assert bench.journal.held == []
    run = call.runs[0]
    assert isinstance(run, Lasting)
    call.delivered()
    assert run.over
