"""Breakers in a run: what counts, what an open one does to a stage, and that no permit is lost."""

from __future__ import annotations

import random

import pytest
from fakes import Faulty
from plans import load_text
from surviving import VIOLATION, Bench, code_of, lost

from isolation.errors import (
    CallError,
    DeadlineExceeded,
    LocalProtocolError,
    NotSent,
    PluginBusy,
    PluginError,
    PluginFailed,
    RemoteProtocolError,
    RetryableError,
    Stopping,
)
from orchestrator.engine.engine import HookCall
from orchestrator.record.records import records_of
from orchestrator.resilience.breaker import BreakerView

BREAKER = "breaker: { window: 4, minimum_calls: 2, failure_rate: 0.5, open_for: 10s, probes: 2 }"


def one(more: str = "", *, stage: str = "ask", under: str = "") -> str:
    return f"""
  p:
    hook: tool_pre_invoke
    deadline: 5s
    {under}
    stages:
      a: {{ uses: s/{stage}, timeout: 1s, {BREAKER} {more} }}
"""


def view(bench: Bench) -> BreakerView:
    [found] = bench.breakers.views()
    return found


def trip(bench: Bench) -> HookCall:
    """Let two calls fail; return the one that opened the breaker."""
    for _ in range(2):
        call = bench.submit()
        bench.fail("a", PluginError("broken"))
    assert view(bench).state == "open"
    return call


COUNTED: list[CallError] = [
    lost(),
    PluginError("broken"),
    RetryableError("later"),
    RemoteProtocolError("lies"),
    DeadlineExceeded("late"),
    DeadlineExceeded("waited too long", sent=False),
    NotSent("no worker"),
    PluginFailed("too many ends"),
]
UNCOUNTED: list[CallError] = [PluginBusy("full"), Stopping("stopping"), LocalProtocolError("too long")]


@pytest.mark.parametrize("error", COUNTED)
def test_what_says_that_the_plugin_fails_counts(bench: Bench, error: CallError) -> None:
    bench.call(one())
    bench.fail("a", error)
    assert (view(bench).calls, view(bench).failures) == (1, 1)


@pytest.mark.parametrize("error", UNCOUNTED)
def test_what_says_nothing_about_the_plugin_counts_for_nothing(bench: Bench, error: CallError) -> None:
    bench.call(one())
    bench.fail("a", error)
    assert (view(bench).calls, view(bench).failures) == (0, 0)


def test_a_violation_is_an_answer_and_no_failure(bench: Bench) -> None:
    bench.serve(one())
    for _ in range(4):
        bench.submit()
        bench.answer("a", VIOLATION)
    assert (view(bench).state, view(bench).failures) == ("closed", 0)


def test_an_answer_that_breaks_the_rules_is_a_failure(bench: Bench) -> None:
    bench.call(one())
    bench.answer("a", {"outs": {}})
    assert (view(bench).calls, view(bench).failures) == (1, 1)


def test_the_error_that_opens_it_is_what_its_caller_sees(bench: Bench) -> None:
    bench.serve(one())
    reply = trip(bench).reply.result()
    assert code_of(reply) == "penstock.plugin_error"
    assert reply.fault is not None
    assert reply.fault.message == "broken"


def test_an_open_one_fails_the_stage_at_once_and_calls_nobody(bench: Bench) -> None:
    bench.serve(one())
    trip(bench)
    handed = len(bench.plugin.handed)
    reply = bench.submit().reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.breaker_open")
    assert len(bench.plugin.handed) == handed


def test_an_open_one_is_not_asked_again_by_a_retry(bench: Bench) -> None:
    retry = ", retry: { attempts: 5, backoff: { initial: 100ms }, on: [WorkerLost, Busy, Retryable, PluginError] }"
    bench.serve(one(retry))
    call = bench.submit()
    bench.fail("a", PluginError("broken"))
    bench.forward(1.0)
    bench.fail("a", PluginError("broken"))
    bench.forward(1.0)
    assert bench.tried("a") == [1, 2], "the second failure opened it, and the third try was not let through"
    assert code_of(call.reply.result()) == "penstock.plugin_error", "what opened it is what the caller sees"
    [record] = records_of(call.reply.result())
    stages = record["stages"]
    assert isinstance(stages, dict)
    assert stages["a"]["attempts"] == 2
    assert bench.clock.pending == []


def test_every_attempt_is_counted_for_itself(bench: Bench) -> None:
    bench.call(one(", retry: { attempts: 2, backoff: { initial: 100ms }, on: [Retryable] }"))
    bench.fail("a", RetryableError("later"))
    bench.forward(0.1)
    bench.answer("a")
    assert (view(bench).calls, view(bench).failures) == (2, 1)


def test_on_error_says_what_an_open_one_does_to_the_run(bench: Bench) -> None:
    bench.serve(one(", on_error: continue, otherwise: { n: 7 }"))
    trip(bench)
    reply = bench.submit().reply.result()
    assert reply.verdict == "allow"
    [record] = records_of(reply)
    stages = record["stages"]
    assert isinstance(stages, dict)
    assert stages["a"]["state"] == "skipped"
    assert stages["a"]["error"]["class"] == "BreakerOpen"


def test_a_fallback_says_why(bench: Bench) -> None:
    bench.serve(one(under="fallback: { on: [BreakerOpen], reason: policy unavailable }"))
    trip(bench)
    reply = bench.submit().reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.breaker_open")
    assert reply.violation is not None
    assert reply.violation.reason == "policy unavailable"


def test_a_fallback_may_allow_where_nothing_enforces(bench: Bench) -> None:
    fallback = "fallback: { on: [BreakerOpen], reason: lenient, verdict: allow }"
    bench.serve(one(", mode: permissive, on_error: fail", under=fallback))
    trip(bench)
    reply = bench.submit().reply.result()
    assert reply.verdict == "allow"
    assert reply.fault is not None
    assert reply.fault.kind == "BreakerOpen"


def test_after_its_time_it_lets_so_many_probes_through_and_closes_after_as_many_successes(bench: Bench) -> None:
    bench.serve(one())
    trip(bench)
    bench.clock.forward(10.0)
    probes = [bench.submit() for _ in range(2)]
    refused = bench.submit()
    assert code_of(refused.reply.result()) == "penstock.breaker_open"
    waiting = [handed.call for handed in bench.plugin.handed[-2:]]
    assert not any(call.reply.done() for call in probes)
    for call in waiting:
        bench.plugin.handed.append(next(one for one in bench.plugin.handed if one.call is call))
        bench.answer("a")
    assert view(bench).state == "closed"


def test_a_cancelled_probe_gives_its_permit_back_and_counts_for_nothing(bench: Bench) -> None:
    bench.serve(one())
    trip(bench)
    bench.clock.forward(10.0)
    for _ in range(5):
        bench.submit().abandon()
        assert (view(bench).state, view(bench).probes_out) == ("half-open", 0)


def test_one_that_is_forced_open_stays_so_until_a_reset(bench: Bench) -> None:
    bench.serve(one())
    [breaker] = bench.breakers.find("s/ask")
    breaker.force_open("being repaired")
    bench.clock.forward(1000.0)
    assert code_of(bench.submit().reply.result()) == "penstock.breaker_open"
    breaker.reset()
    call = bench.submit()
    bench.answer("a")
    assert call.reply.result().verdict == "allow"


def test_stages_of_one_plugin_stage_and_policy_share_a_breaker(bench: Bench) -> None:
    text = """
  p:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/ask, breaker: steady }
      b: { uses: s/ask, breaker: steady }
      c: { uses: s/act, breaker: steady }
"""
    bench.serve(text, f"policies: {{ breakers: {{ steady: {BREAKER.removeprefix('breaker: ')} }} }}")
    assert [found.stage for found in bench.breakers.views()] == ["act", "ask"]


def test_a_bug_while_a_call_is_handed_over_gives_the_permit_back(bench: Bench) -> None:
    bench.serve(one())
    trip(bench)
    bench.clock.forward(10.0)
    bench.plugin = Faulty(lambda stage: True, lambda stage: False)
    bench.serve_plan(bench.plan)
    assert code_of(bench.submit().reply.result()) == "penstock.internal"
    assert view(bench).probes_out == 0
    assert view(bench).failures == 0, "a bug of ours says nothing about the plugin"


# The breaker of an undo.


UNDONE = f"""
  p:
    hook: tool_pre_invoke
    deadline: 5s
    durable: false
    stages:
      a:
        uses: s/reserve
        {BREAKER}
        compensate: {{ uses: s/release, retry: none, timeout: 1s }}
"""


def breaker_of_the_undo(bench: Bench) -> BreakerView:
    return next(one for one in bench.breakers.views() if one.stage == "release")


def denied(bench: Bench) -> None:
    """A run whose stage is cancelled: what it did is unknown, so it is undone."""
    bench.submit().abandon()
    assert bench.plugin.waiting == ["a/undo"]


def test_an_undo_is_recorded_and_never_stopped(bench: Bench) -> None:
    bench.serve(UNDONE)
    for _ in range(2):
        denied(bench)
        bench.fail("a/undo", PluginError("broken"))
    assert breaker_of_the_undo(bench).state == "open"
    for _ in range(3):
        denied(bench)
        bench.answer("a/undo")
    assert breaker_of_the_undo(bench).state == "open", "an undo is no probe"
    assert all(run.machine.undos for run in bench.ended)


# A last stage of `finally`.


FINALLY = f"""
  p:
    hook: tool_pre_invoke
    stages:
      a: {{ uses: s/act }}
    finally:
      last: {{ uses: s/ask, {BREAKER} }}
"""


def test_a_stage_of_finally_is_stopped_by_its_breaker_and_the_run_ends_all_the_same(bench: Bench) -> None:
    bench.serve(FINALLY)
    for _ in range(3):
        call = bench.submit()
        bench.answer("a")
        call.delivered()
        if "finally/last" in bench.plugin.waiting:
            bench.fail("finally/last", PluginError("broken"))
    assert view(bench).state == "open"
    assert len(bench.ended) == 3
    assert len([handed for handed in bench.plugin.handed if handed.stage == "finally/last"]) == 2


def test_a_bug_while_finally_is_called_gives_the_permit_back(bench: Bench) -> None:
    bench.plugin = Faulty(lambda stage: stage == "finally/last", lambda stage: False)
    bench.serve(FINALLY)
    [breaker] = bench.breakers.find("s/ask")
    for _ in range(2):
        breaker.failed(breaker.admit(), ValueError())
    bench.clock.forward(10.0)
    call = bench.submit()
    bench.answer("a")
    call.delivered()
    assert len(bench.ended) == 1
    assert (view(bench).state, view(bench).probes_out) == ("half-open", 0)


# Many at once.


def cancel_at_random(bench: Bench, seed: int) -> bool:
    """A story of calls that come, fail and leave; whether a probe was out when somebody left."""
    draw, probed = random.Random(seed), False
    calls: list[HookCall] = []
    for _ in range(60):
        match draw.randint(0, 5):
            case 0 | 1:
                calls.append(bench.submit())
            case 2 if calls:
                probed = probed or view(bench).probes_out > 0
                calls.pop(draw.randrange(len(calls))).abandon()
            case 3 if bench.plugin.waiting:
                bench.answer("a") if draw.random() < 0.5 else bench.fail("a", RetryableError("later"))
            case _:
                bench.clock.forward(draw.choice([0.05, 1.0, 10.0]))
    for call in calls:
        call.abandon()
    return probed


def test_random_cancellations_leak_no_permit(bench: Bench) -> None:
    text = one(", retry: { attempts: 3, backoff: { initial: 100ms }, on: [Busy, Retryable] }")
    plan = load_text(bench.folder, text).plan
    probed = 0
    for seed in range(60):
        bench.serve_plan(plan)
        probed += cancel_at_random(bench, seed)
        assert view(bench).probes_out == 0
    assert probed > 5, "hardly a story had a probe out"
