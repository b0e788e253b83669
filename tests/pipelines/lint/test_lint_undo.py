"""Compensation and durable runs: which undo a stage has, when it must have one, and what it may look at."""

from __future__ import annotations

import pytest
from lint_world import World

from pipelines.expressions import Expression
from pipelines.plan import DEFAULT_UNDO_RETRY, PipelinePlan, Plan, Recover, UndoPlan

HEAD = "version: 1\nname: g\nplugins: { ledger: { source: ./ledger }, pii: { source: ./pii } }\n"
RESERVE = "uses: ledger/reserve, compensate: { uses: ledger/release }"


def text(stages: str, keys: str = "durable: true", head: str = "") -> str:
    body = "".join(f"      {line}\n" for line in stages.splitlines())
    said = "".join(f"    {line}\n" for line in keys.splitlines())
    return f"{HEAD}{head}pipelines:\n  g:\n    hook: tool_pre_invoke\n{said}    stages:\n{body}"


def only(plan: Plan) -> PipelinePlan:
    (pipeline,) = plan.routes["tool_pre_invoke"]
    return pipeline


def undo(plan: Plan, at: int = 0) -> UndoPlan:
    found = only(plan).stages[at].undo
    assert found is not None
    return found


def warnings(plan: Plan) -> list[tuple[str, str]]:
    return [(w.code, w.path) for w in plan.warnings if w.code != "unused-plugin"]


def test_an_undo_is_a_stage_of_a_plugin_with_a_configuration(world: World) -> None:
    plan = world.plan(text("a: { uses: ledger/reserve, compensate: { uses: ledger/release, with: { x: 1 } } }"))
    found = undo(plan)
    assert (found.plugin, found.stage, found.retry, found.inputs) == ("ledger", "release", DEFAULT_UNDO_RETRY, ())
    assert plan.plugins["ledger"].configs[found.config] == {"x": 1}


def test_an_undo_may_ask_its_own_stage_and_those_before_it(world: World) -> None:
    """Whether they may be skipped or not: what is not there is null by then."""
    found = undo(
        world.plan(
            text(
                "p: { uses: pii/mask, when: \"payload.name == 'x'\" }\n"
                "a:\n"
                "  uses: ledger/reserve\n"
                "  needs: [p]\n"
                "  compensate:\n"
                "    uses: ledger/release\n"
                '    in: { t: "${stages.a.out.ticket}", n: "${stages.p.out.found + 1}", k: 3 }'
            )
        ),
        at=1,
    )
    values = dict(found.inputs)
    assert values["k"] == 3
    ticket = values["t"]
    assert isinstance(ticket, Expression)
    assert ticket.evaluate({"stages": {"a": {"state": "succeeded", "out": {"ticket": "t1"}}}}) == "t1"


@pytest.mark.parametrize(
    ("own", "head", "keys", "seconds"),
    [
        ("", "", "", 30.0),
        ("", "", "\nundo_deadline: 7s", 7.0),
        ("", "defaults: { stage: { timeout: 2s } }\n", "", 2.0),
        (", timeout: 3s", "defaults: { stage: { timeout: 2s } }\n", "", 3.0),
    ],
)
def test_the_timeout_of_an_undo_is_its_own_a_default_or_the_undo_deadline(
    world: World, own: str, head: str, keys: str, seconds: float
) -> None:
    stages = f"a: {{ uses: ledger/reserve, compensate: {{ uses: ledger/release{own} }} }}"
    plan = world.plan(text(stages, f"durable: true{keys}", head))
    assert undo(plan).timeout_seconds == seconds
    assert only(plan).undo_seconds == (7.0 if keys else 30.0)


def test_an_undo_is_retried_as_the_defaults_say_and_is_never_narrowed(world: World) -> None:
    """It is called for calls of unknown outcome, so it must bear to be called again."""
    head = "defaults: { stage: { retry: { attempts: 2, on: [WorkerLost, Busy] } } }\n"
    found = undo(world.plan(text(f"a: {{ {RESERVE} }}", head=head))).retry
    assert found is not None
    assert found.on == {"WorkerLost", "Busy"}
    waived = RESERVE.replace("release", "release, retry: none")
    assert undo(world.plan(text(f"a: {{ {waived} }}", head=head))).retry is None


def test_what_is_said_of_durable_runs_reaches_the_plan(world: World) -> None:
    keys = "durable: true\nrecover: resume\nconfirm_within: 30s"
    plan = only(world.plan(text(f"a: {{ {RESERVE} }}", keys)))
    assert (plan.durable, plan.recover, plan.confirm_seconds) == (True, Recover.RESUME, 30.0)
    plan = only(world.plan(text("a: { uses: pii/mask }", "")))
    assert (plan.durable, plan.recover, plan.confirm_seconds) == (False, Recover.UNDO, None)


def test_a_plugin_that_only_undoes_is_used(world: World) -> None:
    """The undo of another plugin need not name this one's stage: its author could not know it."""
    world.plugins["./other"] = world.plugins["./ledger"]
    own = text("a: { uses: ledger/charge, compensate: { uses: other/release } }").replace(
        "pii: {", "other: { source: ./other }, pii: {"
    )
    plan = world.plan(own)
    assert undo(plan).plugin == "other"
    assert set(plan.plugins) == {"ledger", "other"}


@pytest.mark.parametrize(
    ("stage", "refused"),
    [
        ("uses: ledger/charge", ["needs-undo pipelines.g.stages.a.compensate"]),
        ("uses: ledger/charge, mode: audit", ["needs-undo pipelines.g.stages.a.compensate"]),
        ("uses: ledger/charge, compensate: none", []),
        ("uses: ledger/charge, mode: disabled", []),
        ("uses: ledger/append", []),
    ],
)
def test_effects_outside_need_an_undo_or_its_waiver(world: World, stage: str, refused: list[str]) -> None:
    """Not where the stage never runs."""
    file = text(f"a: {{ {stage} }}", "")
    if refused:
        assert [problem.partition(" ")[2] for problem in world.refused(file)] == refused
    else:
        assert only(world.plan(file)).stages[0].undo is None


def test_a_waiver_does_not_ask_whether_runs_are_durable(world: World) -> None:
    assert not only(world.plan(text("a: { uses: ledger/charge, compensate: none }", ""))).durable


def test_the_undo_of_a_stage_without_effects_is_doubted(world: World) -> None:
    plan = world.plan(text("a: { uses: ledger/peek, compensate: { uses: ledger/forget } }"))
    assert warnings(plan) == [("nothing-to-undo", "pipelines.g.stages.a.compensate")]


@pytest.mark.parametrize("key", ["undo_deadline", "confirm_within"])
def test_times_of_undo_are_doubted_where_nothing_is_undone(world: World, key: str) -> None:
    plan = world.plan(text("a: { uses: ledger/charge, compensate: none }", f"durable: true\n{key}: 5s"))
    assert warnings(plan) == [("nothing-to-undo", f"pipelines.g.{key}")]
    assert not warnings(world.plan(text(f"a: {{ {RESERVE} }}", f"durable: true\n{key}: 5s")))


def test_an_undo_that_may_take_longer_than_all_of_them_is_doubted(world: World) -> None:
    slow = RESERVE.replace("release", "release, timeout: 9s")
    plan = world.plan(text(f"a: {{ {slow} }}", "durable: true\nundo_deadline: 5s"))
    assert warnings(plan) == [("over-deadline", "pipelines.g.stages.a.compensate.timeout")]


def test_a_stage_that_is_continued_past_may_be_undone(world: World) -> None:
    assert undo(world.plan(text(f"a: {{ {RESERVE}, on_error: continue }}"))).stage == "release"


def test_a_profile_may_waive_an_undo(world: World) -> None:
    profile = "profiles: { dev: { pipelines: { g: { stages: { a: { compensate: none } } } } } }\n"
    assert only(world.plan(text(f"a: {{ {RESERVE} }}") + profile, "dev")).stages[0].undo is None


def test_one_slip_in_durable_is_one_problem(world: World) -> None:
    file = text(f"a: {{ {RESERVE} }}", "durable: perhaps\nrecover: resume")
    assert [problem.split()[1:] for problem in world.refused(file)] == [["wrong-type", "pipelines.g.durable"]]
