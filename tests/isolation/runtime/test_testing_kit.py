"""The test kit says what the host would say, without the host."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from isolation.runtime.penstock_plugin import Answer, Call, Config, Plugin, Start, Violation, testing

PAYLOAD = {"name": "tool", "args": {"q": "x", "n": 1}}


def _plugin(function: object) -> Plugin:
    plugin = Plugin()
    plugin.stage("act")(function)  # type: ignore[type-var]
    return plugin


def test_a_change_is_applied_to_a_copy() -> None:
    def act(call: Call) -> Answer:
        call.payload["args"]["q"] = "y"
        return call.modify(call.payload, out={"found": 1})

    outcome = testing.call(_plugin(act), "act", payload=PAYLOAD)
    assert outcome.payload == {"name": "tool", "args": {"q": "y", "n": 1}}
    assert (outcome.changed, outcome.out, outcome.denied) == (True, {"found": 1}, False)
    assert PAYLOAD["args"] == {"q": "x", "n": 1}


def test_a_patch_is_merged_as_the_host_merges_it() -> None:
    outcome = testing.call(_plugin(lambda call: call.patch({"args": {"q": None, "new": [1]}})), "act", payload=PAYLOAD)
    assert outcome.payload == {"name": "tool", "args": {"n": 1, "new": [1]}}


def test_a_violation_is_an_outcome_however_it_is_given() -> None:
    def raises(call: Call) -> None:
        raise Violation("no", "because")

    for function in (raises, lambda call: Violation("no", "because"), lambda call: call.deny("no", "because")):
        outcome = testing.call(_plugin(function), "act", payload=PAYLOAD)
        assert outcome.violation is not None
        assert (outcome.denied, outcome.violation.code, outcome.changed) == (True, "no", False)


def test_async_stages_startup_and_configure_run_as_in_a_worker() -> None:
    plugin = Plugin()

    @plugin.startup
    async def load(start: Start) -> None:
        start.progress("awake")

    @plugin.configure
    def prepare(config: Config) -> object:
        return [config["word"], config.secrets["token"]]

    @plugin.stage("act")
    async def act(call: Call) -> Answer:
        return call.allow(out={"config": call.config, "left": call.deadline.remaining() > 1, "hook": call.hook})

    outcome = testing.call(plugin, "act", payload={}, hook="h", config={"word": "w"}, secrets={"token": "t"})
    assert outcome.out == {"config": ["w", "t"], "left": True, "hook": "h"}
    assert outcome.progress == ({"message": "awake"},)


def test_an_exception_of_the_plugin_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        testing.call(_plugin(lambda call: 1 / 0), "act", payload={})


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda call: {"payload": {}}, "returned dict"),
        (lambda call: call.modify({"x": float("nan")}), "payload.x is nan"),
        (lambda call: call.modify({"x": ["\ud800"]}), r"payload.x\[0\] holds half of a surrogate pair"),
        (lambda call: call.allow(out={"x": {1}}), "out.x is of type set"),
        (lambda call: call.allow(out={1: 2}), "has the key 1"),
        (lambda call: call.allow(hints={"color": 1}), "hints.color is not part of the protocol"),
        (lambda call: call.deny("x", "y", http_status=True), "http_status must be int, not bool"),
        (lambda call: call.deny("x", "y", http_headers={"a": 1}), "must map names to strings"),
    ],
)
def test_what_the_host_would_refuse_fails_the_test(answer: object, complaint: str) -> None:
    with pytest.raises(testing.InvalidAnswer, match=complaint):
        testing.call(_plugin(answer), "act", payload={})


def test_a_stage_that_is_not_there_is_named() -> None:
    with pytest.raises(LookupError, match="no stage 'mask'; it has act"):
        testing.call(_plugin(lambda call: None), "mask", payload={})


def test_a_payload_that_is_no_json_is_the_tests_mistake() -> None:
    with pytest.raises(ValueError, match=r"a call cannot be made of this: payload\.x is of type set"):
        testing.call(_plugin(lambda call: None), "act", payload={"x": {1}})


def _with_an_undo(undo: object) -> Plugin:
    plugin = _plugin(lambda call: call.allow(out={"key": call.key, "undoes": call.undoes}))
    plugin.compensation("unact", undoes="act")(undo)  # type: ignore[type-var]
    return plugin


def test_an_undo_is_called_as_any_stage_and_undoes_the_call_before_it() -> None:
    plugin = _with_an_undo(lambda call: call.allow(out={"key": call.key, "undoes": call.undoes}))
    done = testing.call(plugin, "act", payload={}).out
    undone = testing.call(plugin, "unact", payload={}).out
    assert (done["undoes"], undone["undoes"]) == (None, done["key"])
    assert undone["key"] != done["key"]
    assert testing.call(plugin, "unact", payload={}, key="R7/act").out["undoes"] == "R7/act"


@pytest.mark.parametrize("undo", [lambda call: call.modify({}), lambda call: call.deny("no", "because")])
def test_an_undo_that_answers_more_than_an_out_fails_the_test(undo: object) -> None:
    with pytest.raises(testing.InvalidAnswer, match="'unact' is an undo and gave"):
        testing.call(_with_an_undo(undo), "unact", payload={})


@pytest.fixture
def declared(tmp_path: Path) -> Iterator[types.ModuleType]:
    """A plugin in a folder of its own, with a manifest beside it."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.penstock.stages.act]\noutputs = { found = "int" }\n'
        '[tool.penstock.stages.act.hooks]\ntool_pre_invoke = { writes = ["payload.args"] }\n'
    )
    module = types.ModuleType("a_declared_plugin")
    module.__file__ = str(tmp_path / "plugin.py")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


@pytest.mark.parametrize(
    ("members", "hook", "complaint"),
    [
        ({"patch": {"args": {"q": "y"}}, "out": {"found": 1}}, "tool_pre_invoke", None),
        ({"patch": {"name": "other"}}, "tool_pre_invoke", "payload.name was changed"),
        ({"out": {"fund": 1}}, "tool_pre_invoke", "out.fund is not among the manifest's outputs: found"),
        ({"out": {"found": "1"}}, "tool_pre_invoke", "out.found must be int by the manifest, not str"),
        ({}, "tool_post_invoke", "does not offer this stage on the hook 'tool_post_invoke'"),
    ],
)
def test_the_manifest_beside_the_plugin_holds_in_tests_too(
    declared: types.ModuleType, members: dict[str, object], hook: str, complaint: str | None
) -> None:
    def act(call: Call) -> Answer:
        return Answer(**members)  # type: ignore[arg-type]

    act.__module__ = declared.__name__
    if complaint is None:
        assert testing.call(_plugin(act), "act", payload=PAYLOAD, hook=hook).out == {"found": 1}
    else:
        with pytest.raises(testing.InvalidAnswer, match=complaint):
            testing.call(_plugin(act), "act", payload=PAYLOAD, hook=hook)


def test_an_undo_that_the_manifest_does_not_know_is_named(declared: types.ModuleType) -> None:
    def unact(call: Call) -> None: ...

    unact.__module__ = declared.__name__
    manifest = Path(declared.__file__ or "").parent / "pyproject.toml"
    manifest.write_text(manifest.read_text() + "[tool.penstock.stages.unact]\n")
    with pytest.raises(LookupError, match=r"the code says that 'unact' undoes act, and .* nothing"):
        testing.call(_with_an_undo(unact), "unact", payload={})
