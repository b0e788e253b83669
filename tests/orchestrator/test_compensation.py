"""Compensation in a run: what counts as an effect, what an undo is sent, in which order, what is left to a human."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from fakes import Faulty
from plans import load_text
from surviving import VIOLATION, Bench, code_of, lost, undos

from isolation.errors import CallError, DeadlineExceeded, NotSent, PluginBusy, PluginError, RetryableError
from orchestrator.engine.attempt import UndoRecord
from orchestrator.engine.lasting import Lasting
from pipelines.expressions import Expression
from pipelines.plan import Plan
from pipelines.run import Undo

CHAIN = """
  p:
    hook: tool_pre_invoke
    deadline: 5s
    durable: false
    undo_deadline: 10s
    {under}
    stages:
      a: {{ uses: s/reserve, compensate: {{ uses: s/release, in: {input} {undo} }} }}
      b: {{ uses: s/reserve, needs: [a], compensate: {{ uses: s/release {undo} }} {b} }}
      c: {{ uses: s/act, needs: [b] {c} }}
"""

INPUT = '{ ticket: "${stages.a.out.ticket}", why: done }'

SIDE_BY_SIDE = """
  p:
    hook: tool_pre_invoke
    durable: false
    undo_deadline: 10s
    stages:
      top: { uses: s/reserve, compensate: { uses: s/release, retry: none } }
      left: { uses: s/reserve, needs: [top], compensate: { uses: s/release, retry: none } }
      right: { uses: s/reserve, needs: [top], compensate: { uses: s/release, retry: none } }
      gate: { uses: s/act, needs: [left, right] }
"""


def chain(*, under: str = "", undo: str = "", b: str = "", c: str = "") -> str:
    return CHAIN.format(under=under, undo=undo, b=b, c=c, input=INPUT)


def run_of(bench: Bench) -> Lasting:
    """The one run that there was."""
    found = [*bench.engine.open.values(), *bench.ended]
    assert isinstance(found[-1], Lasting)
    return found[-1]


def is_over(run: Lasting) -> bool:
    return run.over


def undone(bench: Bench) -> list[str]:
    """The undo calls that were made, in order."""
    return [handed.stage for handed in bench.plugin.handed if handed.stage.endswith("/undo")]


def record_of(run: Lasting, stage: str) -> UndoRecord:
    attempt = next(one for one in run.attempts if one is not None and one.wire.plan.id == stage)
    assert attempt.undo is not None
    return attempt.undo


def finish(bench: Bench) -> None:
    """Answer every undo that comes up, until the run is over."""
    while bench.plugin.waiting:
        bench.answer(bench.plugin.waiting[0])


# The call of an undo.


def test_a_denied_run_undoes_what_it_did_the_last_first_and_answers_without_waiting(bench: Bench) -> None:
    call = bench.call(chain())
    bench.answer("a", {"out": {"ticket": "t1"}})
    bench.answer("b")
    bench.answer("c", VIOLATION)
    assert code_of(call.reply.result()) == "blocked"
    assert bench.plugin.waiting == ["b/undo"]
    bench.answer("b/undo")
    assert bench.plugin.waiting == ["a/undo"]
    bench.answer("a/undo")
    run = run_of(bench)
    assert is_over(run)
    assert undos(run) == {"a": Undo.DONE, "b": Undo.DONE, "c": Undo.NONE}
    assert bench.engine.open == {}


def test_an_undo_is_sent_its_own_key_whose_key_it_undoes_and_what_the_stage_saw(bench: Bench) -> None:
    bench.call(chain())
    bench.answer("a", {"out": {"ticket": "t1"}, "patch": {"args": {"q": "a"}}, "state": {"seen": 1}})
    bench.answer("b", {"patch": {"args": {"q": "b"}}})
    bench.answer("c", VIOLATION)
    done = bench.plugin.find("b")
    undo = bench.plugin.find("b/undo")
    assert undo.call.invocation.key == b"run1/b/undo"
    assert undo.call.invocation.undoes == b"run1/b"
    assert (undo.call.invocation.run, undo.call.invocation.attempt) == (b"run1", 1)
    assert (undo.payload, undo.context) == (done.payload, done.context)
    assert (undo.payload, undo.input) == ({"name": "echo", "args": {"q": "a"}}, {})
    assert b'"stage":"release"' in undo.call.invocation.static
    bench.answer("b/undo")
    assert bench.plugin.find("a/undo").input == {"ticket": "t1", "why": "done"}
    assert bench.plugin.find("a/undo").payload == bench.plugin.find("a").payload


def test_what_a_stage_never_put_out_is_null_in_the_input_of_its_undo(bench: Bench) -> None:
    call = bench.call(chain())
    bench.fail("a", lost())
    assert code_of(call.reply.result()) == "penstock.worker_lost"
    assert bench.plugin.find("a/undo").input == {"ticket": None, "why": "done"}


def test_what_json_has_no_word_for_is_null_too(bench: Bench) -> None:
    text = chain().replace('"${stages.a.out.ticket}"', '"${double(stages.a.out.n) / 0.0}"')
    bench.call(text)
    bench.answer("a", {"out": {"n": 1}})
    bench.fail("b", NotSent("no worker"))
    assert bench.plugin.find("a/undo").input == {"ticket": None, "why": "done"}
    bench.answer("a/undo")
    assert is_over(run_of(bench))


# What counts as an effect.


@pytest.mark.parametrize("error", [lost(), DeadlineExceeded("late"), PluginError("broken")])
def test_a_call_of_unknown_outcome_is_undone(bench: Bench, error: CallError) -> None:
    bench.call(chain())
    bench.answer("a")
    bench.fail("b", error)
    assert undone(bench) == ["b/undo"]
    finish(bench)
    assert undone(bench) == ["b/undo", "a/undo"]


@pytest.mark.parametrize("error", [NotSent("no worker"), PluginBusy("full"), lost(sent=False)])
def test_a_call_that_was_never_sent_has_nothing_to_undo(bench: Bench, error: CallError) -> None:
    bench.call(chain())
    bench.answer("a")
    bench.fail("b", error)
    finish(bench)
    assert undone(bench) == ["a/undo"]


def test_a_stage_that_denies_has_nothing_to_undo_and_one_that_was_never_begun_neither(bench: Bench) -> None:
    bench.call(chain())
    bench.answer("a", VIOLATION)
    assert undone(bench) == []
    assert is_over(run_of(bench))


@pytest.mark.parametrize(("first", "wanted"), [(lost(sent=False), ["a/undo"]), (RetryableError("half"), ["b/undo"])])
def test_the_worst_of_the_attempts_counts(bench: Bench, first: CallError, wanted: list[str]) -> None:
    """The last one denied, so it did nothing; the one before may have."""
    bench.call(chain(b=", retry: { attempts: 2, on: [Retryable] }"))
    bench.answer("a")
    bench.fail("b", first)
    bench.forward(1.0)
    bench.answer("b", VIOLATION)
    assert undone(bench) == wanted


def test_a_stage_that_is_cancelled_while_it_runs_is_undone(bench: Bench) -> None:
    call = bench.call(chain())
    call.abandon()
    assert bench.plugin.cancelled == ["a"]
    assert undone(bench) == ["a/undo"]


def test_an_allowed_run_keeps_what_it_did(bench: Bench) -> None:
    call = bench.call(chain())
    for stage in ("a", "b", "c"):
        bench.answer(stage)
    assert call.reply.result().verdict == "allow"
    call.delivered()
    assert undone(bench) == []
    assert is_over(run_of(bench))
    assert bench.clock.pending == []


def test_an_unknown_effect_that_was_continued_past_is_undone_though_the_run_is_allowed(bench: Bench) -> None:
    call = bench.call(chain(b=", on_error: continue"))
    bench.answer("a")
    bench.fail("b", lost())
    bench.answer("c")
    assert call.reply.result().verdict == "allow"
    assert undone(bench) == [], "not before the verdict is delivered"
    call.delivered()
    assert undone(bench) == ["b/undo"]
    finish(bench)
    assert undos(run_of(bench)) == {"a": Undo.NONE, "b": Undo.DONE, "c": Undo.NONE}


def test_a_caller_that_leaves_with_its_answer_untaken_has_everything_undone(bench: Bench) -> None:
    call = bench.call(chain())
    for stage in ("a", "b", "c"):
        bench.answer(stage)
    call.abandon()
    finish(bench)
    assert undone(bench) == ["b/undo", "a/undo"]


def test_a_merge_conflict_at_the_end_undoes(bench: Bench) -> None:
    call = bench.call(SIDE_BY_SIDE.replace("needs: [left, right]", "needs: [left]"))
    bench.answer("top")
    bench.answer("left", {"patch": {"args": {"q": 1}}})
    bench.answer("right", {"patch": {"args": {"q": 2}}})
    bench.answer("gate")
    assert code_of(call.reply.result()) == "penstock.merge_conflict"
    assert sorted(undone(bench)) == ["left/undo", "right/undo"]


def test_a_mocked_stage_is_not_undone_for_real(bench: Bench) -> None:
    engine = bench.serve(chain())
    call = engine.submit("tool_pre_invoke", {"name": "echo"}, mocks={"b": {}, "c": VIOLATION})
    bench.answer("a")
    assert call.reply.result().verdict == "deny"
    finish(bench)
    assert undone(bench) == ["a/undo"]
    assert undos(run_of(bench))["b"] is Undo.DONE


@pytest.mark.parametrize("answered", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_a_caller_that_is_cancelled_while_it_waits_has_everything_undone(bench: Bench, answered: list[str]) -> None:
    """A future that is awaited is cancelled with its waiter, which must not be taken for an answer."""
    call = bench.call(chain())
    for stage in answered[:-1]:
        bench.answer(stage)
    call.reply.cancel()
    if answered[-1] == "c":
        bench.answer("c")
    call.abandon()
    assert bench.engine.under_way == 0
    finish(bench)
    assert undone(bench) == {"a": ["a/undo"], "b": ["b/undo", "a/undo"], "c": ["b/undo", "a/undo"]}[answered[-1]]
    assert bench.engine.open == {}


# Order.


def test_stages_that_do_not_need_each_other_are_undone_together_and_before_what_they_needed(bench: Bench) -> None:
    bench.call(SIDE_BY_SIDE)
    for stage in ("top", "left", "right"):
        bench.answer(stage)
    bench.answer("gate", VIOLATION)
    assert sorted(bench.plugin.waiting) == ["left/undo", "right/undo"]
    bench.answer("left/undo")
    assert bench.plugin.waiting == ["right/undo"]
    bench.answer("right/undo")
    assert bench.plugin.waiting == ["top/undo"]


# How an undo is tried.


def test_an_undo_is_tried_again_with_one_key_and_its_own_timeout(bench: Bench) -> None:
    undo = ", timeout: 1s, retry: { attempts: 3, backoff: { initial: 100ms, jitter: none } }"
    bench.call(chain(undo=undo))
    bench.answer("a")
    bench.fail("b", NotSent("no worker"))
    for error, pause in ((PluginBusy("full"), 0.1), (NotSent("no worker"), 0.2)):
        call = bench.plugin.find("a/undo").call
        assert call.deadline - bench.clock.now() == pytest.approx(1.0)
        bench.fail("a/undo", error)
        bench.forward(pause)
    assert bench.tried("a/undo") == [1, 2, 3]
    assert {one.call.invocation.key for one in bench.plugin.handed if one.stage == "a/undo"} == {b"run1/a/undo"}
    bench.answer("a/undo", {"out": {"n": 1}})
    run = run_of(bench)
    assert is_over(run)
    assert (record_of(run, "a").tried, record_of(run, "a").state) == (3, Undo.DONE)


def test_an_undo_of_unknown_outcome_may_always_be_repeated(bench: Bench) -> None:
    bench.call(chain())
    bench.answer("a")
    bench.fail("b", NotSent("no worker"))
    bench.fail("a/undo", DeadlineExceeded("late"))
    bench.forward(0.1)
    assert bench.tried("a/undo") == [1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        {"patch": {"args": {}}},
        {"payload": {"name": "x"}},
        {"state": {"k": 1}},
        {"hints": {"retry_after_ms": 1}},
        {"result": {"granted": True}},
        {"outs": {}},
        VIOLATION,
    ],
)
def test_an_undo_that_answers_what_an_undo_may_not_is_parked(bench: Bench, answer: object) -> None:
    bench.call(chain(undo=", retry: none"))
    bench.answer("a")
    bench.fail("b", NotSent("no worker"))
    bench.answer("a/undo", answer)
    run = run_of(bench)
    assert is_over(run)
    assert undos(run)["a"] is Undo.PARKED
    assert record_of(run, "a").fault is not None


def test_an_undo_may_put_something_out(bench: Bench) -> None:
    bench.call(chain(undo=", retry: none"))
    bench.answer("a")
    bench.fail("b", NotSent("no worker"))
    bench.answer("a/undo", {"out": {"n": 1}})
    assert undos(run_of(bench))["a"] is Undo.DONE


# Parked.


def test_a_parked_undo_holds_everything_that_is_needed_to_finish_it_by_hand(bench: Bench) -> None:
    bench.call(chain(undo=", retry: none"))
    bench.answer("a", {"out": {"ticket": "t1"}})
    bench.answer("b")
    bench.answer("c", VIOLATION)
    bench.fail("b/undo", PluginError("the ledger is closed"))
    run = run_of(bench)
    assert is_over(run)
    assert run.machine.parked
    assert bench.plugin.waiting == []
    given_up, behind = record_of(run, "b"), record_of(run, "a")
    assert (given_up.plugin, given_up.stage) == ("s", "release")
    assert (given_up.key, given_up.undoes, given_up.input) == ("run1/b/undo", "run1/b", b"{}")
    assert (given_up.state, given_up.tried) == (Undo.PARKED, 1)
    assert given_up.fault is not None
    assert "the ledger is closed" in given_up.fault.message
    assert (behind.key, behind.undoes) == ("run1/a/undo", "run1/a")
    assert json.loads(behind.input) == {"ticket": "t1", "why": "done"}
    assert (behind.state, behind.tried) == (Undo.PARKED, 0)
    assert behind.fault is not None


def test_a_parked_undo_blocks_what_came_before_it_and_nothing_else(bench: Bench) -> None:
    bench.call(SIDE_BY_SIDE)
    for stage in ("top", "left", "right"):
        bench.answer(stage)
    bench.answer("gate", VIOLATION)
    bench.fail("left/undo", PluginError("broken"))
    assert bench.plugin.waiting == ["right/undo"]
    bench.answer("right/undo")
    run = run_of(bench)
    assert is_over(run)
    assert undos(run) == {"top": Undo.PARKED, "left": Undo.PARKED, "right": Undo.DONE, "gate": Undo.NONE}


def test_parked_undos_are_resumed_in_order_and_the_run_is_over_once_more(bench: Bench) -> None:
    bench.call(chain(undo=", retry: none"))
    bench.answer("a")
    bench.answer("b")
    bench.answer("c", VIOLATION)
    bench.fail("b/undo", PluginError("broken"))
    run = run_of(bench)
    assert not run.revoke("by command"), "it is undone as far as that goes already"
    assert run.resume()
    assert not is_over(run)
    bench.answer("b/undo")
    bench.answer("a/undo")
    assert is_over(run)
    assert undos(run) == {"a": Undo.DONE, "b": Undo.DONE, "c": Undo.NONE}
    assert not run.resume()
    assert (record_of(run, "a").state, record_of(run, "a").fault) == (Undo.DONE, None)


def test_an_undo_that_is_under_way_can_be_parked_by_hand(bench: Bench) -> None:
    bench.call(chain())
    bench.answer("a")
    bench.fail("b", NotSent("no worker"))
    run = run_of(bench)
    assert run.park("the ledger is being moved")
    assert bench.plugin.cancelled == ["a/undo"]
    assert undos(run)["a"] is Undo.PARKED
    assert is_over(run)
    assert not run.park("again")


def test_one_that_waits_for_its_next_try_can_be_parked_too(bench: Bench) -> None:
    bench.call(chain())
    bench.answer("a")
    bench.fail("b", NotSent("no worker"))
    bench.fail("a/undo", PluginBusy("full"))
    run = run_of(bench)
    assert run.park("enough")
    assert bench.clock.pending == []
    assert undos(run)["a"] is Undo.PARKED


def test_what_is_not_undone_by_the_undo_deadline_is_parked(bench: Bench) -> None:
    bench.call(chain(undo=", timeout: 4s, retry: { attempts: 20, backoff: { initial: 1s, jitter: none } }"))
    bench.answer("a")
    bench.fail("b", NotSent("no worker"))
    begun = bench.clock.now()
    while not run_of(bench).over:
        call = bench.plugin.find("a/undo").call
        assert call.deadline <= begun + 10.0
        bench.clock.forward(min(3.0, call.deadline - bench.clock.now()))
        bench.fail("a/undo", PluginBusy("full"))
        if not run_of(bench).over:
            bench.clock.forward(1.0)
    assert bench.clock.now() <= begun + 10.0
    assert undos(run_of(bench))["a"] is Undo.PARKED


def test_the_undo_deadline_is_for_all_undos_of_a_run_together(bench: Bench) -> None:
    """One that uses up the time leaves none to those that come before it."""
    bench.call(chain(undo=", timeout: 10s, retry: none"))
    bench.answer("a")
    bench.answer("b")
    bench.answer("c", VIOLATION)
    until = bench.clock.now() + 10.0
    bench.clock.forward(10.0)
    bench.answer("b/undo")
    assert bench.plugin.find("a/undo").call.deadline == pytest.approx(until)
    bench.fail("a/undo", DeadlineExceeded("no time", sent=False))
    assert undos(run_of(bench)) == {"a": Undo.PARKED, "b": Undo.DONE, "c": Undo.NONE}


def test_a_resume_has_the_undo_deadline_anew(bench: Bench) -> None:
    bench.call(chain(undo=", retry: none"))
    bench.answer("a")
    bench.fail("b", NotSent("no worker"))
    bench.clock.forward(1.0)
    bench.fail("a/undo", PluginError("broken"))
    bench.clock.forward(2.0)
    assert run_of(bench).resume()
    assert bench.plugin.find("a/undo").call.deadline == pytest.approx(bench.clock.now() + 10.0)


# Undone later.


def test_what_was_allowed_and_delivered_can_be_undone_by_command(bench: Bench) -> None:
    call = bench.call(chain())
    for stage in ("a", "b", "c"):
        bench.answer(stage)
    call.delivered()
    run = run_of(bench)
    assert is_over(run)
    assert run.revoke("the gateway could not write")
    assert not is_over(run)
    finish(bench)
    assert undone(bench) == ["b/undo", "a/undo"]
    assert is_over(run)
    assert not run.revoke("once more")
    assert len(bench.ended) == 2


# Several pipelines of one hook.


def two(*, second: str = "durable: false") -> str:
    return f"""
  p:
    hook: tool_pre_invoke
    durable: false
    stages:
      a: {{ uses: s/reserve, compensate: {{ uses: s/release }} }}
  q:
    hook: tool_pre_invoke
    {second}
    stages:
      b: {{ uses: s/reserve, compensate: {{ uses: s/release }} }}
      c: {{ uses: s/act, needs: [b] }}
"""


def test_a_later_pipeline_that_denies_has_the_earlier_ones_undone_after_itself(bench: Bench) -> None:
    call = bench.call(two())
    bench.answer("a")
    assert not call.reply.done()
    bench.answer("b")
    bench.answer("c", VIOLATION)
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "blocked")
    assert bench.plugin.waiting == ["b/undo"], "what came last is undone first"
    bench.answer("b/undo")
    assert bench.plugin.waiting == ["a/undo"]
    bench.answer("a/undo")
    assert bench.engine.open == {}
    first = reply.runs[0]
    assert isinstance(first, Lasting)
    assert first.revoked_for == "a later pipeline of the hook denied"


def test_what_an_earlier_pipeline_did_is_not_final_before_the_hook_is(bench: Bench) -> None:
    call = bench.call(two())
    bench.answer("a")
    run = call.runs[0]
    assert isinstance(run, Lasting)
    assert run.waits_for_caller
    bench.answer("b")
    bench.answer("c")
    call.delivered()
    assert is_over(run)
    assert undone(bench) == []


def test_a_caller_that_leaves_during_a_later_pipeline_has_the_earlier_ones_undone(bench: Bench) -> None:
    call = bench.call(two())
    bench.answer("a")
    call.abandon()
    assert code_of(call.reply.result()) == "penstock.timeout"
    finish(bench)
    assert undone(bench) == ["b/undo", "a/undo"]


def test_a_later_pipeline_that_may_not_begin_has_the_earlier_ones_undone(bench: Bench) -> None:
    call = bench.call(two(second="durable: false\n    match: \"payload.args.k == 'x'\""))
    bench.answer("a")
    assert code_of(call.reply.result()) == "penstock.expression"
    assert bench.plugin.waiting == ["a/undo"]
    finish(bench)
    assert bench.engine.open == {}


# Bugs of our own.


@pytest.mark.parametrize("broken", ["a", "b", "c"])
def test_a_bug_while_a_stage_is_taken_up_denies_and_undoes_what_was_done(bench: Bench, broken: str) -> None:
    bench.plugin = Faulty(lambda stage: stage == broken, lambda stage: False)
    call = bench.call(chain())
    for stage in ("a", "b", "c"):
        if stage in bench.plugin.waiting and stage != broken:
            bench.answer(stage)
    assert code_of(call.reply.result()) == "penstock.internal"
    finish(bench)
    expected = {"a": ["a/undo"], "b": ["b/undo", "a/undo"], "c": ["b/undo", "a/undo"]}[broken]
    assert undone(bench) == expected
    assert is_over(run_of(bench))
    assert bench.engine.open == {}


def test_a_bug_while_an_undo_is_made_parks_it_and_ends_the_run(bench: Bench) -> None:
    bench.plugin = Faulty(lambda stage: stage == "a/undo", lambda stage: False)
    bench.call(chain())
    bench.answer("a")
    bench.fail("b", NotSent("no worker"))
    run = run_of(bench)
    assert is_over(run)
    assert undos(run)["a"] is Undo.PARKED
    assert bench.engine.open == {}


class Broken(Expression):
    """An expression with a bug."""

    def __init__(self) -> None:
        """It needs nothing to break."""

    def evaluate(self, roots: Mapping[str, object]) -> object:
        raise RuntimeError("a bug in evaluate")


def broken_undo(plan: Plan, stage: str) -> Plan:
    """The plan with a bug in what the undo of one stage is given."""
    [pipeline] = plan.routes["tool_pre_invoke"]
    stages = tuple(
        replace(one, undo=replace(one.undo, inputs=(("x", Broken()),))) if one.id == stage and one.undo else one
        for one in pipeline.stages
    )
    return replace(plan, routes={"tool_pre_invoke": (replace(pipeline, stages=stages),)})


def test_a_bug_while_the_input_of_an_undo_is_worked_out_parks_that_one_and_what_came_before_it(bench: Bench) -> None:
    bench.serve_plan(broken_undo(load_text(bench.folder, SIDE_BY_SIDE).plan, "left"))
    call = bench.submit()
    for stage in ("top", "left", "right"):
        bench.answer(stage)
    bench.answer("gate", VIOLATION)
    assert code_of(call.reply.result()) == "blocked"
    finish(bench)
    run = run_of(bench)
    assert undos(run) == {"top": Undo.PARKED, "left": Undo.PARKED, "right": Undo.DONE, "gate": Undo.NONE}
    assert run.stranded is not None, "what is parked cannot even be described"
    assert bench.engine.open == {}


def test_a_bug_in_finally_ends_the_run_all_the_same(bench: Bench) -> None:
    text = chain(under="finally: { last: { uses: s/act } }")
    plan = load_text(bench.folder, text).plan
    [pipeline] = plan.routes["tool_pre_invoke"]
    finals = tuple(replace(one, when=Broken()) for one in pipeline.finals)
    bench.serve_plan(replace(plan, routes={"tool_pre_invoke": (replace(pipeline, finals=finals),)}))
    bench.submit()
    bench.answer("a")
    bench.answer("b", VIOLATION)
    finish(bench)
    run = run_of(bench)
    assert is_over(run)
    assert run.stranded is None
    assert undos(run)["a"] is Undo.DONE


# The end of the host.


def test_a_host_that_stops_undoes_the_pipelines_of_a_call_one_after_another(bench: Bench) -> None:
    call = bench.call(two())
    bench.answer("a")
    bench.loop.run_until_complete(bench.engine.close())
    assert code_of(call.reply.result()) == "penstock.shutdown"
    assert bench.plugin.waiting == ["b/undo"]
    bench.answer("b/undo")
    assert bench.plugin.waiting == ["a/undo"]


def test_a_host_that_stops_undoes_what_lives_in_memory_and_nobody_took(bench: Bench) -> None:
    bench.call(chain())
    for stage in ("a", "b", "c"):
        bench.answer(stage)
    bench.loop.run_until_complete(bench.engine.close())
    assert bench.plugin.waiting == ["b/undo"]


def test_a_host_that_stops_waits_for_undo_and_no_longer_than_it_is_told(bench: Bench) -> None:
    bench.call(two())
    bench.answer("a")
    closing = bench.loop.create_task(bench.engine.close(within_seconds=30.0))
    bench.loop.run_until_complete(asyncio.sleep(0))
    bench.answer("b/undo")
    bench.loop.run_until_complete(asyncio.sleep(0))
    assert not closing.done(), "the pipeline in front of it is not undone yet"
    bench.answer("a/undo")
    bench.loop.run_until_complete(closing)
