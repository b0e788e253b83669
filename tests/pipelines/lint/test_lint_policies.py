"""Policies of retries, breakers and restarts: who gets which, and what they are when little is written."""

from __future__ import annotations

import pytest
from lint_world import World

from pipelines.plan import BreakerPolicy, Jitter, PipelinePlan, Plan, PluginPlan, RestartPolicy, RetryPolicy, StagePlan
from pipelines.problem import SpecError

HEAD = "version: 1\nname: g\nplugins: { ledger: { source: ./ledger } }\n"
TRANSIENT = "{ attempts: 3, backoff: { max: 500ms }, on: [WorkerLost, Busy, Retryable, PluginError] }"
ALL = frozenset({"WorkerLost", "Busy", "Retryable", "PluginError"})
SAFE = frozenset({"Busy", "Retryable"})


def file(stage: str, policies: str = "", defaults: str = "") -> str:
    rest = f"pipelines:\n  g:\n    hook: tool_pre_invoke\n    stages:\n      a: {{ {stage} }}\n"
    return f"{HEAD}policies: {{ {policies} }}\ndefaults: {{ {defaults} }}\n{rest}"


def pipeline(plan: Plan) -> PipelinePlan:
    (only,) = plan.routes["tool_pre_invoke"]
    return only


def stage(plan: Plan) -> StagePlan:
    return pipeline(plan).stages[0]


def retry(world: World, stage_text: str, defaults: str = "") -> RetryPolicy | None:
    return stage(world.plan(file(stage_text, f"retries: {{ transient: {TRANSIENT} }}", defaults))).retry


def test_a_stage_without_policies_has_none(world: World) -> None:
    plan = stage(world.plan(file("uses: ledger/peek")))
    assert (plan.retry, plan.breaker, plan.undo) == (None, None, None)


def test_a_policy_is_had_by_name(world: World) -> None:
    """Full jitter, and a first pause of 20 ms that doubles, where nothing else is written."""
    found = retry(world, "uses: ledger/reserve, compensate: none, retry: transient")
    assert found == RetryPolicy("transient", 3, ALL, 0.02, 0.5, 2.0, Jitter.FULL)


def test_a_policy_written_in_place_is_named_by_it(world: World) -> None:
    found = retry(
        world, "uses: ledger/peek, retry: { attempts: 2, on: [Busy], backoff: { initial: 3s, jitter: none } }"
    )
    # A first pause longer than the longest that is usual is the longest itself.
    assert found == RetryPolicy("pipelines.g.stages.a.retry", 2, frozenset({"Busy"}), 3.0, 3.0, 2.0, Jitter.NONE)


def test_three_classes_are_retried_where_none_is_written(world: World) -> None:
    found = retry(world, "uses: ledger/reserve, compensate: none, retry: { attempts: 2 }")
    assert found is not None
    assert found.on == {"WorkerLost", "Busy", "Retryable"}


@pytest.mark.parametrize(
    ("uses", "on"), [("ledger/reserve, compensate: none", ALL), ("ledger/charge, compensate: none", SAFE)]
)
def test_a_policy_of_the_defaults_is_narrowed_to_what_the_stage_can_bear(
    world: World, uses: str, on: frozenset[str]
) -> None:
    found = retry(world, f"uses: {uses}", "stage: { retry: transient }")
    assert found is not None
    assert (found.name, found.attempts, found.on) == ("transient", 3, on)


def test_nothing_is_left_of_a_default_that_asks_only_for_what_is_unsafe(world: World) -> None:
    """Calls that were never sent are repeated all the same."""
    found = retry(world, "uses: ledger/peek", "stage: { retry: { attempts: 2, on: [WorkerLost] } }")
    assert found is not None
    assert (found.name, found.attempts, found.on) == ("defaults.stage.retry", 2, frozenset())


def test_none_waives_the_default(world: World) -> None:
    assert retry(world, "uses: ledger/peek, retry: none", "stage: { retry: transient }") is None
    text = file("uses: ledger/peek, breaker: none", "breakers: { b: {} }", "stage: { breaker: b }")
    assert stage(world.plan(text)).breaker is None


def test_a_misspelt_none_is_told_from_a_name(world: World) -> None:
    """Where there may be none: a plugin is always started again in some way."""
    with pytest.raises(SpecError, match=r"no policy 'nonne' under `policies.retries`; did you mean 'none'"):
        world.plan(file("uses: ledger/peek, retry: nonne"))
    with pytest.raises(SpecError, match=r"no policy 'none' under `policies.restarts`$"):
        world.plan(file("uses: ledger/peek", defaults="plugin: { restart: none }"))


def test_null_in_a_profile_gives_the_default_back(world: World) -> None:
    text = file(
        "uses: ledger/peek, retry: none", "retries: { two: { attempts: 2, on: [Busy] } }", "stage: { retry: two }"
    )
    profile = "profiles: { dev: { pipelines: { g: { stages: { a: { retry: null } } } } } }\n"
    found = stage(world.plan(text + profile, "dev")).retry
    assert found is not None
    assert found.name == "two"


def test_a_breaker_has_figures_for_all_that_is_not_written(world: World) -> None:
    found = stage(world.plan(file("uses: ledger/peek, breaker: b", "breakers: { b: {} }"))).breaker
    assert found == BreakerPolicy("b", 20, 10, 0.5, 30.0, 3)


def test_a_small_window_needs_no_more_calls_than_it_holds(world: World) -> None:
    found = stage(world.plan(file("uses: ledger/peek, breaker: { window: 4, failure_rate: 1 }"))).breaker
    assert found == BreakerPolicy("pipelines.g.stages.a.breaker", 4, 4, 1.0, 30.0, 3)


def plugin(world: World, written: str, policies: str = "", defaults: str = "") -> PluginPlan:
    text = file("uses: ledger/peek", policies, defaults)
    return world.plan(text.replace("{ source: ./ledger }", f"{{ source: ./ledger, {written} }}")).plugins["ledger"]


def test_a_plugin_has_its_own_figures_or_the_defaults(world: World) -> None:
    defaults = "plugin: { concurrency: 8, queue: 5, restart: { intensity: 0 } }"
    found = plugin(world, "concurrency: 2, queue: 0, restart: calm", "restarts: { calm: { period: 1m } }", defaults)
    assert (found.concurrency, found.queue) == (2, 0)
    assert found.restart == RestartPolicy(5, 60.0, 0.05, 5.0, 2.0)
    found = plugin(world, "replicas: 1", "", defaults)
    assert (found.concurrency, found.queue, found.restart) == (8, 5, RestartPolicy(0, 10.0, 0.05, 5.0, 2.0))


def test_a_plugin_of_which_nothing_is_said_is_bounded_by_its_workers_alone(world: World) -> None:
    found = plugin(world, "replicas: 1")
    assert (found.concurrency, found.queue, found.restart) == (None, 1024, None)


@pytest.mark.parametrize("more", ["backoff: { initial: 1s }", "on: [Busy]"])
def test_one_attempt_makes_the_rest_of_its_policy_idle(world: World, more: str) -> None:
    plan = world.plan(file("uses: ledger/peek", f"retries: {{ once: {{ attempts: 1, {more} }} }}"))
    assert [(w.code, w.path) for w in plan.warnings] == [("idle-policy", "policies.retries.once.attempts")]
    assert not world.plan(file("uses: ledger/peek", "retries: { once: { attempts: 1 } }")).warnings


def test_one_attempt_asks_for_nothing_that_a_stage_cannot_bear(world: World) -> None:
    found = retry(world, "uses: ledger/peek, retry: { attempts: 1 }")
    assert found is not None
    assert found.on == SAFE


def test_one_slip_in_a_policy_is_one_problem(world: World) -> None:
    assert [problem.split()[1:] for problem in world.refused(file("uses: ledger/peek, retry: {}"))] == [
        ["missing-key", "pipelines.g.stages.a.retry.attempts"]
    ]


def test_a_policy_is_judged_though_nobody_uses_it(world: World) -> None:
    text = file("uses: ledger/peek", "breakers: { b: { window: 1, minimum_calls: 2 } }")
    assert [problem.split()[1:] for problem in world.refused(text)] == [
        ["bad-policy", "policies.breakers.b.minimum_calls"]
    ]


def test_two_files_may_add_policies_of_one_kind(world: World) -> None:
    world.files["more.yaml"] = "policies: { retries: { two: { attempts: 2, on: [Busy] } } }\n"
    text = "include: [more.yaml]\n" + file("uses: ledger/peek, retry: two", "retries: { three: { attempts: 3 } }")
    found = stage(world.plan(text)).retry
    assert found is not None
    assert found.attempts == 2
