"""Retries and deadlines in a run: what each attempt is sent, how long it has, and what ends the waiting."""

from __future__ import annotations

import json

import pytest
from surviving import PAYLOAD, VIOLATION, Bench, code_of, lost

from isolation.errors import DeadlineExceeded, NotSent, PluginBusy, PluginError, RetryableError
from orchestrator.record.records import records_of

RETRY = (
    "retry: { attempts: 4, backoff: { initial: 100ms, max: 400ms }, on: [WorkerLost, Busy, Retryable, PluginError] }"
)
SAFE = "retry: { attempts: 4, backoff: { initial: 100ms, max: 400ms }, on: [Busy, Retryable] }"


def one(stage: str = "ask", retry: str = RETRY, *, deadline: str = "2s", timeout: str = "500ms", more: str = "") -> str:
    return f"""
  p:
    hook: tool_pre_invoke
    deadline: {deadline}
    stages:
      a: {{ uses: s/{stage}, timeout: {timeout}, {retry} {more} }}
"""


def test_every_attempt_has_its_number_and_the_key_of_the_first(bench: Bench) -> None:
    call = bench.call(one())
    bench.fail("a", RetryableError("later"))
    bench.forward(0.1)
    bench.fail("a", PluginBusy("full"))
    bench.forward(0.2)
    bench.answer("a", {"patch": {"args": {"q": "x"}}})
    assert call.reply.result().verdict == "modify"
    assert bench.tried("a") == [1, 2, 3]
    sent = [handed.call.invocation for handed in bench.plugin.handed]
    assert {invocation.key for invocation in sent} == {b"run1/a"}
    assert {invocation.run for invocation in sent} == {b"run1"}
    assert all(json.loads(invocation.payload) == PAYLOAD for invocation in sent)
    [record] = records_of(call.reply.result())
    stages = record["stages"]
    assert isinstance(stages, dict)
    assert stages["a"]["state"] == "succeeded"
    assert stages["a"]["error"] is None, "an error that was got over is not the stage's"


def test_each_attempt_has_its_own_timeout_within_what_is_left_of_the_run(bench: Bench) -> None:
    bench.call(one(deadline="1s", timeout="400ms"))
    begun, left = bench.clock.now(), list[float]()
    for worked, pause in ((0.3, 0.1), (0.2, 0.2), (0.0, 0.0)):
        left.append(bench.plugin.find("a").call.deadline - bench.clock.now())
        bench.clock.forward(worked)
        bench.fail("a", PluginBusy("full"))
        bench.clock.forward(pause)
    assert left == pytest.approx([0.4, 0.4, 0.2]), "the third has what the run has left"
    assert bench.plugin.find("a").call.deadline == pytest.approx(begun + 1.0)


def test_a_pause_never_outlives_the_deadline(bench: Bench) -> None:
    call = bench.call(one(deadline="1s"))
    bench.clock.forward(0.95)
    bench.fail("a", PluginBusy("full"))
    assert code_of(call.reply.result()) == "penstock.busy", "it would begin too late, so nobody waits for it"
    assert bench.clock.pending == []
    assert bench.tried("a") == [1]


def test_between_two_attempts_no_call_is_made_before_the_pause_is_over(bench: Bench) -> None:
    bench.call(one())
    bench.fail("a", PluginBusy("full"))
    bench.clock.forward(0.099)
    assert bench.tried("a") == [1]
    bench.clock.forward(0.002)
    assert bench.tried("a") == [1, 2]


def test_jitter_comes_from_the_randomness_that_is_handed_in(bench: Bench) -> None:
    bench.draw = lambda low, high: (low + high) / 2
    bench.call(one())
    bench.fail("a", PluginBusy("full"))
    assert bench.clock.pending == pytest.approx([0.05])


def test_the_last_error_is_the_one_that_the_caller_sees(bench: Bench) -> None:
    call = bench.call(one())
    for error in (PluginBusy("full"), RetryableError("later"), PluginBusy("full"), RetryableError("not now")):
        bench.fail("a", error)
        bench.forward(0.4)
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.plugin_error")
    assert reply.fault is not None
    assert reply.fault.message == "not now"
    assert bench.tried("a") == [1, 2, 3, 4]


@pytest.mark.parametrize("error", [lost(), DeadlineExceeded("late"), PluginError("broken")])
def test_a_call_of_unknown_outcome_is_not_repeated_where_the_stage_is_not_idempotent(
    bench: Bench, error: DeadlineExceeded
) -> None:
    """The policy is the default of the file, and narrowed without a word."""
    more = f"defaults: {{ stage: {{ timeout: 500ms, {RETRY} }} }}"
    call = bench.call(one("act", retry="mode: enforce"), more)
    bench.fail("a", error)
    assert call.reply.done()
    assert bench.tried("a") == [1]


@pytest.mark.parametrize("error", [NotSent("no worker"), lost(sent=False), DeadlineExceeded("queued", sent=False)])
def test_a_call_that_was_never_sent_is_repeated_whatever_the_stage(bench: Bench, error: DeadlineExceeded) -> None:
    bench.call(one("act", retry=SAFE))
    bench.fail("a", error)
    bench.forward(0.1)
    assert bench.tried("a") == [1, 2]


def test_a_call_that_kills_its_worker_is_tried_once_more_and_then_no_more(bench: Bench) -> None:
    call = bench.call(one())
    for _ in range(2):
        bench.fail("a", lost())
        bench.forward(0.4)
    assert code_of(call.reply.result()) == "penstock.worker_lost"
    assert bench.tried("a") == [1, 2]


def test_after_a_death_another_refusal_is_the_end(bench: Bench) -> None:
    call = bench.call(one())
    bench.fail("a", lost())
    bench.forward(0.1)
    bench.fail("a", PluginBusy("full"))
    assert code_of(call.reply.result()) == "penstock.busy"


def test_a_violation_is_an_answer_and_never_asked_for_again(bench: Bench) -> None:
    call = bench.call(one())
    bench.answer("a", VIOLATION)
    assert code_of(call.reply.result()) == "blocked"
    assert bench.tried("a") == [1]


def test_an_answer_that_breaks_the_rules_is_the_plugins_error_and_repeated_as_such(bench: Bench) -> None:
    call = bench.call(one())
    bench.answer("a", {"outs": {}})
    bench.forward(0.1)
    bench.answer("a", {"out": {"n": 1}})
    assert call.reply.result().verdict == "allow"
    assert bench.tried("a") == [1, 2]


def test_a_caller_that_leaves_between_two_attempts_ends_the_waiting(bench: Bench) -> None:
    call = bench.call(one())
    bench.fail("a", PluginBusy("full"))
    call.abandon()
    assert call.reply.result().verdict == "deny"
    assert bench.clock.pending == []
    bench.forward(10.0)
    assert bench.tried("a") == [1]
    assert bench.plugin.cancelled == [], "there was no call to cancel"


def test_a_caller_that_leaves_during_a_later_attempt_cancels_that_one(bench: Bench) -> None:
    call = bench.call(one())
    bench.fail("a", PluginBusy("full"))
    bench.forward(0.1)
    call.abandon()
    assert bench.plugin.cancelled == ["a"]
    assert bench.plugin.waiting == []


def test_an_error_that_is_continued_past_is_tried_again_first(bench: Bench) -> None:
    call = bench.call(one(more=", on_error: continue, otherwise: { n: 7 }"))
    bench.fail("a", PluginBusy("full"))
    assert not call.reply.done()
    bench.forward(0.1)
    bench.fail("a", lost())
    bench.forward(0.2)
    bench.fail("a", lost())
    assert call.reply.result().verdict == "allow"


def test_a_stage_without_a_policy_is_tried_once(bench: Bench) -> None:
    call = bench.call(one(retry="mode: enforce"))
    bench.fail("a", PluginBusy("full"))
    assert call.reply.done()
    assert bench.clock.pending == []
