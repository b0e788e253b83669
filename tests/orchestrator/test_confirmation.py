"""Durable runs: nothing before it is synced, verdicts to be confirmed, what a start of the host makes of a run."""

from __future__ import annotations

import pytest
from fakes import Faulty
from surviving import VIOLATION, Bench, code_of, undos

from isolation.errors import NotSent, PluginError
from orchestrator.engine.hookcall import HookCall
from orchestrator.engine.lasting import WRITING_SECONDS, Lasting
from orchestrator.journal.rows import RunStatus
from pipelines.run import Phase, Undo


def durable(*, under: str = "", more: str = "", undo: str = "", stage: str = "") -> str:
    return f"""
  p:
    hook: tool_pre_invoke
    deadline: 5s
    durable: true
    {under}
    stages:
      a: {{ uses: s/reserve, compensate: {{ uses: s/release {undo} }} {stage} }}
      b: {{ uses: s/act, needs: [a] }}
{more}"""


CONFIRMED = durable(under="confirm_within: 30s")


def run_of(call: HookCall) -> Lasting:
    run = call.runs[-1]
    assert isinstance(run, Lasting)
    return run


def undone(bench: Bench) -> list[str]:
    return [handed.stage for handed in bench.plugin.handed if handed.stage.endswith("/undo")]


def allowed(bench: Bench, text: str = CONFIRMED, key: str | None = None) -> HookCall:
    """A call whose stages have all answered."""
    call = bench.call(text, key=key)
    bench.answer("a")
    bench.answer("b")
    assert call.reply.result().verdict == "allow"
    return call


# Nothing before it is synced.


def test_no_stage_is_called_before_the_run_is_in_the_journal(bench: Bench) -> None:
    bench.serve(durable())
    bench.engine.submit("tool_pre_invoke", {"name": "echo"})
    assert bench.plugin.handed == []
    bench.journal.sync()
    assert bench.plugin.waiting == ["a"]


def test_no_later_stage_is_called_before_the_end_of_an_earlier_one_is_synced(bench: Bench) -> None:
    bench.call(durable())
    bench.plugin.answer("a")
    assert bench.plugin.waiting == []
    bench.journal.sync()
    assert bench.plugin.waiting == ["b"]


def test_no_verdict_is_given_before_it_is_synced(bench: Bench) -> None:
    call = bench.call(durable())
    bench.answer("a")
    bench.plugin.answer("b")
    for _ in range(2):  # the end of the stage, then the verdict that follows from it
        assert not call.reply.done()
        bench.journal.sync()
    assert call.reply.result().verdict == "allow"


def test_no_undo_is_begun_before_the_denial_is_synced(bench: Bench) -> None:
    bench.call(durable())
    bench.answer("a")
    bench.plugin.answer("b", VIOLATION)
    for _ in range(2):
        assert undone(bench) == []
        bench.journal.sync()
    assert undone(bench) == ["a/undo"]


def test_a_denial_waits_until_it_is_durable_that_earlier_pipelines_are_undone(bench: Bench) -> None:
    more = "  q:\n    hook: tool_pre_invoke\n    stages:\n      c: { uses: s/act }\n"
    call = bench.call(durable(more=more))
    bench.answer("a")
    bench.answer("b")
    bench.plugin.answer("c", VIOLATION)
    assert not call.reply.done()
    bench.journal.sync()
    assert code_of(call.reply.result()) == "blocked"
    bench.restart()
    assert bench.plugin.waiting == [], "the alarm rings first"
    bench.forward(0.0)
    assert bench.plugin.waiting == ["a/undo"]


# The journal hangs, or fails.


def test_a_journal_that_hangs_costs_the_caller_no_more_than_its_deadline(bench: Bench) -> None:
    call = bench.call(durable())
    bench.plugin.answer("a")
    bench.clock.forward(5.0 + WRITING_SECONDS)
    assert code_of(call.reply.result()) == "penstock.timeout"
    bench.journal.settle()
    assert bench.plugin.waiting == ["a/undo"], "what was done meanwhile is undone"


def test_a_verdict_that_the_journal_was_too_slow_for_is_revoked(bench: Bench) -> None:
    call = bench.call(durable())
    bench.answer("a")
    bench.plugin.answer("b", {"patch": {"args": {"q": "late"}}})
    bench.journal.sync()
    bench.clock.forward(5.0 + WRITING_SECONDS)
    assert code_of(call.reply.result()) == "penstock.timeout"
    bench.journal.settle()
    assert bench.plugin.waiting == ["a/undo"]
    assert run_of(call).machine.unwinds


def test_a_denial_of_the_deadline_says_why_although_a_fallback_would_allow(bench: Bench) -> None:
    under = "fallback: { on: [DeadlineExceeded], reason: lenient, verdict: allow }"
    text = durable(under=under, stage=", mode: permissive")
    call = bench.call(text.replace("s/act", "s/act, mode: audit"))
    bench.plugin.answer("a")
    bench.clock.forward(5.0 + WRITING_SECONDS)
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.timeout")


def test_what_stages_left_after_the_caller_was_denied_is_not_the_runs(bench: Bench) -> None:
    call = bench.call(durable())
    bench.answer("a")
    bench.plugin.answer("b", {"patch": {"args": {"q": "late"}}})
    bench.clock.forward(5.0 + WRITING_SECONDS)
    bench.journal.settle()
    run = run_of(call)
    assert run.denied
    assert run.payload is run.seen
    assert (run.fault is not None and run.fault.kind) == "DeadlineExceeded"


def test_a_run_that_the_journal_does_not_take_is_denied_and_nothing_is_called(bench: Bench) -> None:
    bench.serve(durable())
    call = bench.engine.submit("tool_pre_invoke", {"name": "echo"})
    bench.journal.breaks()
    assert code_of(call.reply.result()) == "penstock.journal"
    assert bench.plugin.handed == []
    assert bench.engine.open == {}


def test_a_journal_that_fails_under_way_denies_and_leaves_the_rest_to_the_next_start(bench: Bench) -> None:
    call = bench.call(durable())
    bench.plugin.answer("a")
    bench.journal.breaks()
    assert code_of(call.reply.result()) == "penstock.journal"
    run = run_of(call)
    assert run.over
    assert run.stranded is not None
    assert not run.resume()
    assert not run.revoke("by command")
    assert bench.journal.held == [], "nothing more is written of it: there would be a gap"
    bench.restart()
    assert bench.plugin.waiting == ["a/undo"]
    bench.answer("a/undo")
    assert [row.status for row in bench.journal.rows.values()] == [RunStatus.UNDONE]


def test_nothing_is_written_of_a_run_before_the_journal_took_it_in(bench: Bench) -> None:
    bench.serve(durable())
    call = bench.engine.submit("tool_pre_invoke", {"name": "echo"})
    bench.clock.forward(5.0 + WRITING_SECONDS)
    assert code_of(call.reply.result()) == "penstock.timeout"
    assert len(bench.journal.held) == 1
    bench.journal.settle()
    [row] = bench.journal.rows.values()
    assert (row.verdict, row.status) == ("deny", RunStatus.UNDONE)
    assert bench.plugin.handed == []


# Confirmation.


def test_an_allow_that_is_confirmed_is_kept(bench: Bench) -> None:
    call = allowed(bench)
    call.delivered()
    assert run_of(call).confirm()
    bench.journal.settle()
    bench.forward(100.0)
    assert undone(bench) == []
    assert not run_of(call).confirm(), "there is nothing to confirm any more"
    assert not run_of(call).denied
    assert [row.status for row in bench.journal.rows.values()] == [RunStatus.COMPLETED]


def test_time_that_passes_while_a_confirmation_is_synced_does_not_undo_it(bench: Bench) -> None:
    call = allowed(bench)
    call.delivered()
    bench.clock.forward(29.9)
    assert run_of(call).confirm()
    bench.clock.forward(10.0)
    bench.journal.settle()
    assert undone(bench) == []


def test_an_allow_that_is_not_confirmed_in_time_is_undone(bench: Bench) -> None:
    call = allowed(bench)
    call.delivered()
    bench.forward(29.9)
    assert undone(bench) == []
    bench.forward(0.1)
    assert undone(bench) == ["a/undo"]
    assert not run_of(call).confirm(), "it comes too late"
    bench.answer("a/undo")
    [row] = bench.journal.rows.values()
    assert row.status is RunStatus.UNDONE
    assert "not confirmed" in row.reason


def test_the_time_to_confirm_counts_on_across_a_start_of_the_host(bench: Bench) -> None:
    call = allowed(bench)
    call.delivered()
    bench.journal.settle()
    bench.clock.forward(20.0)
    [run] = bench.restart()
    bench.forward(9.9)
    assert undone(bench) == []
    bench.forward(0.2)
    assert undone(bench) == ["a/undo"]
    assert run.revoked_for != ""


def test_a_run_that_was_taken_up_can_still_be_confirmed(bench: Bench) -> None:
    allowed(bench).delivered()
    bench.journal.settle()
    [run] = bench.restart()
    assert run.confirm()
    bench.journal.settle()
    bench.forward(100.0)
    assert undone(bench) == []


def test_without_confirm_within_a_delivered_verdict_is_final(bench: Bench) -> None:
    call = allowed(bench, durable())
    call.delivered()
    bench.journal.settle()
    assert run_of(call).over
    assert bench.restart() == []


def test_a_completed_run_is_undone_by_command_after_a_start_of_the_host(bench: Bench) -> None:
    allowed(bench, durable()).delivered()
    bench.journal.settle()
    bench.restart()
    run = bench.recall("run1")
    assert run is not None
    bench.engine.opened(run)
    assert run.revoke("the gateway could not write")
    bench.journal.settle()
    assert bench.plugin.find("a/undo").call.invocation.undoes == b"run1/a"
    bench.answer("a/undo")
    assert [row.status for row in bench.journal.rows.values()] == [RunStatus.UNDONE]


# What a start of the host makes of a run.


def test_a_run_that_was_under_way_is_undone(bench: Bench) -> None:
    bench.call(durable())
    bench.answer("a")
    [run] = bench.restart()
    assert run.denied
    assert (run.fault is not None and run.fault.code) == "penstock.interrupted"
    assert undone(bench) == ["a/undo"]
    bench.answer("a/undo")
    [row] = bench.journal.rows.values()
    assert (row.status, row.verdict) == (RunStatus.UNDONE, "deny")


def test_a_call_without_an_answer_has_an_unknown_outcome(bench: Bench) -> None:
    bench.call(durable())
    bench.restart()
    assert undone(bench) == ["a/undo"], "it was called, and nobody heard what came of it"


def test_an_answer_that_was_not_synced_is_as_good_as_none(bench: Bench) -> None:
    bench.call(durable())
    bench.plugin.answer("a", {"out": {"n": 1}})
    [run] = bench.restart()
    assert run.machine.stages[0].value == "cancelled"
    assert undone(bench) == ["a/undo"]


def test_a_verdict_that_was_never_delivered_is_undone(bench: Bench) -> None:
    allowed(bench, durable())
    bench.restart()
    assert undone(bench) == ["a/undo"]


def test_an_undo_that_was_under_way_is_made_again_with_its_key(bench: Bench) -> None:
    bench.call(durable())
    bench.answer("a", {"out": {"ticket": "t1"}})
    bench.answer("b", VIOLATION)
    before = bench.plugin.find("a/undo").call.invocation
    bench.restart()
    again = bench.plugin.find("a/undo").call.invocation
    assert (again.key, again.undoes, again.input) == (before.key, before.undoes, before.input)
    assert (again.payload, again.context) == (before.payload, before.context)


def test_a_parked_run_is_read_back_with_everything_that_is_needed_to_finish_it(bench: Bench) -> None:
    undo = "compensate: { uses: s/release, retry: none }"
    text = durable(undo=", retry: none").replace("b: { uses: s/act", f"b: {{ uses: s/reserve, {undo}")
    bench.call(text + "      c: { uses: s/act, needs: [b] }\n")
    bench.answer("a")
    bench.answer("b")
    bench.answer("c", VIOLATION)
    bench.fail("b/undo", PluginError("the ledger is closed"))
    [row] = bench.journal.rows.values()
    assert row.status is RunStatus.PARKED
    assert bench.restart() == [], "a parked run waits for a human"
    run = bench.recall("run1")
    assert run is not None
    records = [attempt.undo for attempt in run.attempts if attempt is not None]
    assert [(one.key, one.undoes, one.state) for one in records if one is not None] == [
        ("run1/a/undo", "run1/a", Undo.PARKED),
        ("run1/b/undo", "run1/b", Undo.PARKED),
    ]
    bench.engine.opened(run)
    assert run.resume()
    bench.journal.settle()
    bench.answer("b/undo")
    bench.answer("a/undo")
    assert undos(run) == {"a": Undo.DONE, "b": Undo.DONE, "c": Undo.NONE}


RESUME = durable(under="recover: resume")


def test_a_resumed_run_calls_again_only_what_may_be_called_again(bench: Bench) -> None:
    bench.call(RESUME.replace("s/act", "s/ask"), key="k")
    bench.answer("a")
    [run] = bench.restart()
    assert bench.plugin.waiting == ["b"], "b is idempotent"
    bench.answer("b")
    assert not run.denied
    assert undone(bench) == []


def test_a_resumed_run_cannot_know_what_a_stage_did_that_is_not_idempotent(bench: Bench) -> None:
    bench.call(RESUME, key="k")
    [run] = bench.restart()
    assert run.denied
    assert undone(bench) == ["a/undo"]


def test_a_guard_whose_answer_was_lost_is_not_passed_over_for_what_another_variant_says(bench: Bench) -> None:
    stage = ", mode: permissive, overrides: [{ when: \"payload.name == 'echo'\", mode: enforce, on_error: fail }]"
    call = bench.call(durable(under="recover: resume", stage=stage), key="k")
    assert bench.plugin.waiting == ["a"]
    [run] = bench.restart()
    assert run.denied, "it enforced for this call, and nobody knows what it would have said"
    assert not call.reply.done()


def test_two_that_wrote_one_place_differently_are_no_riddle_to_the_next_host(bench: Bench) -> None:
    """The join failed and its end was not synced: what was never called is not undone, and the run not parked."""
    text = """
  p:
    hook: tool_pre_invoke
    durable: true
    stages:
      left: { uses: s/reserve, compensate: { uses: s/release } }
      right: { uses: s/reserve, compensate: { uses: s/release } }
      join: { uses: s/reserve, needs: [left, right], compensate: { uses: s/release } }
"""
    bench.call(text)
    bench.answer("left", {"patch": {"args": {"q": 1}}})
    bench.plugin.answer("right", {"patch": {"args": {"q": 2}}})
    bench.journal.sync()
    bench.restart()
    for _ in range(3):
        for stage in bench.plugin.waiting:
            bench.answer(stage)
    assert sorted(undone(bench)) == ["left/undo", "right/undo"]
    assert [row.status for row in bench.journal.rows.values()] == [RunStatus.UNDONE]


def test_what_a_resumed_run_is_told_of_a_stage_is_what_the_journal_has(bench: Bench) -> None:
    """Or the next host could not follow it."""
    charge = "      c: { uses: s/charge, mode: disabled, needs: [a], compensate: { uses: s/refund } }\n"
    bench.call(RESUME.replace("s/act", "s/ask") + charge, key="k")
    bench.plugin.answer("a")
    bench.journal.sync()
    bench.restart()
    bench.answer("b", VIOLATION)
    while bench.plugin.waiting:
        bench.answer(bench.plugin.waiting[0])
    assert bench.recall("run1") is not None


# A bug of our own.


@pytest.mark.parametrize("broken", ["a", "b", "a/undo"])
def test_a_bug_in_a_durable_run_leaves_nobody_waiting_and_nothing_undone(bench: Bench, broken: str) -> None:
    bench.plugin = Faulty(lambda stage: stage == broken, lambda stage: False)
    call = bench.call(durable(undo=", retry: none"))
    for stage, answer in (("a", None), ("b", VIOLATION)):
        if stage in bench.plugin.waiting and stage != broken:
            bench.answer(stage, answer)
    assert call.reply.result().verdict == "deny"
    while bench.plugin.waiting and broken != "a/undo":
        bench.answer(bench.plugin.waiting[0])
    assert bench.engine.open == {}
    [row] = bench.journal.rows.values()
    assert row.status is (RunStatus.PARKED if broken == "a/undo" else RunStatus.UNDONE)


def test_an_effect_that_was_never_sent_is_not_undone_by_the_next_host(bench: Bench) -> None:
    bench.call(durable())
    bench.fail("a", NotSent("no worker"))
    assert bench.restart() == []
    assert undone(bench) == []


def test_the_order_of_pipelines_holds_for_durable_runs_too(bench: Bench) -> None:
    more = durable().replace("  p:", "  q:").replace("a:", "c:").replace("[a]", "[c]").replace("b:", "d:")
    call = bench.call(durable() + more)
    for stage in ("a", "b", "c"):
        bench.answer(stage)
    bench.answer("d", VIOLATION)
    assert call.reply.result().verdict == "deny"
    assert bench.plugin.waiting == ["c/undo"]
    bench.answer("c/undo")
    assert bench.plugin.waiting == ["a/undo"]
    bench.answer("a/undo")
    assert {row.status for row in bench.journal.rows.values()} == {RunStatus.UNDONE}
    first = call.runs[0]
    assert isinstance(first, Lasting)
    assert first.machine.phase is Phase.OVER


def test_a_run_that_is_revoked_while_its_end_is_synced_is_open_until_it_is_undone(bench: Bench) -> None:
    call = allowed(bench)
    run = run_of(call)
    call.delivered()
    bench.journal.settle()
    assert run.confirm()
    assert run.revoke("a human says so")
    heard: list[Lasting] = []
    run.hear(heard.append)
    bench.journal.settle()  # first the confirmation, which would close it, then the revocation
    assert (run.over, heard, bench.engine.held(run.id)) == (False, [], run)
    bench.answer("a/undo")
    assert (run.over, heard, run.status) == (True, [run], "undone")
    assert bench.engine.held(run.id) is None
