"""Random pipelines under random answers in random order end as a slow reading of the rules says."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from fakes import FakeGeneration
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from plans import load_text, routes_for
from reference import Failure, Played, play

from isolation.errors import PluginError
from orchestrator.engine.engine import Engine, Reply
from orchestrator.engine.wiring import Serving
from orchestrator.record.records import records_of

Tree = dict[str, object]

KEYS = st.sampled_from(["allowed", "k", "q"])
SCALARS = st.sampled_from([None, 1, 2, "x", [1], True])
MEMBERS = st.dictionaries(KEYS, SCALARS | st.dictionaries(KEYS, SCALARS, max_size=2), max_size=2)
ARGS = st.dictionaries(st.just("args"), MEMBERS | st.sampled_from([None, "text"]), max_size=1)


def has_k(payload: Tree) -> bool:
    """Whether `payload.args.k` is there, null or not."""
    args = payload.get("args")
    return isinstance(args, dict) and "k" in args


def k_of(payload: Tree) -> object:
    """What `payload.args.k` gives; raises Failure where there is nothing."""
    args = payload.get("args")
    if not isinstance(args, dict) or "k" not in args:
        raise Failure("penstock.expression")
    return args["k"]


CONDITIONS: Mapping[str, Callable[[Tree], bool]] = {
    "payload.name == 'echo'": lambda payload: payload.get("name") == "echo",
    "has(payload.args.k)": has_k,
    "!has(payload.args.k)": lambda payload: not has_k(payload),
    "payload.args.k == 'x'": lambda payload: k_of(payload) == "x",
}
WHEN = st.sampled_from(sorted(CONDITIONS))

ANSWERS: st.SearchStrategy[Tree] = st.fixed_dictionaries(
    {},
    optional={
        "patch": ARGS | st.just({"args": {"k": "x"}}),
        "state": st.dictionaries(KEYS, st.sampled_from([None, 1, {"k": 1}]), max_size=2),
        "out": st.just({"n": 1}),
        "violation": st.sampled_from([*[None] * 9, {"code": "blocked", "reason": "r"}]),
    },
)
ODD: st.SearchStrategy[Tree] = st.sampled_from(
    [{"error": "e"}, {"verdict": "allow"}, {"payload": {}, "patch": {}}, {"payload": []}, {"patch": None, "payload": 1}]
)
WHOLE: st.SearchStrategy[Tree] = st.fixed_dictionaries({"payload": ARGS.map(lambda args: {"name": "echo", **args})})


@st.composite
def scripts(draw: st.DrawFn) -> tuple[dict[str, Tree], dict[str, Tree], list[str]]:
    """The stages of a pipeline, the answer of each, and the order in which answers come."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    stages: dict[str, Tree] = {}
    narrow = draw(st.sampled_from([None, *names]))
    for place, name in enumerate(names):
        stage: Tree = {"uses": "s/narrow" if name == narrow else "s/act"}
        needs: list[object] = []
        for need in names[:place]:
            kind = draw(st.integers(0, 7))
            if kind < 3:
                needs.append(need)
            elif kind == 3:
                needs.append({"stage": need, "is": draw(st.sampled_from([["succeeded"], ["skipped"]]))})
        if needs:
            stage["needs"] = needs
        for key, values in (
            ("mode", MODES),
            ("on_error", ON_ERRORS),
            ("when", WHEN.map(str)),
            ("overrides", OVERRIDES),
        ):
            if draw(st.integers(0, 4)) == 0:
                stage[key] = draw(values)
        stages[name] = stage
    answers: dict[str, Tree] = {name: draw(ODD if draw(st.integers(0, 15)) == 0 else ANSWERS | WHOLE) for name in names}
    return stages, answers, draw(st.permutations(names))


MODES = st.sampled_from(["enforce", "permissive", "audit", "disabled"])
ON_ERRORS = st.sampled_from(["fail", "continue"])
OVERRIDES = st.lists(
    st.fixed_dictionaries({"when": WHEN, "mode": MODES}, optional={"on_error": ON_ERRORS}), min_size=1, max_size=2
)


def run(stages: Mapping[str, Tree], payload: Tree, answers: Mapping[str, Tree], order: list[str]) -> Reply:
    """The same through loader and engine."""
    plugin = FakeGeneration()
    pipeline = {"p": {"hook": "tool_pre_invoke", "stages": {name: dict(stage) for name, stage in stages.items()}}}
    with tempfile.TemporaryDirectory() as folder:
        plan = load_text(Path(folder), "  " + json.dumps(pipeline)).plan
    loop = asyncio.new_event_loop()
    engine = Engine(Serving(routes_for(plan, {"s": plugin}), plan.unmatched, frozenset(plan.hooks)), loop)
    call = engine.submit("tool_pre_invoke", payload)
    while plugin.waiting:
        stage = next(name for name in order if name in plugin.waiting)
        if "error" in answers[stage]:
            plugin.fail(stage, PluginError("e"))
        else:
            plugin.answer(stage, answers[stage])
    loop.close()
    return call.reply.result()


def seen(reply: Reply) -> Played:
    """The reply in the reference's words."""
    [record] = records_of(reply)
    stages = record["stages"]
    assert isinstance(stages, dict)
    states = {name: stage["state"] for name, stage in stages.items()}
    code = reply.violation.code if reply.violation is not None else None
    state = None if reply.state is None else dict(reply.state)
    return Played(reply.verdict, json.loads(reply.payload), state, states, code)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(scripts(), ARGS)
def test_a_pipeline_ends_as_the_rules_say(
    script: tuple[dict[str, Tree], dict[str, Tree], list[str]], args: Tree
) -> None:
    stages, answers, order = script
    payload: Tree = {"name": "echo", **args}
    expected = play(stages, payload, answers, CONDITIONS, order)
    event(f"{expected.verdict} {expected.code}")
    assert seen(run(stages, payload, answers, order)) == expected
