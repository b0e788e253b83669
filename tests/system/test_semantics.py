"""The rules of a run, through YAML, store, real worker processes and the protocol, to the records people read."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from plans import load_text

from isolation.store.store import Store
from orchestrator.orchestrator import HookResult, Orchestrator

Tree = dict[str, object]
Script = Mapping[str, Mapping[str, object]]

PROGRAM = (Path(__file__).parents[1] / "scripted_program.py").read_text()
HOOK = "tool_pre_invoke"
VIOLATION = {"code": "blocked", "reason": "a word", "details": {"word": "x"}, "http_status": 403}
BOUND_SECONDS = 20.0
"""No test waits longer for anything."""

MODES = ("enforce", "permissive", "audit", "disabled")
ON_ERRORS = ("fail", "continue", "unsaid")


def stage(mode: str, on_error: str) -> str:
    said = f", on_error: {on_error}" if on_error != "unsaid" else ""
    return f"{{ uses: s/act, mode: {mode}{said}, otherwise: {{ n: 7 }} }}"


MATRIX = "".join(
    f"\n  {mode}_{on_error}:\n    hook: {HOOK}\n    stages:\n      a: {stage(mode, on_error)}\n"
    '      b: { uses: s/act, needs: [a], in: { state: "${stages.a.state}" } }\n'
    for mode, on_error in itertools.product(MODES, ON_ERRORS)
)

PIPELINES = (
    MATRIX
    + """
  chain:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act }
      b: { uses: s/act, needs: [a] }
      c: { uses: s/act, needs: [b] }
  beside:
    hook: tool_pre_invoke
    deadline: 10s
    stages:
      left: { uses: s/act }
      right: { uses: s/act }
      join: { uses: s/act, needs: [left, right] }
  narrow:
    hook: [tool_pre_invoke, tool_post_invoke]
    stages:
      a: { uses: s/narrow }
  mapped:
    hook: tool_pre_invoke
    stages:
      a: { uses: s/act, when: "payload.name != 'quiet'", otherwise: { n: 5, note: skipped } }
      b:
        uses: s/act
        needs: [a]
        in: { n: "${stages.a.out.n}", twice: "${stages.a.out.n * 2}", who: "${context.user.email}", fixed: [1, x] }
  chosen:
    hook: tool_pre_invoke
    stages:
      a:
        uses: s/act
        with: { level: base, kept: true }
        overrides:
          - { when: "context.tenant == 'acme'", with: { level: acme } }
          - { when: "context.tenant in ['acme', 'other']", with: { level: other }, mode: permissive }
          - { when: "payload.name == 'off'", mode: disabled }
  short:
    hook: tool_pre_invoke
    deadline: 150ms
    stages:
      a: { uses: s/act }
      b: { uses: s/act, needs: [a] }
  hasty:
    hook: tool_pre_invoke
    fallback: { on: [DeadlineExceeded], reason: policy unavailable }
    stages:
      a: { uses: s/act, timeout: 100ms }
"""
)


@dataclass
class Service:
    """One orchestrator for all tests of this file."""

    runner: asyncio.Runner
    inside: Orchestrator

    def call(
        self,
        pipeline: str,
        script: Script | None = None,
        payload: Mapping[str, object] | bytes = b'{"name":"echo","args":{"q":"hello"}}',
        *,
        hook: str = HOOK,
        within: float = BOUND_SECONDS,
        context: Mapping[str, object] | None = None,
    ) -> HookResult:
        whole = {"metadata": {"script": script or {}}, **(context or {})}
        invoked = self.inside.invoke(hook, payload, whole, pipeline=pipeline, within_seconds=within)
        return self.runner.run(asyncio.wait_for(invoked, BOUND_SECONDS))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("semantics")
    loaded = load_text(folder, PIPELINES, program=PROGRAM, replicas=2)
    with asyncio.Runner() as runner:
        inside = Orchestrator(loaded, Store(folder / "store"))
        opened = asyncio.Event()
        over = asyncio.Event()

        async def live() -> None:
            async with inside:
                opened.set()
                await over.wait()

        async def begin() -> asyncio.Task[None]:
            living = asyncio.ensure_future(live())
            await asyncio.wait({living, asyncio.ensure_future(opened.wait())}, return_when=asyncio.FIRST_COMPLETED)
            return living

        living = runner.run(begin())
        yield Service(runner, inside)
        over.set()
        runner.run(asyncio.wait_for(living, BOUND_SECONDS))


def stages(result: HookResult) -> dict[str, Tree]:
    found = result.records[-1]["stages"]
    assert isinstance(found, dict)
    return found


def states(result: HookResult) -> dict[str, object]:
    return {name: one["state"] for name, one in stages(result).items()}


def code_of(result: HookResult) -> str | None:
    return result.reply.violation.code if result.reply.violation is not None else None


def seen(result: HookResult, name: str) -> Tree:
    """What a stage that was told to see was handed."""
    out = stages(result)[name]["out"]
    assert isinstance(out, dict)
    handed: Tree = out["seen"]
    return handed


def answer(**members: object) -> Mapping[str, object]:
    return {"answer": members}


# Order and data.


def test_each_stage_sees_what_its_ancestors_changed(service: Service) -> None:
    script = {
        "a": answer(patch={"args": {"q": "A"}}),
        "b": answer(payload={"name": "B", "args": {"q": "A"}}),
        "c": {"see": True},
    }
    result = service.call("chain", script)
    assert seen(result, "c")["payload"] == {"name": "B", "args": {"q": "A"}}
    assert result.verdict == "modify"
    assert json.loads(result.payload) == {"name": "B", "args": {"q": "A"}}
    assert states(result) == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}


def test_a_worker_is_handed_the_doors_own_bytes(service: Service) -> None:
    result = service.call("chain", {"c": {"see": True}}, b'{ "name":"echo",\n "args":{"n":1E2,"n":1e1} }')
    assert result.verdict == "allow"
    assert result.payload == b'{"name":"echo","args":{"n":10.0}}'
    assert seen(result, "c")["bytes"] == len(result.payload)


def test_stages_that_do_not_need_each_other_really_run_at_the_same_time(service: Service, tmp_path: Path) -> None:
    """Each waits at one end of a FIFO until the other has come to the other end."""
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    result = service.call("beside", {"left": {"meet": fifo, "as": "r"}, "right": {"meet": fifo, "as": "w"}})
    assert result.verdict == "allow"
    assert stages(result)["left"]["worker"] != stages(result)["right"]["worker"]


def test_a_join_takes_both_sides_and_refuses_what_they_wrote_differently(service: Service) -> None:
    left = answer(patch={"args": {"left": 1}}, state={"seen": {"left": 1}})
    result = service.call(
        "beside",
        {
            "left": left,
            "right": answer(patch={"args": {"q": None}}, state={"seen": {"right": 2}}),
            "join": {"see": True},
        },
    )
    assert seen(result, "join")["payload"] == {"name": "echo", "args": {"left": 1}}
    assert result.reply.state == {"seen": {"left": 1, "right": 2}}
    clash = service.call("beside", {"left": left, "right": answer(patch={"args": {"left": 2}})})
    assert (clash.verdict, code_of(clash)) == ("deny", "penstock.merge_conflict")
    assert states(clash) == {"left": "succeeded", "right": "succeeded", "join": "failed"}
    assert clash.payload == b'{"name":"echo","args":{"q":"hello"}}'


def test_values_are_mapped_into_the_input_and_a_skipped_stage_gives_its_otherwise(service: Service) -> None:
    context = {"user": {"email": "a@example.com"}}
    result = service.call("mapped", {"a": answer(out={"n": 3}), "b": {"see": True}}, context=context)
    assert seen(result, "b")["input"] == {"n": 3, "twice": 6, "who": "a@example.com", "fixed": [1, "x"]}
    quiet = service.call("mapped", {"b": {"see": True}}, {"name": "quiet"})
    assert seen(quiet, "b")["input"] == {"n": 5, "twice": 10, "who": "", "fixed": [1, "x"]}
    assert (stages(quiet)["a"]["state"], stages(quiet)["a"]["why"]) == ("skipped", "when")
    assert stages(quiet)["a"]["out"] == {"n": 5, "note": "skipped"}


def test_an_out_that_is_missing_is_an_expression_that_cannot_be_evaluated(service: Service) -> None:
    result = service.call("mapped", {"a": answer(out={"note": "no n"})})
    assert (result.verdict, code_of(result)) == ("deny", "penstock.expression")


@pytest.mark.parametrize(
    ("tenant", "name", "verdict", "state"),
    [
        ("acme", "x", "deny", "denied"),
        ("other", "x", "allow", "succeeded"),
        ("third", "off", "allow", "skipped"),
        ("third", "x", "deny", "denied"),
        ("acme", "off", "deny", "denied"),
    ],
)
def test_the_first_override_that_matches_wins(
    service: Service, tenant: str, name: str, verdict: str, state: str
) -> None:
    result = service.call("chosen", {"a": answer(violation=VIOLATION)}, {"name": name}, context={"tenant": tenant})
    assert (result.verdict, states(result)) == (verdict, {"a": state})


def test_each_override_has_its_own_configuration(service: Service) -> None:
    configs = {
        t: seen(service.call("chosen", {"a": {"see": True}}, context={"tenant": t}), "a")["config"]
        for t in ("acme", "other", "x")
    }
    assert len(set(configs.values())) == 3


# Modes and errors: the whole table.


def expected(mode: str, on_error: str, event: str) -> tuple[str, str]:
    """Verdict and state, from the words of the rules."""
    if mode == "disabled":
        return "allow", "skipped"
    if event == "violation":
        return ("deny", "denied") if mode == "enforce" else ("allow", "succeeded")
    fails = on_error == "fail" or (on_error == "unsaid" and mode == "enforce")
    return ("deny", "failed") if fails else ("allow", "skipped")


EVENTS: Mapping[str, tuple[Mapping[str, object], str]] = {
    "violation": (answer(violation=VIOLATION), "blocked"),
    "plugin error": ({"error": -32804}, "penstock.plugin_error"),
    "retryable": ({"error": -32801}, "penstock.plugin_error"),
    "busy": ({"error": -32802}, "penstock.busy"),
    "deadline": ({"error": -32803}, "penstock.timeout"),
    "unknown key": (answer(allowed=True), "penstock.plugin_error"),
    "no object": ({"answer": [1]}, "penstock.plugin_error"),
    "bad payload": (answer(payload=[]), "penstock.plugin_error"),
    "two changes": (answer(payload={}, patch={}), "penstock.plugin_error"),
    "the host's code": (answer(violation={**VIOLATION, "code": "penstock.x"}), "penstock.plugin_error"),
    "a result": (answer(result={}), "penstock.plugin_error"),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("on_error", ON_ERRORS)
@pytest.mark.parametrize("mode", MODES)
def test_what_a_violation_and_an_error_do_is_the_modes_and_on_errors_choice(
    service: Service, mode: str, on_error: str, event: str
) -> None:
    told, code = EVENTS[event]
    result = service.call(f"{mode}_{on_error}", {"a": told, "b": {"see": True}})
    verdict, state = expected(mode, on_error, event)
    assert (result.verdict, states(result)["a"]) == (verdict, state)
    assert code_of(result) == (code if verdict == "deny" else None)
    first = stages(result)["a"]
    if mode != "disabled":
        assert (first["violation"] is None, first["error"] is None) == (event != "violation", event == "violation")
    if verdict == "allow":
        assert seen(result, "b")["input"] == {"state": state}
        assert first["out"] == ({"n": 7} if state == "skipped" else None)


def test_a_recorded_violation_lets_its_changes_through_and_an_audited_one_does_not(service: Service) -> None:
    told = answer(
        violation=VIOLATION, patch={"args": {"q": "masked"}}, state={"s": 1}, hints={"retry_after_ms": 1}, out={"n": 1}
    )
    permissive = service.call("permissive_unsaid", {"a": told})
    assert (permissive.verdict, json.loads(permissive.payload)["args"]) == ("modify", {"q": "masked"})
    assert (permissive.reply.state, permissive.reply.hints) == ({"s": 1}, {"http_headers": {}, "retry_after_ms": 1})
    audit = service.call("audit_unsaid", {"a": told, "b": {"see": True}})
    assert audit.verdict == "allow"
    assert audit.payload == b'{"name":"echo","args":{"q":"hello"}}'
    assert (audit.reply.state, audit.reply.hints) == (None, None)
    assert seen(audit, "b")["payload"] == {"name": "echo", "args": {"q": "hello"}}
    assert stages(audit)["a"]["out"] == {"n": 1}
    recorded = stages(audit)["a"]["violation"]
    assert isinstance(recorded, dict) and recorded["code"] == "blocked"


# The manifest's `writes`.


@pytest.mark.parametrize(
    ("hook", "told", "good"),
    [
        (HOOK, {"patch": {"args": {"allowed": 1}}}, True),
        (HOOK, {"patch": {"args": {"q": "x"}}}, False),
        (HOOK, {"patch": {"args": None}}, False),
        (HOOK, {"payload": {"name": "echo", "args": {"q": "hello", "allowed": {"a": 1}}}}, True),
        (HOOK, {"payload": {"args": {"q": "hello", "allowed": 1}}}, False),
        (HOOK, {"payload": {"name": "echo", "args": {"q": "hello"}}}, True),
        ("tool_post_invoke", {"patch": {"result": 1}}, False),
        ("tool_post_invoke", {"patch": {}}, True),
    ],
)
def test_a_change_outside_the_manifests_writes_is_the_plugins_error(
    service: Service, hook: str, told: Mapping[str, object], *, good: bool
) -> None:
    result = service.call("narrow", {"a": {"answer": told}}, hook=hook)
    assert (code_of(result) is None) == good
    assert states(result)["a"] == ("succeeded" if good else "failed")
    if not good:
        assert code_of(result) == "penstock.plugin_error"
        assert result.payload == b'{"name":"echo","args":{"q":"hello"}}'


# Time and loss.


def test_a_stage_that_overruns_its_timeout_denies_with_the_fallbacks_text(service: Service) -> None:
    result = service.call("hasty", {"a": {"hang": True}})
    assert (result.verdict, code_of(result)) == ("deny", "penstock.timeout")
    assert result.reply.violation is not None and result.reply.violation.reason == "policy unavailable"
    assert service.call("hasty").verdict == "allow"


def test_the_deadline_of_the_pipeline_ends_a_call_that_has_time_of_its_own(service: Service) -> None:
    result = service.call("short", {"b": {"hang": True}})
    assert (result.verdict, code_of(result)) == ("deny", "penstock.timeout")
    assert states(result) == {"a": "succeeded", "b": "failed"}


def test_the_deadline_of_the_hook_ends_a_call_that_has_time_of_its_own(service: Service) -> None:
    result = service.call("chain", {"b": {"hang": True}}, within=0.15)
    assert (result.verdict, code_of(result)) == ("deny", "penstock.timeout")
    assert states(result) == {"a": "succeeded", "b": "failed", "c": "cancelled"}


def test_a_denial_does_not_wait_for_the_stages_beside_it(service: Service) -> None:
    result = service.call("beside", {"left": {"hang": True}, "right": answer(violation=VIOLATION)})
    assert (result.verdict, code_of(result)) == ("deny", "blocked")
    assert states(result) == {"left": "cancelled", "right": "denied", "join": "cancelled"}
    assert stages(result)["left"]["why"] == "ended"


def test_a_worker_that_ends_in_a_call_denies_it_and_another_takes_the_next(service: Service) -> None:
    result = service.call("chain", {"a": {"exit": 3}})
    assert (result.verdict, code_of(result)) == ("deny", "penstock.worker_lost")
    error = stages(result)["a"]["error"]
    assert isinstance(error, dict) and error["class"] == "WorkerLost" and "status 3" in error["message"]
    assert service.call("chain").verdict == "allow"


def test_a_caller_that_goes_away_leaves_no_call_behind(service: Service) -> None:
    async def leave() -> None:
        context = {"metadata": {"script": {"a": {"hang": True}}}}
        waiting = asyncio.ensure_future(service.inside.invoke(HOOK, {"name": "x"}, context, pipeline="chain"))
        await asyncio.wait({waiting}, timeout=0)
        assert service.inside.engine.under_way == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert service.inside.engine.under_way == 0

    service.runner.run(asyncio.wait_for(leave(), BOUND_SECONDS))
    assert service.call("chain").verdict == "allow"


# Records.

RECORD: Mapping[str, Callable[[object], bool]] = {
    "run_id": lambda value: isinstance(value, str) and len(value) == 26,
    "pipeline": lambda value: isinstance(value, str),
    "hook": lambda value: value == HOOK,
    "verdict": lambda value: value in ("allow", "modify", "deny"),
    "payload": lambda value: isinstance(value, dict),
    "violation": lambda value: value is None or isinstance(value, dict),
    "error": lambda value: value is None or isinstance(value, dict),
    "duration_ms": lambda value: isinstance(value, float) and value >= 0,
    "stages": lambda value: isinstance(value, dict),
    "status": lambda value: value == "completed",
    "reason": lambda value: isinstance(value, str),
    "durable": lambda value: value is False,
    "began": lambda value: isinstance(value, float) and value > 0,
    "request_id": lambda value: isinstance(value, str),
    "trace": lambda value: value == "",
    "revision": lambda value: value == 1,
    "finally": lambda value: value == {},
}
STAGE: Mapping[str, Callable[[object], bool]] = {
    "state": lambda value: value in ("succeeded", "denied", "failed", "skipped", "cancelled"),
    "why": lambda value: value in (None, "violation", "error", "need", "when", "disabled", "ended"),
    "duration_ms": lambda value: isinstance(value, float) and value >= 0,
    "queued_ms": lambda value: isinstance(value, float) and value >= 0,
    "attempts": lambda value: value in (0, 1),
    "generation": lambda value: value is None or (isinstance(value, str) and value.startswith("s@")),
    "worker": lambda value: value is None or (isinstance(value, str) and value.startswith("s#")),
    "violation": lambda value: value is None or isinstance(value, dict),
    "error": lambda value: value is None or (isinstance(value, dict) and set(value) == {"class", "code", "message"}),
    "out": lambda value: value is None or isinstance(value, dict),
    "effect": lambda value: value == "none",
    "undo": lambda value: value is None,
    "override": lambda value: value is None,
    "at": lambda value: isinstance(value, str) and value.count(":") == 2,
    "mode": lambda value: value in (None, "enforce", "permissive", "audit", "disabled"),
    "config": lambda value: value is None or (isinstance(value, str) and value.startswith("c")),
    "version": lambda value: value is None or isinstance(value, str),
}


@pytest.mark.parametrize(
    ("pipeline", "script"),
    [
        ("chain", {}),
        ("chain", {"a": answer(patch={"args": {"q": 1}}, out={"n": 1})}),
        ("chain", {"b": answer(violation=VIOLATION)}),
        ("chain", {"b": {"error": -32804}}),
        ("disabled_unsaid", {}),
        ("beside", {"left": {"hang": True}, "right": {"error": -32804}}),
    ],
)
def test_a_record_has_exactly_the_documented_members(service: Service, pipeline: str, script: Script) -> None:
    [record] = service.call(pipeline, script).records
    assert set(record) == {*RECORD, "hook_verdict"}
    assert all(fits(record[name]) for name, fits in RECORD.items()), record
    for one in stages_of(record).values():
        assert set(one) == set(STAGE)
        assert all(fits(one[name]) for name, fits in STAGE.items()), one
    assert json.loads(json.dumps(record)) == record


def stages_of(record: Mapping[str, object]) -> dict[str, Tree]:
    found = record["stages"]
    assert isinstance(found, dict)
    return found


def test_a_call_that_no_pipeline_applies_to_has_a_record_too(service: Service) -> None:
    [record] = service.call("chain", hook="tool_post_invoke", payload={"name": "echo", "result": {}}).records
    assert set(record) == {*RECORD, "hook_verdict"}
    assert (record["run_id"], record["pipeline"], record["stages"]) == (None, None, {})
    assert (record["verdict"], record["hook_verdict"]) == ("allow", "allow")
    assert record["payload"] == {"name": "echo", "result": {}}


def test_a_stage_that_never_reached_a_worker_names_none(service: Service) -> None:
    found = stages(service.call("chain", {"a": answer(violation=VIOLATION)}))
    assert found["a"]["worker"] is not None and found["a"]["attempts"] == 1
    assert [found["b"][name] for name in ("attempts", "generation", "worker", "why")] == [0, None, None, "ended"]
