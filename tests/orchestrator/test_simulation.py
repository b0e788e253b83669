"""Random pipelines under random misfortune, without a process or a sleep: every run ends in a known way.

Each seed is a story of its own: random graphs with random policies; plugins that crash, hang, deny, answer late or
never; callers that leave; a journal that fails; a host that is killed and started over what had been synced.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from simulation import World, play

from orchestrator.engine.lasting import Lasting
from orchestrator.journal.rows import RunStatus
from pipelines.plan import PipelinePlan
from pipelines.run import Effect, Phase, Undo

SEEDS = 1000
BLOCK = 100
OVER = {RunStatus.COMPLETED, RunStatus.UNDONE, RunStatus.PARKED}


def plan_of(world: World, run: Lasting) -> PipelinePlan:
    return next(plan for plan in world.plans if plan.name == run.route.plan.name)


def key(run: Lasting, stage: int) -> str:
    return f"{run.id}/{run.route.plan.stages[stage].id}"


def ended(world: World) -> list[Lasting]:
    """Every run as its journal has it, and those that were in memory alone."""
    runs = [world.recall(id) for id in world.journal.rows]
    in_memory = [run for run in world.runs.values() if run.recorder is None]
    return [*(run for run in runs if run is not None), *in_memory]


def kinds(world: World, run: Lasting) -> list[str]:
    """The events of a run in its journal."""
    return [event.kind for event in world.journal.entries.get(run.id, ())]


def check_none_is_lost(world: World) -> None:
    assert not world.engine.open, f"{', '.join(world.engine.open)}: nothing moves any more"
    assert not world.calls, "a caller without an answer"
    assert {row.status for row in world.journal.rows.values()} <= OVER
    assert all(run.machine.phase is Phase.OVER for run in ended(world))
    # What ran at all is known: an effect never stands alone.
    known = {*world.journal.rows, *world.runs, *world.plain}
    assert {name.partition("/")[0] for name in world.effects.done} <= known


def check_effects(world: World) -> None:
    for run in ended(world):
        for stage in run.route.shape.compensated:
            effect, undo = run.machine.effects[stage], run.machine.undos[stage]
            if key(run, stage) in world.effects.kept:
                allowed = not run.machine.unwinds and effect is Effect.DONE
                assert allowed or undo is Undo.PARKED, f"{key(run, stage)} was done, and {effect}, {undo}"
            if undo is Undo.DONE and key(run, stage) in world.effects.done:
                assert key(run, stage) in world.effects.undone
        if run.denied or run.revoked_for:
            assert run.machine.unwinds


def check_parked(world: World) -> None:
    """Whoever finishes a parked undo by hand finds in the journal what it would have been sent."""
    for run in ended(world):
        for stage in run.route.shape.compensated:
            if run.machine.undos[stage] is Undo.PARKED:
                attempt = run.attempts[stage]
                assert attempt is not None and attempt.undo is not None, f"{key(run, stage)}: nothing says how"
                assert attempt.undo.undoes == key(run, stage)
                assert attempt.undo.state is Undo.PARKED and attempt.undo.fault is not None


def check_order(world: World) -> None:
    undone = [name for what, name in world.effects.log if what == "undo"]
    place = {name: at for at, name in enumerate(undone)}
    for run in ended(world):
        for stage in run.route.shape.compensated:
            plan = run.route.plan.stages[stage]
            for ancestor in run.route.shape.compensated:
                mine, theirs = place.get(key(run, stage)), place.get(key(run, ancestor))
                if plan.ancestors >> ancestor & 1 and mine is not None and theirs is not None:
                    assert mine < theirs, f"{key(run, ancestor)} was undone before {key(run, stage)}"


def check_order_of_pipelines(world: World) -> None:
    """Of several pipelines of a denied call the last is undone first, and wholly. A kill undoes them side by side."""
    undone = [name.partition("/")[0] for what, name in world.effects.log if what == "undo"]
    runs = {run.id: run for run in ended(world)}
    for verdict, chain in world.chains:
        began = [runs[id] for id in chain if id in runs]
        if verdict != "deny" or any(run.machine.parked or run.id in world.taken_up for run in began):
            continue
        places = [[at for at, id in enumerate(undone) if id == one] for one in chain]
        for earlier, later in pairwise([found for found in places if found]):
            assert max(later) < min(earlier), f"{chain}: undone in the order of {undone}"


def check_answers(world: World) -> None:
    """What a caller heard holds: a denied run keeps no effect, one that was confirmed keeps them.

    And whoever comes back with its key hears the same, or that it was undone meanwhile.
    """
    assert all(len(verdicts) == 1 for verdicts in world.heard.values()), world.heard
    for run in ended(world):
        told = world.told.get(run.id, [])
        if "confirmed" in kinds(world, run):
            assert not run.machine.unwinds, f"{run.id} was confirmed, and undone"
        elif "deny" in told:
            assert run.machine.unwinds or not run.route.shape.compensated or run.id in world.taken_up
        if told[:1] == ["deny"] and run.id not in world.taken_up:
            assert run.machine.unwinds or not run.route.shape.compensated, f"{run.id} was denied and keeps effects"
        if told[:1] in (["allow"], ["modify"]) and run.denied:
            raise AssertionError(f"{run.id} was allowed to its caller and is denied in the journal")


def check_poison(world: World) -> None:
    """In one life of the host no call ends more than two workers."""
    deaths = Counter[str]()
    for line in world.trace:
        words = line.split()
        if words[1] == "kill":
            deaths.clear()
        elif words[1] == "fail" and words[-1] == "WorkerLost":
            deaths[words[2]] += 1
    assert all(count <= 2 for count in deaths.values()), deaths


CHECKS = (
    check_none_is_lost,
    check_effects,
    check_parked,
    check_order,
    check_order_of_pipelines,
    check_answers,
    check_poison,
)


@pytest.mark.parametrize("block", range(SEEDS // BLOCK))
def test_every_run_ends_completed_undone_or_parked(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        world = play(seed)
        for check in CHECKS:
            check(world)


@pytest.mark.parametrize("seed", range(40))
def test_the_same_seed_tells_the_same_story_byte_for_byte(seed: int) -> None:
    first, second = play(seed), play(seed)
    assert "\n".join(first.trace).encode() == "\n".join(second.trace).encode()
    assert first.effects == second.effects


def test_the_stories_hold_what_they_are_told_for() -> None:
    """Crashes, hangs, kills, parked and revoked runs all come up: the tests above prove something."""
    worlds = [play(seed) for seed in range(150)]
    words = {word for world in worlds for line in world.trace for word in line.split()[1:]}
    assert {"kill", "take", "over", "deny", "allow", "WorkerLost", "DeadlineExceeded", "PluginBusy", "NotSent"} <= words
    statuses = {row.status for world in worlds for row in world.journal.rows.values()}
    assert statuses == OVER
    phases = {line.split()[-1] for world in worlds for line in world.trace if " take up " in line}
    assert phases >= {"running", "confirming", "undoing"}
    assert any(run.revoked_for for world in worlds for run in ended(world))
    assert any(world.effects.undone - world.effects.done for world in worlds), "an undo of what never happened"
    in_memory = [run for world in worlds for run in world.runs.values() if run.recorder is None]
    assert any(run.machine.parked for run in in_memory)
    assert any(Undo.DONE in run.machine.undos for run in in_memory)
    assert any(run.mocks for run in in_memory)
    assert {"stop", "penstock.merge_conflict", "penstock.breaker_open", "penstock.shutdown"} <= words
    chains = [chain for world in worlds for verdict, chain in world.chains if verdict == "deny"]
    assert any(len(chain) > 1 for chain in chains)
    fallbacks = [run for world in worlds for run in ended(world) if run.fault is not None and not run.denied]
    assert fallbacks, "a fallback that allows"
    assert any("confirmed" in kinds(world, run) for world in worlds for run in ended(world))
