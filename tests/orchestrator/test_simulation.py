"""Random pipelines under random misfortune, without a process or a sleep: every run ends in a known way.

Each seed is a story of its own: random graphs with random policies; plugins that crash, hang, deny, answer late or
never; callers that leave; a journal that fails; a host that is killed and started over what had been synced.
"""

from __future__ import annotations

import pytest
from simulation import World, play

from orchestrator.journal.rows import RunStatus
from orchestrator.lasting import Lasting
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
    """Every run as its journal has it."""
    runs = [world.recall(id) for id in world.journal.rows]
    return [run for run in runs if run is not None]


def check_none_is_lost(world: World) -> None:
    assert not world.engine.open, f"{', '.join(world.engine.open)}: nothing moves any more"
    assert not world.calls, "a caller without an answer"
    assert {row.status for row in world.journal.rows.values()} <= OVER
    assert all(run.machine.phase is Phase.OVER for run in ended(world))
    # What ran at all is in the journal: an effect never stands alone.
    assert {name.partition("/")[0] for name in world.effects.done} <= set(world.journal.rows)


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


def check_answers(world: World) -> None:
    """What a caller heard holds: a denied run keeps no effect, an allowed one is denied by nothing but a revocation,
    and whoever comes back with its key hears the same, or that it was undone meanwhile.
    """
    assert all(len(verdicts) == 1 for verdicts in world.heard.values()), world.heard
    for run in ended(world):
        told = world.told.get(run.id)
        if told == "deny":
            assert run.machine.unwinds or not run.route.shape.compensated, f"{run.id} was denied and keeps effects"
        elif told is not None and run.denied:
            raise AssertionError(f"{run.id} was allowed to its caller and is denied in the journal")


@pytest.mark.parametrize("block", range(SEEDS // BLOCK))
def test_every_run_ends_completed_undone_or_parked(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        world = play(seed)
        check_none_is_lost(world)
        check_effects(world)
        check_parked(world)
        check_order(world)
        check_answers(world)


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
