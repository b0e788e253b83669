"""The engine over doubles: what travels, what ends a call, and that nothing which goes wrong becomes an allow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
from fakes import FakeGeneration, Faulty, Refusing
from plans import load_text, routes_for
from surviving import code_of

from isolation.errors import (
    DeadlineExceeded,
    ExitReport,
    LocalProtocolError,
    NotSent,
    PluginBusy,
    PluginError,
    RemoteProtocolError,
    RetryableError,
    Stopping,
    WorkerLost,
)
from orchestrator.door import DoorError
from orchestrator.engine.engine import Engine, HookCall, Reply, UnknownHook, UnknownPipeline
from orchestrator.engine.wiring import Serving
from orchestrator.faults import StageFault
from orchestrator.record.records import records_of
from pipelines.expressions import Expression
from pipelines.fields import Field, fields_of
from pipelines.plan import Plan

HOOK = "tool_pre_invoke"
PAYLOAD: Mapping[str, object] = {"name": "echo", "args": {"q": "hello"}}
VIOLATION = {"code": "blocked", "reason": "a word"}


@dataclass
class Bench:
    """One loaded file over one double."""

    folder: Path
    loop: asyncio.AbstractEventLoop
    plugin: FakeGeneration = field(default_factory=FakeGeneration)

    def serve(self, pipelines: str, more: str = "") -> Engine:
        return self.engine_of(load_text(self.folder, pipelines, more=more).plan)

    def engine_of(self, plan: Plan) -> Engine:
        return Engine(Serving(routes_for(plan, {"s": self.plugin}), plan.unmatched, frozenset(plan.hooks)), self.loop)

    def call(self, pipelines: str, payload: Mapping[str, object] | bytes = PAYLOAD, more: str = "") -> HookCall:
        return self.serve(pipelines, more).submit(HOOK, payload)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    loop = asyncio.new_event_loop()
    yield Bench(tmp_path, loop)
    loop.close()


def stages(reply: Reply, run: int = -1) -> dict[str, str]:
    """The state of each stage."""
    found = records_of(reply)[run]["stages"]
    assert isinstance(found, dict)
    return {name: stage["state"] for name, stage in found.items()}


ONE = """
  p:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act }
"""

CHAIN = """
  p:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act }
      b: { uses: s/act, needs: [a] }
      c: { uses: s/act, needs: [b] }
"""

DIAMOND = """
  p:
    hook: tool_pre_invoke
    stages:
      top: { uses: s/act }
      left: { uses: s/act, needs: [top] }
      right: { uses: s/act, needs: [top] }
      join: { uses: s/act, needs: [left, right] }
"""


def test_bytes_that_nothing_changes_are_the_very_object_that_the_door_wrote(bench: Bench) -> None:
    call = bench.call(DIAMOND, b'{ "name" : "echo",\n "args": {"q": 1e2} }')
    for stage in ("top", "left", "right", "join"):
        bench.plugin.answer(stage, {"out": {"n": 1}})
    reply = call.reply.result()
    assert call.first.raw == b'{"name":"echo","args":{"q":100.0}}'
    assert all(one.call.invocation.payload is call.first.raw for one in bench.plugin.handed)
    assert all(one.call.invocation.context is call.context.raw for one in bench.plugin.handed)
    assert reply.payload is call.first.raw
    assert reply.verdict == "allow"


def test_a_payload_that_came_back_alike_is_not_taken_for_a_change(bench: Bench) -> None:
    call = bench.call(CHAIN)
    bench.plugin.answer("a", {"payload": {"args": {"q": "hello"}, "name": "echo"}})
    bench.plugin.answer("b", {"patch": {"args": {"q": "hello"}}})
    bench.plugin.answer("c", {"patch": {}})
    reply = call.reply.result()
    assert reply.verdict == "allow"
    assert reply.payload is call.first.raw
    assert bench.plugin.find("c").call.invocation.payload is call.first.raw


def test_one_change_travels_down_unparsed_until_a_join(bench: Bench) -> None:
    call = bench.call(CHAIN)
    bench.plugin.answer("a", {"patch": {"args": {"q": "masked"}}})
    seen = bench.plugin.find("b").call.invocation.payload
    bench.plugin.answer("b")
    assert bench.plugin.find("c").call.invocation.payload is seen
    bench.plugin.answer("c")
    reply = call.reply.result()
    assert reply.payload is seen
    assert json.loads(seen) == {"name": "echo", "args": {"q": "masked"}}
    assert reply.verdict == "modify"


def test_a_stage_sees_the_writes_of_its_ancestors_and_of_no_other(bench: Bench) -> None:
    call = bench.call(DIAMOND)
    bench.plugin.answer("top", {"patch": {"args": {"top": 1}}})
    bench.plugin.answer("right", {"patch": {"args": {"right": 1}}})
    assert bench.plugin.find("left").payload == {"name": "echo", "args": {"q": "hello", "top": 1}}
    bench.plugin.answer("left", {"patch": {"args": {"q": None}}})
    assert bench.plugin.find("join").payload == {"name": "echo", "args": {"top": 1, "right": 1}}
    bench.plugin.answer("join", {"patch": {"args": {"right": 2}}})
    reply = call.reply.result()
    assert json.loads(reply.payload) == {"name": "echo", "args": {"top": 1, "right": 2}}


def test_what_one_stage_takes_back_leaves_the_doors_own_bytes(bench: Bench) -> None:
    call = bench.call(CHAIN)
    bench.plugin.answer("a", {"patch": {"args": None}})
    bench.plugin.answer("b", {"patch": {"args": {"q": "hello"}}})
    bench.plugin.answer("c")
    reply = call.reply.result()
    assert reply.verdict == "allow"
    assert reply.payload is call.first.raw
    assert records_of(reply)[0]["verdict"] == "allow"


def test_different_writes_of_stages_that_do_not_need_each_other_deny(bench: Bench) -> None:
    call = bench.call(DIAMOND)
    bench.plugin.answer("top")
    bench.plugin.answer("left", {"patch": {"args": {"q": 1}}})
    bench.plugin.answer("right", {"patch": {"args": {"q": 2}}})
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.merge_conflict")
    assert stages(reply)["join"] == "failed"
    assert reply.payload is call.first.raw


UNJOINED = """
  p:
    hook: tool_pre_invoke
    {fallback}
    stages:
      left: {{ uses: s/act, mode: {mode} }}
      right: {{ uses: s/act, mode: {mode} }}
"""


def test_the_verdict_is_a_join_of_every_stage(bench: Bench) -> None:
    call = bench.call(UNJOINED.format(mode="enforce", fallback=""))
    bench.plugin.answer("left", {"patch": {"args": {"q": 1}}})
    bench.plugin.answer("right", {"patch": {"args": 1}})
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.merge_conflict")
    assert records_of(reply)[0]["payload"] == PAYLOAD


def test_state_that_two_stages_leave_differently_denies(bench: Bench) -> None:
    call = bench.call(UNJOINED.format(mode="enforce", fallback=""))
    bench.plugin.answer("left", {"state": {"seen": 1}, "patch": {"args": {"left": 1}}})
    bench.plugin.answer("right", {"state": {"seen": 2}})
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply), reply.state) == ("deny", "penstock.merge_conflict", None)


def test_an_allowing_fallback_gives_the_payload_as_it_came(bench: Bench) -> None:
    """The payloads join, the states do not: nothing of a run that failed may leave it."""
    fallback = "fallback: { on: [MergeConflict], reason: lenient, verdict: allow }"
    call = bench.call(UNJOINED.format(mode="permissive", fallback=fallback))
    bench.plugin.answer("left", {"state": {"seen": 1}, "patch": {"args": {"left": 1}}, "hints": {"retry_after_ms": 1}})
    bench.plugin.answer("right", {"state": {"seen": 2}})
    reply = call.reply.result()
    assert (reply.verdict, reply.state, reply.hints) == ("allow", None, None)
    assert reply.payload is call.first.raw
    assert reply.fault is not None and reply.fault.code == "penstock.merge_conflict"


def test_equal_results_pass_and_different_ones_deny(bench: Bench) -> None:
    text = """
  p:
    hook: http_auth_check_permission
    stages:
      left: { uses: s/act }
      right: { uses: s/act }
"""
    engine = bench.serve(text)
    payload = {"user_email": "a@example.com", "permission": "tools.read"}
    for other, verdict in ((True, "allow"), (False, "deny")):
        call = engine.submit("http_auth_check_permission", payload)
        bench.plugin.answer("left", {"result": {"granted": True}})
        bench.plugin.answer("right", {"result": {"granted": other}})
        assert call.reply.result().verdict == verdict
        assert call.reply.result().result == ({"granted": True} if verdict == "allow" else None)
    call = engine.submit("http_auth_check_permission", payload)
    bench.plugin.answer("left", {"result": {"granted": "false"}})
    assert code_of(call.reply.result()) == "penstock.plugin_error"


def test_of_results_the_one_of_a_later_stage_or_pipeline_counts_whole(bench: Bench) -> None:
    text = "".join(
        f"""
  {name}:
    hook: http_auth_check_permission
    stages:
      {name}_first: {{ uses: s/act }}
      {name}_then: {{ uses: s/act, needs: [{name}_first] }}
"""
        for name in ("one", "two")
    )
    call = bench.serve(text).submit("http_auth_check_permission", {"user_email": "a", "permission": "b"})
    bench.plugin.answer("one_first", {"result": {"granted": True}})
    bench.plugin.answer("one_then", {"result": {"granted": False, "reason": "no"}})
    bench.plugin.answer("two_first", {"result": {"granted": True}})
    bench.plugin.answer("two_then")
    assert call.reply.result().result == {"granted": True}


# The first denial.


def test_the_first_denial_wins_and_the_others_are_cancelled(bench: Bench) -> None:
    text = """
  p:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act }
      b: { uses: s/act }
      c: { uses: s/act, needs: [a] }
"""
    call = bench.call(text)
    bench.plugin.answer("b", {"violation": VIOLATION, "patch": {"args": {"b": 1}}})
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "blocked")
    assert stages(reply) == {"a": "cancelled", "b": "denied", "c": "cancelled"}
    assert bench.plugin.cancelled == ["a"]
    before = records_of(reply)
    bench.plugin.answer("a", {"violation": {**VIOLATION, "code": "late"}})
    bench.plugin.fail("a", WorkerLost("s#1", ExitReport(status=1)))
    assert records_of(reply) == before


def test_an_answer_that_breaks_in_after_the_end_changes_nothing(bench: Bench) -> None:
    """A generation that forgets a cancellation is a bug; it must not reopen a run."""
    call = bench.call(UNJOINED.format(mode="enforce", fallback=""))
    late = bench.plugin.find("left").call
    bench.plugin.answer("right", {"violation": VIOLATION})
    before = records_of(call.reply.result())
    late.answered(msgspec.Raw(b'{"patch":{"args":1}}'))
    late.failed(NotSent("late"))
    assert records_of(call.reply.result()) == before


# What the host says.


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (DeadlineExceeded("late"), "DeadlineExceeded", "penstock.timeout"),
        (WorkerLost("s#1", ExitReport(status=1)), "WorkerLost", "penstock.worker_lost"),
        (NotSent("none is there"), "WorkerLost", "penstock.worker_lost"),
        (Stopping("stopping"), "WorkerLost", "penstock.shutdown"),
        (PluginBusy("full"), "Busy", "penstock.busy"),
        (RetryableError("again"), "Retryable", "penstock.plugin_error"),
        (PluginError("broken"), "PluginError", "penstock.plugin_error"),
        (RemoteProtocolError("nonsense"), "PluginError", "penstock.plugin_error"),
        (LocalProtocolError("too large"), "PluginError", "penstock.plugin_error"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_every_end_without_an_answer_has_its_code(bench: Bench, error: PluginError, kind: str, code: str) -> None:
    call = bench.call(ONE)
    bench.plugin.fail("a", error)
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", code)
    assert reply.fault is not None and reply.fault.as_json()["class"] == kind
    assert reply.violation is not None and reply.violation.details == {"pipeline": "p", "stage": "a"}


@pytest.mark.parametrize(("mode", "verdict", "handed"), [("enforce", "deny", 1), ("permissive", "allow", 4)])
def test_a_plugin_that_refuses_every_call_at_once_ends_the_run_at_once(
    bench: Bench, mode: str, verdict: str, handed: int
) -> None:
    bench.plugin = Refusing(PluginBusy("full"))
    reply = bench.call(DIAMOND.replace("uses: s/act", f"uses: s/act, mode: {mode}")).reply.result()
    assert reply.verdict == verdict
    assert len(bench.plugin.handed) == handed
    assert stage_of(reply, "top")["error"] == {"class": "Busy", "code": "penstock.busy", "message": "full"}


def test_a_guard_that_is_told_to_continue_past_errors_still_denies_a_violation(bench: Bench) -> None:
    text = ONE.replace("uses: s/act", "uses: s/act, on_error: continue")
    for end, verdict in (({"violation": VIOLATION}, "deny"), ({"violated": True}, "allow")):
        call = bench.call(text)
        bench.plugin.answer("a", end)
        assert call.reply.result().verdict == verdict


def test_an_audited_answer_is_judged_like_any_other_and_then_dropped(bench: Bench) -> None:
    """What would be an error when the stage enforces is one now: an audit that hides it is no rehearsal."""
    text = ONE.replace("s/act", "s/narrow, mode: audit")
    for answer, state in (({"patch": {"args": {"allowed": 1}}}, "succeeded"), ({"patch": {"name": "x"}}, "skipped")):
        call = bench.call(text)
        bench.plugin.answer("a", answer)
        reply = call.reply.result()
        assert (reply.verdict, stages(reply)["a"]) == ("allow", state)
        assert reply.payload is call.first.raw


def test_a_fallback_gives_the_text_of_the_errors_it_names_only(bench: Bench) -> None:
    text = ONE.replace("stages:", "fallback: { on: [DeadlineExceeded], reason: policy unavailable }\n    stages:")
    for error, reason in ((DeadlineExceeded("x"), "policy unavailable"), (PluginBusy("full"), "full")):
        call = bench.call(text)
        bench.plugin.fail("a", error)
        reply = call.reply.result()
        assert reply.verdict == "deny"
        assert reply.violation is not None and reply.violation.reason == reason
    call = bench.call(text)
    bench.plugin.answer("a", {"violation": VIOLATION})
    assert call.reply.result().violation is not None
    assert code_of(call.reply.result()) == "blocked"


LENIENT = """
  p:
    hook: tool_pre_invoke
    match: "payload.args.flag == 'on'"
    fallback: { on: [ExpressionError, DeadlineExceeded], reason: none, verdict: allow }
    stages:
      a: { uses: s/act, mode: permissive, on_error: fail }
  q:
    hook: tool_pre_invoke
    stages:
      b: { uses: s/act }
"""


def test_a_pipeline_that_its_fallback_allows_is_recorded_and_the_next_one_runs(bench: Bench) -> None:
    call = bench.call(LENIENT)
    assert bench.plugin.waiting == ["b"]
    bench.plugin.answer("b")
    records = records_of(call.reply.result())
    assert [record["verdict"] for record in records] == ["allow", "allow"]
    error = records[0]["error"]
    assert isinstance(error, dict) and error["code"] == "penstock.expression"


def test_an_allowing_fallback_lets_the_payload_through_as_it_came(bench: Bench) -> None:
    call = bench.call(LENIENT, {"name": "echo", "args": {"flag": "on"}})
    bench.plugin.fail("a", DeadlineExceeded("late"))
    bench.plugin.answer("b", {"violation": VIOLATION})
    records = records_of(call.reply.result())
    assert [record["verdict"] for record in records] == ["allow", "deny"]


# Expressions that cannot be evaluated.


@pytest.mark.parametrize("place", ["when", "in", "overrides"])
@pytest.mark.parametrize(("mode", "verdict"), [("enforce", "deny"), ("permissive", "allow"), ("audit", "allow")])
def test_an_expression_that_cannot_be_evaluated_is_an_error_of_its_stage(
    bench: Bench, place: str, mode: str, verdict: str
) -> None:
    written = {
        "when": "when: \"payload.args.missing == 'x'\"",
        "in": 'in: { missing: "${payload.args.missing}" }',
        "overrides": "overrides: [{ when: \"payload.args.missing == 'x'\", timeout: 1s }]",
    }[place]
    call = bench.call(ONE.replace("uses: s/act", f"uses: s/act, mode: {mode}, {written}"))
    reply = call.reply.result()
    assert bench.plugin.handed == []
    assert reply.verdict == verdict
    assert code_of(reply) == ("penstock.expression" if verdict == "deny" else None)
    assert stages(reply) == {"a": "failed" if verdict == "deny" else "skipped"}
    stage = stage_of(reply, "a")
    assert stage["why"] == "error"
    assert stage["attempts"] == 0
    assert isinstance(stage["error"], dict) and stage["error"]["class"] == "ExpressionError"


def stage_of(reply: Reply, stage: str, run: int = -1) -> dict[str, object]:
    found = records_of(reply)[run]["stages"]
    assert isinstance(found, dict)
    one: dict[str, object] = found[stage]
    return one


def test_where_it_is_unknown_which_override_holds_an_error_counts_as_in_the_strictest(bench: Bench) -> None:
    """Otherwise whoever makes the condition fail chooses the lenient variant of a guard."""
    text = ONE.replace(
        "uses: s/act", "uses: s/act, mode: permissive, overrides: [{ when: \"payload.args.k == 'x'\", mode: enforce }]"
    )
    reply = bench.call(text).reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.expression")


def test_a_conflict_in_what_the_overrides_look_at_counts_as_in_the_strictest(bench: Bench) -> None:
    """`after` writes what `right` wrote, so that only the guard meets the conflict."""
    text = """
  p:
    hook: tool_pre_invoke
    stages:
      left: { uses: s/act }
      right: { uses: s/act }
      guard:
        uses: s/act
        needs: [left, right]
        mode: permissive
        overrides: [{ when: "payload.name == 'x'", mode: enforce }]
      after: { uses: s/act, needs: [left] }
"""
    call = bench.call(text)
    bench.plugin.answer("left", {"patch": {"args": {"q": 1}}})
    bench.plugin.answer("after", {"patch": {"args": {"q": 2}}})
    bench.plugin.answer("right", {"patch": {"args": {"q": 2}}})
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.merge_conflict")


def test_an_override_that_was_ruled_out_does_not_make_an_error_stricter(bench: Bench) -> None:
    overrides = "[{ when: \"payload.name == 'x'\", mode: enforce }, { when: \"payload.args.k == 'x'\", timeout: 1s }]"
    text = ONE.replace("uses: s/act", f"uses: s/act, mode: permissive, overrides: {overrides}")
    reply = bench.call(text).reply.result()
    assert (reply.verdict, stages(reply)) == ("allow", {"a": "skipped"})


def test_a_match_that_cannot_be_evaluated_denies_the_call(bench: Bench) -> None:
    text = ONE.replace("stages:", "match: \"payload.args.missing == 'x'\"\n    stages:")
    call = bench.call(text)
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.expression")
    assert stages(reply) == {"a": "cancelled"}
    assert bench.plugin.handed == []


def test_conditions_see_the_state_that_earlier_stages_left(bench: Bench) -> None:
    text = """
  p:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act }
      b: { uses: s/act, needs: [a], when: "context.state.risk == 'high'", in: { risk: "${context.state.risk}" } }
      c: { uses: s/act, when: "!has(context.state.risk)" }
"""
    call = bench.call(text)
    bench.plugin.answer("a", {"state": {"risk": "high"}})
    assert sorted(bench.plugin.waiting) == ["b", "c"]
    assert bench.plugin.find("b").input == {"risk": "high"}
    assert bench.plugin.find("b").context["state"] == {"risk": "high"}
    assert bench.plugin.find("c").context["state"] == {}
    bench.plugin.answer("b", {"state": {"risk": None, "seen": True}})
    bench.plugin.answer("c")
    assert call.reply.result().state == {"seen": True}


# Disabled stages and needs.


def test_a_disabled_stage_is_not_bothered_by_what_it_would_have_seen(bench: Bench) -> None:
    """`after` writes what `right` wrote, so that only the disabled stage would meet the conflict."""
    text = """
  p:
    hook: tool_pre_invoke
    stages:
      left: { uses: s/act }
      right: { uses: s/act }
      off: { uses: s/act, needs: [left, right], mode: disabled }
      after: { uses: s/act, needs: [left] }
"""
    call = bench.call(text)
    bench.plugin.answer("left", {"patch": {"args": {"q": 1}}})
    bench.plugin.answer("right", {"patch": {"args": {"q": 2}}})
    bench.plugin.answer("after", {"patch": {"args": {"q": 2}}})
    reply = call.reply.result()
    assert reply.verdict == "modify"
    assert stages(reply)["off"] == "skipped"


NEEDY = """
  p:
    hook: tool_pre_invoke
    stages:
      a: {{ uses: s/act, when: "payload.name == 'other'" }}
      b: {{ uses: s/act, mode: {mode}, on_error: {on_error}, needs: [{{ stage: a, is: [succeeded] }}] }}
      c: {{ uses: s/act, needs: [b] }}
"""


@pytest.mark.parametrize("on_error", ["fail", "continue"])
def test_a_guard_whose_need_is_not_met_never_skips_silently(bench: Bench, on_error: str) -> None:
    reply = bench.call(NEEDY.format(mode="enforce", on_error=on_error)).reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.need_unmet")
    assert stages(reply) == {"a": "skipped", "b": "failed", "c": "cancelled"}
    assert stage_of(reply, "b")["why"] == "need"


@pytest.mark.parametrize("mode", ["permissive", "audit", "disabled"])
def test_a_stage_that_does_not_enforce_is_skipped_when_its_need_is_not_met(bench: Bench, mode: str) -> None:
    call = bench.call(NEEDY.format(mode=mode, on_error="continue"))
    bench.plugin.answer("c")
    reply = call.reply.result()
    assert reply.verdict == "allow"
    assert stages(reply) == {"a": "skipped", "b": "skipped", "c": "succeeded"}
    assert stage_of(reply, "b")["why"] == ("disabled" if mode == "disabled" else "need")


# Several pipelines on one hook.


TWO = """
  first:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act }
  second:
    hook: tool_pre_invoke
    match: "payload.name == 'echo'"
    stages:
      b: { uses: s/act }
"""


def test_a_pipeline_runs_on_what_the_one_before_it_left(bench: Bench) -> None:
    call = bench.call(TWO)
    assert bench.plugin.waiting == ["a"]
    bench.plugin.answer("a", {"patch": {"args": {"a": 1}}, "state": {"s": 1}, "hints": {"http_headers": {"X-A": "1"}}})
    assert bench.plugin.find("b").payload == {"name": "echo", "args": {"q": "hello", "a": 1}}
    assert bench.plugin.find("b").context["state"] == {"s": 1}
    bench.plugin.answer("b", {"patch": {"args": None}, "state": {"t": 2}, "hints": {"http_headers": {"X-B": "2"}}})
    reply = call.reply.result()
    assert reply.verdict == "modify"
    assert json.loads(reply.payload) == {"name": "echo"}
    assert reply.state == {"s": 1, "t": 2}
    assert reply.hints == {"http_headers": {"X-A": "1", "X-B": "2"}}
    records = records_of(reply)
    assert [record["pipeline"] for record in records] == ["first", "second"]
    assert ["hook_verdict" in record for record in records] == [False, True]


def test_a_denial_after_a_change_gives_the_payload_as_it_came_and_nothing_else(bench: Bench) -> None:
    call = bench.call(TWO)
    bench.plugin.answer("a", {"patch": {"args": {"a": 1}}, "state": {"s": 1}, "hints": {"retry_after_ms": 1}})
    bench.plugin.answer("b", {"violation": VIOLATION})
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "blocked")
    assert reply.payload is call.first.raw
    assert (reply.state, reply.hints, reply.result) == (None, None, None)


def test_the_first_pipeline_that_denies_ends_the_hook(bench: Bench) -> None:
    call = bench.call(TWO)
    bench.plugin.answer("a", {"violation": VIOLATION})
    assert call.reply.result().verdict == "deny"
    assert len(records_of(call.reply.result())) == 1
    assert bench.plugin.waiting == []


def test_a_match_is_evaluated_on_what_the_pipeline_would_get(bench: Bench) -> None:
    call = bench.call(TWO)
    bench.plugin.answer("a", {"patch": {"name": "other"}})
    reply = call.reply.result()
    assert reply.verdict == "modify"
    assert [record["pipeline"] for record in records_of(reply)] == ["first"]
    assert records_of(reply)[0]["hook_verdict"] == "modify"


def test_two_pipelines_of_which_one_takes_back_what_the_other_did_allow(bench: Bench) -> None:
    call = bench.call(TWO)
    bench.plugin.answer("a", {"patch": {"args": None}})
    bench.plugin.answer("b", {"payload": {"args": {"q": "hello"}, "name": "echo"}})
    reply = call.reply.result()
    assert reply.verdict == "allow"
    assert reply.payload is call.first.raw
    assert [record["verdict"] for record in records_of(reply)] == ["modify", "modify"]


def test_any_number_of_pipelines_may_end_without_waiting(bench: Bench) -> None:
    """Each ends while the one before it is being ended; that must not need a deeper stack."""
    text = "".join(
        f"\n  p{i}:\n    hook: tool_pre_invoke\n    stages:\n      a: {{ uses: s/act, mode: disabled }}\n"
        for i in range(400)
    )
    reply = bench.call(text).reply.result()
    assert reply.verdict == "allow"
    assert len(reply.runs) == 400


@pytest.mark.parametrize(("unmatched", "verdict"), [("allow", "allow"), ("deny", "deny")])
def test_a_call_that_no_pipeline_applies_to_gets_what_the_file_says(bench: Bench, unmatched: str, verdict: str) -> None:
    text = ONE.replace("stages:", "match: \"payload.name == 'other'\"\n    stages:")
    reply = bench.call(text, more=f"hooks: {{ tool_pre_invoke: {{ unmatched: {unmatched} }} }}").reply.result()
    assert reply.verdict == verdict
    assert code_of(reply) == ("penstock.unmatched" if verdict == "deny" else None)
    assert reply.run_id is None
    [record] = records_of(reply)
    assert (record["pipeline"], record["verdict"], record["hook_verdict"]) == (None, verdict, verdict)


def test_admission_is_denied_where_a_file_judges_admissions_and_nothing_applies(bench: Bench) -> None:
    text = ONE.replace("tool_pre_invoke", "server_pre_register").replace(
        "stages:", "match: \"payload.name == 'x'\"\n    stages:"
    )
    engine = bench.serve(text)
    reply = engine.submit("server_pre_register", {"name": "y", "url": "https://example.com"}).reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.unmatched")
    assert engine.submit("tool_pre_invoke", PAYLOAD).reply.result().verdict == "allow"


# Time, callers, the end of the host.


def test_a_hook_whose_deadline_has_passed_is_denied_before_anything_runs(bench: Bench) -> None:
    reply = bench.serve(ONE).submit(HOOK, PAYLOAD, within_seconds=0.0).reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.timeout")
    assert bench.plugin.handed == []
    assert stages(reply) == {"a": "cancelled"}


def test_a_call_gets_the_least_of_its_timeout_the_pipelines_and_the_hooks_deadline(bench: Bench) -> None:
    text = ONE.replace("stages:", "deadline: 2s\n    stages:").replace("s/act", "s/act, timeout: {timeout}")
    for timeout, within, left in (("1s", 60.0, 1.0), ("30s", 60.0, 2.0), ("30s", 0.5, 0.5)):
        call = bench.serve(text.replace("{timeout}", timeout)).submit(HOOK, PAYLOAD, within_seconds=within)
        waiting = bench.plugin.find("a").call
        assert waiting.deadline - call.runs[0].started == pytest.approx(left, abs=0.2)


def test_a_caller_that_goes_away_cancels_what_runs_for_it(bench: Bench) -> None:
    call = bench.call(DIAMOND)
    call.abandon()
    assert bench.plugin.cancelled == ["top"]
    assert call.reply.result().verdict == "deny"
    call.abandon()
    bench.plugin.answer("top")
    assert bench.plugin.waiting == []


def test_a_host_that_stops_denies_what_is_under_way_and_what_still_comes(bench: Bench) -> None:
    engine = bench.serve(TWO)
    under_way = engine.submit(HOOK, PAYLOAD)
    bench.loop.run_until_complete(engine.close())
    late = engine.submit(HOOK, PAYLOAD)
    for call in (under_way, late):
        reply = call.reply.result()
        assert (reply.verdict, code_of(reply)) == ("deny", "penstock.shutdown")
    assert bench.plugin.cancelled == ["a"]
    assert len(bench.plugin.handed) == 1
    [record] = records_of(late.reply.result())
    assert (record["pipeline"], record["verdict"]) == (None, "deny")


def test_what_is_no_call_is_refused_at_the_door(bench: Bench) -> None:
    engine = bench.serve(ONE)
    with pytest.raises(UnknownHook):
        engine.submit("tool_pre_invok", PAYLOAD)
    with pytest.raises(UnknownPipeline):
        engine.submit(HOOK, PAYLOAD, pipeline="no_such_pipeline")
    for payload in (b"", b"[]", b'{"a":1e400}', b'{"a":"\xff"}'):
        with pytest.raises(DoorError):
            engine.submit(HOOK, payload)
    for context in (b"[]", b'{"request_id":1}', b'{"tenant":"\\ud800"}', b'{"stat":{}}'):
        with pytest.raises(DoorError):
            engine.submit(HOOK, PAYLOAD, context)
    assert bench.plugin.handed == []


def test_mocks_answer_in_a_plugins_stead_and_are_judged_alike(bench: Bench) -> None:
    engine = bench.serve(CHAIN)
    good = engine.submit(HOOK, PAYLOAD, mocks={"a": {"patch": {"name": "x"}}, "b": {}, "c": {"out": {"n": 3}}})
    assert good.reply.result().verdict == "modify"
    assert bench.plugin.handed == []
    bad = engine.submit(HOOK, PAYLOAD, mocks={"a": {"outs": {}}})
    assert code_of(bad.reply.result()) == "penstock.plugin_error"
    real = engine.submit(HOOK, PAYLOAD, mocks={"b": {"violation": VIOLATION}})
    assert bench.plugin.waiting == ["a"]
    bench.plugin.answer("a")
    assert stages(real.reply.result()) == {"a": "succeeded", "b": "denied", "c": "cancelled"}


# Bugs of our own.


class Broken(Expression):
    """An expression with a bug."""

    def __init__(self) -> None:
        """It needs nothing to break."""

    def evaluate(self, roots: Mapping[str, object]) -> object:
        raise RuntimeError("a bug in evaluate")


def never(stage: str) -> bool:
    return False


def assert_internal(call: HookCall) -> None:
    reply = call.reply.result()
    assert (reply.verdict, code_of(reply)) == ("deny", "penstock.internal")
    assert reply.payload is call.first.raw
    record = records_of(reply)[-1]
    assert (record["verdict"], record["hook_verdict"]) == ("deny", "deny")
    found = record["stages"]
    assert isinstance(found, dict)
    assert not {"pending", "running"} & {stage["state"] for stage in found.values()}


@pytest.mark.parametrize("stage", ["top", "left", "right", "join"])
def test_a_bug_while_a_stage_is_taken_up_denies_at_once(bench: Bench, stage: str) -> None:
    bench.plugin = Faulty(lambda one: one == stage, never)
    call = bench.call(DIAMOND)
    for one in ("top", "left", "right", "join"):
        if one in bench.plugin.waiting:
            bench.plugin.answer(one)
    assert_internal(call)


def test_a_bug_while_a_stage_is_cancelled_denies_and_cancels_the_others(bench: Bench) -> None:
    text = """
  p:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act }
      b: { uses: s/act }
      c: { uses: s/act }
      d: { uses: s/act }
"""
    bench.plugin = Faulty(never, lambda one: one in ("a", "b"))
    call = bench.call(text)
    bench.plugin.answer("d", {"violation": VIOLATION})
    assert call.reply.result().verdict == "deny"
    assert bench.plugin.cancelled == ["c"]
    assert set(stages(call.reply.result()).values()) == {"cancelled", "denied"}


def broken_when(plan: Plan, stage: str) -> Plan:
    """The plan with a bug in the condition of one stage."""
    [pipeline] = plan.routes[HOOK]
    made = tuple(replace(one, when=Broken()) if one.id == stage else one for one in pipeline.stages)
    return replace(plan, routes={HOOK: (replace(pipeline, stages=made),)})


@pytest.mark.parametrize("mocked", [False, True])
@pytest.mark.parametrize("stage", ["top", "left", "join"])
def test_a_bug_in_a_condition_denies_and_leaves_nothing_running(bench: Bench, stage: str, *, mocked: bool) -> None:
    engine = bench.engine_of(broken_when(load_text(bench.folder, DIAMOND).plan, stage))
    mocks: dict[str, dict[str, object]] = {name: {} for name in ("top", "left", "right", "join")} if mocked else {}
    call = engine.submit(HOOK, PAYLOAD, mocks=mocks)
    for one in ("top", "left", "right", "join"):
        if one in bench.plugin.waiting:
            bench.plugin.answer(one)
    assert_internal(call)
    assert bench.plugin.waiting == []


class BrokenFields(tuple[Field, ...]):
    """The fields of a hook's answer, with a bug."""

    def __iter__(self) -> NoReturn:
        raise RuntimeError("a bug in the catalogue")


@pytest.mark.parametrize("mocked", [False, True])
def test_a_bug_while_an_answer_is_judged_denies_and_leaves_nothing_running(bench: Bench, *, mocked: bool) -> None:
    plan = load_text(bench.folder, UNJOINED.format(mode="permissive", fallback="")).plan
    [pipeline] = plan.routes[HOOK]
    broken = replace(pipeline, hook=replace(pipeline.hook, answer=BrokenFields(fields_of({"granted": "bool"}))))
    engine = bench.engine_of(replace(plan, routes={HOOK: (broken,)}))
    result = {"result": {"granted": True}}
    call = engine.submit(HOOK, PAYLOAD, mocks={"left": result} if mocked else None)
    if not mocked:
        bench.plugin.answer("left", result)
    assert_internal(call)
    assert bench.plugin.waiting == []
    before = records_of(call.reply.result())
    call.runs[-1].halt(StageFault("Late", "penstock.timeout", "too late to matter"))
    assert records_of(call.reply.result()) == before


def test_a_bug_in_a_match_denies_the_call_also_after_an_earlier_pipeline(bench: Bench) -> None:
    plan = load_text(bench.folder, TWO).plan
    first, second = plan.routes[HOOK]
    broken = replace(second, match=Broken())
    assert_internal(bench.engine_of(replace(plan, routes={HOOK: (broken, first)})).submit(HOOK, PAYLOAD))
    call = bench.engine_of(replace(plan, routes={HOOK: (first, broken)})).submit(HOOK, PAYLOAD)
    bench.plugin.answer("a", {"patch": {"args": {"a": 1}}})
    assert_internal(call)


def test_a_call_is_forgotten_once_it_is_answered(bench: Bench) -> None:
    engine = bench.serve(ONE)
    for _ in range(3):
        engine.submit(HOOK, PAYLOAD)
        bench.plugin.answer("a")
    last = engine.submit(HOOK, PAYLOAD)
    assert engine.under_way == 1
    bench.plugin.answer("a")
    assert last.reply.done()
    assert engine.under_way == 0
