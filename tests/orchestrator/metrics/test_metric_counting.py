"""What is counted of runs and stages, whatever becomes of them: each once, under the right name."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import pytest
from surviving import VIOLATION, Bench, lost

from isolation.errors import ExitReport, PluginBusy, PluginError
from isolation.status import RestartScheduled, WorkerEnded, WorkerNotStarted
from orchestrator.engine.hookcall import HookCall
from orchestrator.engine.lasting import Lasting
from orchestrator.events import (
    BreakerChanged,
    CanaryAborted,
    CanaryPromoted,
    ChangeApplied,
    ChangeRefused,
    RunParked,
)
from orchestrator.metrics.metrics import KNOWN_PLANS, Metrics
from orchestrator.metrics.tallies import LEFT_BEHIND, StageTally


class Nothing:
    """Nothing is in service but one breaker's name."""

    def hooks(self) -> Set[str]:
        return set()

    def routes(self) -> Set[tuple[str, str]]:
        return set()

    def pipelines(self) -> Set[str]:
        return set()

    def stages(self) -> Set[tuple[str, str]]:
        return set()

    def plugins(self) -> Set[str]:
        return set()

    def breakers(self) -> Set[tuple[str, str, str]]:
        return set()

    def breakers_called(self, name: str) -> list[tuple[str, str, str]]:
        return [("s", "ask", "steady")] if name == "s@0/ask steady" else []


@pytest.fixture
def metrics() -> Metrics:
    """Nothing counted yet."""
    return Metrics(Nothing())


def call(bench: Bench, metrics: Metrics, pipelines: str, more: str = "") -> HookCall:
    """Serve a file with metrics and call its hook."""
    bench.serve(pipelines, more)
    bench.engine.told = metrics.answered
    return bench.submit()


def close(bench: Bench, metrics: Metrics) -> None:
    """Tell of the runs that are over, as a host does."""
    for run in bench.ended:
        if isinstance(run, Lasting):
            metrics.closed(run)
    bench.ended.clear()


def states(tally: StageTally) -> dict[str, int]:
    return {state: count for state, count in tally.all_states.items() if count}


ONE = """
  p:
    hook: tool_pre_invoke
    deadline: 2s
    stages:
      a: { uses: s/ask %s }
"""

TWO = """
  p:
    hook: tool_pre_invoke
    deadline: 2s
    stages:
      a: { uses: s/ask }
      b: { uses: s/ask, needs: [a] }
"""

CHAIN = """
  p:
    hook: tool_pre_invoke
    deadline: 5s
    durable: %s
    undo_deadline: 10s
    stages:
      a: { uses: s/reserve, compensate: { uses: s/release, retry: none } }
      b: { uses: s/act, needs: [a] }
"""


def test_a_run_that_simply_succeeds_is_counted_with_its_stages(bench: Bench, metrics: Metrics) -> None:
    call(bench, metrics, ONE % "")
    bench.clock.forward(0.3)
    bench.answer("a")
    assert metrics.calls.all["tool_pre_invoke"]["allow"] == 1
    assert metrics.runs.all["tool_pre_invoke", "p"] == {"allow": 1, "modify": 0, "deny": 0}
    pipeline, stage = metrics.pipelines.all["p"], metrics.stages.all["p", "a"]
    for durations in (pipeline.durations, stage.durations):
        assert durations.count == 1
        assert durations.total == pytest.approx(0.3)
    assert (states(stage), stage.all_attempts, stage.retries) == ({"succeeded": 1}, 1, 0)


def test_a_change_is_a_modify(bench: Bench, metrics: Metrics) -> None:
    call(bench, metrics, ONE % "")
    bench.answer("a", {"patch": {"args": {"q": "x"}}})
    assert metrics.calls.all["tool_pre_invoke"]["modify"] == 1
    assert metrics.runs.all["tool_pre_invoke", "p"]["modify"] == 1


def test_a_denial_is_counted_at_the_stage_that_decided_and_the_others_are_cancelled(
    bench: Bench, metrics: Metrics
) -> None:
    call(bench, metrics, TWO)
    bench.answer("a", VIOLATION)
    first, second = metrics.stages.all["p", "a"], metrics.stages.all["p", "b"]
    assert first.trouble.denials.counts == {"blocked": 1}
    assert first.trouble.violations.counts == {"blocked": 1}
    assert (states(first), states(second)) == ({"denied": 1}, {"cancelled": 1})
    assert second.all_attempts == second.durations.count == 0
    assert metrics.runs.all["tool_pre_invoke", "p"]["deny"] == metrics.calls.all["tool_pre_invoke"]["deny"] == 1


def test_a_violation_that_denies_nothing_is_counted_all_the_same(bench: Bench, metrics: Metrics) -> None:
    call(bench, metrics, ONE % ", mode: permissive")
    bench.answer("a", VIOLATION)
    stage = metrics.stages.all["p", "a"]
    assert (stage.trouble.violations.counts, stage.trouble.denials.counts) == ({"blocked": 1}, {})
    assert states(stage) == {"succeeded": 1}


def test_tries_are_counted_and_the_error_that_remained(bench: Bench, metrics: Metrics) -> None:
    retry = ", retry: { attempts: 3, backoff: { initial: 100ms, jitter: none }, on: [Busy] }"
    call(bench, metrics, ONE % retry)
    for _ in range(3):
        bench.fail("a", PluginBusy("full"))
        bench.forward(0.3)
    stage = metrics.stages.all["p", "a"]
    assert (stage.all_attempts, stage.retries) == (3, 2)
    assert stage.trouble.errors == {("Busy", "penstock.busy"): 1}
    assert stage.trouble.denials.counts == {"penstock.busy": 1}
    assert metrics.pipelines.all["p"].trouble.errors == {}, "it is the stage's"
    assert states(stage) == {"failed": 1}


def test_an_error_that_was_got_over_is_a_retry_and_no_error(bench: Bench, metrics: Metrics) -> None:
    retry = ", retry: { attempts: 3, backoff: { initial: 100ms, jitter: none }, on: [Busy] }"
    call(bench, metrics, ONE % retry)
    bench.fail("a", PluginBusy("full"))
    bench.forward(0.3)
    bench.answer("a")
    stage = metrics.stages.all["p", "a"]
    assert (stage.all_attempts, stage.retries, states(stage)) == (2, 1, {"succeeded": 1})
    assert stage.trouble.errors == {}
    assert stage.durations.total == pytest.approx(0.3), "from the first try to the end of the last"


def test_an_error_that_is_continued_past_is_counted(bench: Bench, metrics: Metrics) -> None:
    call(bench, metrics, ONE % ", on_error: continue")
    bench.fail("a", PluginError("broken"))
    stage = metrics.stages.all["p", "a"]
    assert stage.trouble.errors == {("PluginError", "penstock.plugin_error"): 1}
    assert (states(stage), metrics.runs.all["tool_pre_invoke", "p"]["allow"]) == ({"skipped": 1}, 1)


def test_what_ends_a_run_from_outside_is_no_stages_error(bench: Bench, metrics: Metrics) -> None:
    going = call(bench, metrics, ONE % "")
    going.abandon()
    trouble = metrics.pipelines.all["p"].trouble
    assert trouble.errors == {("Abandoned", "penstock.timeout"): 1}
    assert trouble.denials.counts == {"penstock.timeout": 1}
    stage = metrics.stages.all["p", "a"]
    assert (states(stage), stage.trouble.denials.counts) == ({"cancelled": 1}, {})
    assert (stage.all_attempts, stage.durations.count) == (1, 0)


def test_a_call_that_no_pipeline_takes_is_a_call_without_a_run(bench: Bench, metrics: Metrics) -> None:
    call(bench, metrics, (ONE % "").replace("deadline: 2s", "match: context.tenant == 'x'"))
    assert metrics.calls.all["tool_pre_invoke"]["allow"] == 1
    assert metrics.runs.all == {}


def test_the_states_of_a_stage_add_up_to_the_runs_of_its_pipeline(bench: Bench, metrics: Metrics) -> None:
    call(bench, metrics, TWO)
    bench.answer("a")
    bench.answer("b")
    bench.submit()
    bench.answer("a", VIOLATION)
    bench.submit()
    bench.fail("a", lost())
    bench.submit().abandon()
    runs = sum(metrics.runs.all["tool_pre_invoke", "p"].values())
    assert runs == 4
    for stage in ("a", "b"):
        assert sum(metrics.stages.all["p", stage].all_states.values()) == runs


def test_two_pipelines_of_a_hook_are_two_runs_of_one_call(bench: Bench, metrics: Metrics) -> None:
    call(bench, metrics, ONE % "" + (ONE % "").replace("p:", "q:", 1).replace("a:", "z:"))
    bench.answer("a")
    bench.answer("z", VIOLATION)
    assert metrics.calls.all["tool_pre_invoke"] == {"allow": 0, "modify": 0, "deny": 1}
    assert metrics.runs.all["tool_pre_invoke", "p"]["allow"] == 1
    assert metrics.runs.all["tool_pre_invoke", "q"]["deny"] == 1


# Runs that last.


@pytest.mark.parametrize("durable", ["true", "false"])
def test_a_run_that_lasts_is_counted_with_its_verdict_and_not_again_when_it_is_over(
    bench: Bench, metrics: Metrics, durable: str
) -> None:
    call(bench, metrics, CHAIN % durable)
    bench.answer("a")
    bench.answer("b", VIOLATION)
    assert metrics.runs.all["tool_pre_invoke", "p"]["deny"] == 1
    assert metrics.stages.all["p", "a"].undos == {}
    bench.answer("a/undo")
    close(bench, metrics)
    assert metrics.runs.all["tool_pre_invoke", "p"]["deny"] == 1
    assert metrics.stages.all["p", "a"].undos == {"done": 1}


def test_an_undo_that_is_parked_and_then_done_is_counted_as_both_and_once_each(bench: Bench, metrics: Metrics) -> None:
    call(bench, metrics, CHAIN % "false")
    bench.answer("a")
    bench.answer("b", VIOLATION)
    bench.fail("a/undo", PluginError("stuck"))
    [run] = [run for run in bench.ended if isinstance(run, Lasting)]
    close(bench, metrics)
    assert metrics.stages.all["p", "a"].undos == {"parked": 1}
    bench.engine.opened(run)
    assert run.resume()
    bench.answer("a/undo")
    close(bench, metrics)
    assert metrics.stages.all["p", "a"].undos == {"parked": 1, "done": 1}
    assert metrics.runs.all["tool_pre_invoke", "p"]["deny"] == 1


def test_a_run_that_a_killed_host_left_is_counted_by_the_one_that_takes_it_up(bench: Bench) -> None:
    before, after = Metrics(Nothing()), Metrics(Nothing())
    call(bench, before, CHAIN % "true")
    bench.answer("a")
    bench.restart()
    bench.journal.settle()
    assert before.runs.all == {}
    bench.answer("a/undo")
    close(bench, after)
    assert after.runs.all["tool_pre_invoke", "p"]["deny"] == 1
    assert after.stages.all["p", "a"].undos == {"done": 1}
    assert after.pipelines.all["p"].trouble.denials.counts == {"penstock.interrupted": 1}


def test_a_verdict_of_an_earlier_host_is_not_counted_again(bench: Bench) -> None:
    before, after = Metrics(Nothing()), Metrics(Nothing())
    call(bench, before, CHAIN % "true")
    bench.answer("a")
    bench.answer("b", VIOLATION)
    assert before.runs.all["tool_pre_invoke", "p"]["deny"] == 1
    bench.restart()
    bench.journal.settle()
    bench.answer("a/undo")
    close(bench, after)
    assert sum(after.runs.all["tool_pre_invoke", "p"].values()) == 0
    assert after.stages.all["p", "a"].undos == {"done": 1}


# Events.


def test_events_are_counted_by_plugin_breaker_and_pipeline(metrics: Metrics) -> None:
    report = ExitReport(signal=9)
    for event in (
        WorkerEnded("s", "0", "s#1", False, report),
        WorkerEnded("s", "0", "s#2", True, report),
        RestartScheduled("s", "0", 0.1),
        WorkerNotStarted("s", "0", "why"),
        BreakerChanged("s@0/ask steady", "closed", "open"),
        BreakerChanged("gone@0/ask steady", "closed", "open"),
        RunParked("run1", "p", "why"),
        ChangeApplied(2, "watcher", {}),
        ChangeRefused("watcher", "penstock.spec", "why", ""),
        ChangeRefused("watcher", "penstock.spec", "why", ""),
        CanaryPromoted(2, "uid:1"),
        CanaryAborted(3, "canary", "why"),
    ):
        metrics.hear(event)
    plugin = metrics.plugins.all["s"]
    assert (plugin.unplanned_ends, plugin.planned_ends, plugin.restarts, plugin.start_failures) == (1, 1, 1, 1)
    assert metrics.breakers.all == {("s", "ask", "steady"): {"open": 1}}
    assert metrics.pipelines.all["p"].parked == 1
    assert (metrics.changes, metrics.canaries) == ({"applied": 1, "refused": 2}, {"promoted": 1, "aborted": 1})


def test_plans_that_come_and_go_leave_no_more_than_a_bounded_number_behind(bench: Bench, metrics: Metrics) -> None:
    bench.serve(TWO)
    [route] = bench.engine.serving.routes["tool_pre_invoke"]
    for number in range(5 * KNOWN_PLANS):
        metrics.learn(replace(route.plan, name=f"p{number}"))
    assert len(metrics.pipelines.all) == len(metrics.runs.all) == len(metrics.stages.all) == LEFT_BEHIND
