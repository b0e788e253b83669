"""A change: one action for each plugin, every difference by its name, and nothing where nothing differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outlines import outlines, plugin_outlines

from isolation.manifest.values import Reload
from orchestrator.reload.change import Action, Build, Change, Difference, GenerationName, Kind, Trial, difference
from orchestrator.reload.outline import Outline, PipelineOutline, PluginOutline, SplitOutline
from orchestrator.reload.versions import Direction
from pipelines.declaration import Asks

STARTS = {Action.START, Action.SWAP, Action.REPLACE}
STOPS = {Action.STOP, Action.SWAP, Action.REPLACE}
MIRRORED = {Action.START: Action.STOP, Action.STOP: Action.START}

PII = PluginOutline("pii", "example-pii", "./pii", "d1", "f1", version="1.0", configs=frozenset({"c1"}))
GUARD = PipelineOutline("guard", "before", {"deadline": "1 s"}, {"mask": {"plugin": "pii", "mode": "enforce"}})
FIVE = SplitOutline(("pii",), 5.0, "5 % by tenant")
BASE = Outline("tested", {"pii": PII}, {"before": (GUARD,)}, {"before": "deny"})


def with_plugin(**values: object) -> Outline:
    return replace(BASE, plugins={"pii": replace(PII, **values)})  # type: ignore[arg-type]  # fields by name


def with_stage(**facets: str) -> Outline:
    stages: Mapping[str, Mapping[str, str]] = {"mask": {**GUARD.stages["mask"], **facets}}
    return replace(BASE, routes={"before": (replace(GUARD, stages=stages),)})


@given(outlines())
def test_nothing_differs_from_itself(outline: Outline) -> None:
    change = difference(outline, outline)
    assert change.empty
    assert not change.start and not change.stop and not change.build
    assert not change.stages and not change.pipelines and not change.hooks and not change.permissions


@given(outlines(), outlines())
def test_equal_outlines_and_no_others_are_an_empty_change(one: Outline, other: Outline) -> None:
    def essence(outline: Outline) -> Outline:
        plugins = {
            name: replace(plugin, environment_ready=True, plugin="", source="", api="", requires_python=None)
            for name, plugin in outline.plugins.items()
        }
        routes = {hook: route for hook, route in outline.routes.items() if route}
        return replace(outline, plugins=plugins, routes=routes, warnings=())

    assert difference(one, other).empty == (essence(one) == essence(other))


@given(outlines() | st.none(), outlines())
def test_every_plugin_of_either_side_has_one_action(before: Outline | None, after: Outline) -> None:
    old = before.plugins if before is not None else {}
    change = difference(before, after)
    assert set(change.plugins) == {*old, *after.plugins}
    for name, action in change.plugins.items():
        assert (action is Action.START) == (name not in old)
        assert (action is Action.STOP) == (name not in after.plugins)


@given(plugin_outlines("pii"), plugin_outlines("pii"))
def test_a_plugin_is_kept_exactly_when_its_workers_see_nothing(one: PluginOutline, other: PluginOutline) -> None:
    unseen = {"environment_ready": True, "version": "", "locked": {}, "asks": Asks(), "grant": Asks()}

    def seen(plugin: PluginOutline) -> PluginOutline:
        return replace(plugin, **unseen)  # type: ignore[arg-type]  # fields by name

    action = difference(Outline(plugins={"pii": one}), Outline(plugins={"pii": other})).plugins["pii"]
    told = replace(seen(one), configs=other.configs, secrets=other.secrets)
    assert (action is Action.KEEP) == (seen(one) == seen(other))
    assert (action in {Action.KEEP, Action.RECONFIGURE}) == (told == seen(other))
    assert (action is Action.REPLACE) == (action in STARTS and Reload.REPLACE in (one.reload, other.reload))


@given(outlines() | st.none(), outlines())
def test_the_generations_that_start_and_stop_are_those_of_the_actions(before: Outline | None, after: Outline) -> None:
    change = difference(before, after)
    old = before.plugins if before is not None else {}
    starting = {name for name, action in change.plugins.items() if action in STARTS}
    stopping = {name for name, action in change.plugins.items() if action in STOPS}
    assert [each.plugin for each in change.start] == [name for name in after.plugins if name in starting]
    assert all(each.digest == after.plugins[each.plugin].digest for each in change.start)
    assert [each.plugin for each in change.stop] == [name for name in old if name in stopping]
    assert all(each.digest == old[each.plugin].digest for each in change.stop)
    built = [(name, build.fingerprint) for build in change.build for name in build.plugins]
    missing = [
        (name, plugin.fingerprint)
        for name, plugin in after.plugins.items()
        if name in starting and plugin.fingerprint is not None and not plugin.environment_ready
    ]
    assert sorted(built) == sorted(missing)
    assert len({build.fingerprint for build in change.build}) == len(change.build)


@given(outlines(), outlines())
def test_the_way_back_mirrors_the_way_there(one: Outline, other: Outline) -> None:
    there, back = difference(one, other), difference(other, one)
    assert back.plugins == {name: MIRRORED.get(action, action) for name, action in there.plugins.items()}
    assert back.why == there.why
    assert set(back.start) == set(there.stop) and set(back.stop) == set(there.start)
    assert mirrored(there) == told(back)
    assert {(p.plugin, p.of, p.kind, p.removed, p.added) for p in there.permissions} == {
        (p.plugin, p.of, p.kind, p.added, p.removed) for p in back.permissions
    }
    assert {(p.plugin, p.package, p.after, p.before) for p in there.packages} == {
        (p.plugin, p.package, p.before, p.after) for p in back.packages
    }


_KINDS = {Kind.ADDED: Kind.REMOVED, Kind.REMOVED: Kind.ADDED, Kind.CHANGED: Kind.CHANGED}
Told = set[tuple[str, str, frozenset[str], frozenset[tuple[str, str | None, str | None]]]]


def told(change: Change, *, back: bool = False) -> Told:
    """Stages, pipelines, hooks and orders of a change without the order in which they are told."""
    rows = [
        *((each.stage, each.kind, each.hooks, each.what) for each in change.stages),
        *((each.pipeline, each.kind, each.hooks, each.what) for each in change.pipelines),
        *((each.hook, each.kind, (), each.what) for each in change.hooks),
        *(
            (o.hook, Kind.CHANGED, (), {"order": Difference(" ".join(o.before), " ".join(o.after))})
            for o in change.orders
        ),
        ("canary", Kind.CHANGED, (), change.canary),
        ("secrets", Kind.CHANGED, (), change.secrets),
        ("name", Kind.CHANGED, (), {} if change.name is None else {"name": change.name}),
    ]

    def turned(what: Mapping[str, Difference]) -> frozenset[tuple[str, str | None, str | None]]:
        return frozenset(
            (word, each.after, each.before) if back else (word, each.before, each.after) for word, each in what.items()
        )

    return {
        (name, (_KINDS[kind] if back else kind).value, frozenset(hooks), turned(what))
        for name, kind, hooks, what in rows
    }


def mirrored(change: Change) -> Told:
    return told(change, back=True)


@given(outlines() | st.none(), outlines())
def test_the_record_is_a_json_object_that_says_the_same(before: Outline | None, after: Outline) -> None:
    change = difference(before, after)
    record = change.record()
    assert json.loads(json.dumps(record)) == record
    assert record["empty"] is change.empty
    assert record["plugins"] == {name: action.value for name, action in change.plugins.items()}


def test_the_first_plan_starts_everything() -> None:
    change = difference(None, BASE)
    assert change.plugins == {"pii": Action.START}
    assert change.start == (GenerationName("pii", "d1"),)
    assert [(each.stage, each.kind) for each in change.stages] == [("guard/mask", Kind.ADDED)]
    assert [(each.pipeline, each.kind) for each in change.pipelines] == [("guard", Kind.ADDED)]
    assert change.name is None


def test_other_configurations_keep_the_processes() -> None:
    change = difference(BASE, with_plugin(configs=frozenset({"c2"})))
    assert change.plugins == {"pii": Action.RECONFIGURE}
    assert change.why == {"pii": ("with",)}
    assert not change.start and not change.stop


def test_other_code_names_the_stages_that_run_it() -> None:
    change = difference(BASE, with_plugin(digest="d2"))
    assert change.plugins == {"pii": Action.SWAP}
    assert [(each.stage, each.what) for each in change.stages] == [
        ("guard/mask", {"plugin.code": Difference("d1", "d2")})
    ]
    assert not change.pipelines


@pytest.mark.parametrize("side", [0, 1])
def test_two_generations_never_meet_where_either_bears_no_second(side: int) -> None:
    alone = with_plugin(digest="d2", reload=Reload.REPLACE)
    pair = (alone, BASE) if side == 0 else (BASE, alone)
    assert difference(*pair).plugins == {"pii": Action.REPLACE}


def test_environments_are_built_once_for_all_that_share_them() -> None:
    words = replace(PII, name="words", environment_ready=False)
    pii = replace(PII, environment_ready=False, digest="d2")
    change = difference(BASE, replace(BASE, plugins={"pii": pii, "words": words}))
    assert change.build == (Build("f1", ("pii", "words")),)


def test_an_environment_that_vanished_under_a_kept_plugin_is_not_built() -> None:
    assert difference(BASE, with_plugin(environment_ready=False)).empty


def test_a_changed_stage_says_what_before_and_after() -> None:
    change = difference(BASE, with_stage(mode="audit", timeout="1 s"))
    assert change.plugins == {"pii": Action.KEEP}
    [stage] = change.stages
    assert (stage.stage, stage.kind, stage.hooks) == ("guard/mask", Kind.CHANGED, ("before",))
    assert stage.what == {"mode": Difference("enforce", "audit"), "timeout": Difference(None, "1 s")}
    assert not change.empty


def test_what_differs_alike_on_two_hooks_is_told_once() -> None:
    both = replace(BASE, routes={"before": (GUARD,), "after": (replace(GUARD, hook="after"),)})
    change = difference(None, both)
    assert [(each.stage, each.hooks) for each in change.stages] == [("guard/mask", ("before", "after"))]


def test_pipelines_that_change_places_are_named_in_both_orders() -> None:
    tail, late = replace(GUARD, name="tail"), replace(GUARD, name="late")
    change = difference(
        replace(BASE, routes={"before": (GUARD, tail)}), replace(BASE, routes={"before": (late, tail, GUARD)})
    )
    [order] = change.orders
    assert (order.hook, order.before, order.after) == ("before", ("guard", "tail"), ("tail", "guard"))
    assert [(each.pipeline, each.kind) for each in change.pipelines] == [("late", Kind.ADDED)]


def test_a_hook_that_answers_otherwise_unmatched_is_named() -> None:
    change = difference(BASE, replace(BASE, unmatched={"before": "allow"}))
    [hook] = change.hooks
    assert (hook.hook, hook.what) == ("before", {"unmatched": Difference("deny", "allow")})


def test_permissions_say_what_is_more_and_what_is_less() -> None:
    change = difference(
        with_plugin(asks=Asks(network=("a:1",), subprocess=True)), with_plugin(asks=Asks(network=("b:2",)))
    )
    assert [(p.plugin, p.of, p.kind, p.added, p.removed) for p in change.permissions] == [
        ("pii", "asks", "network", ("b:2",), ("a:1",)),
        ("pii", "asks", "subprocess", (), ("yes",)),
    ]


def test_locked_versions_say_where_they_go() -> None:
    before = with_plugin(locked={"alpha": "1.9", "beta": "2.0", "gone": "1"})
    after = with_plugin(locked={"alpha": "1.10", "beta": "1.0", "new": "1"}, digest="d2", fingerprint="f2")
    assert {each.package: each.direction for each in difference(before, after).packages} == {
        "alpha": Direction.UP,
        "beta": Direction.DOWN,
        "gone": Direction.REMOVED,
        "new": Direction.ADDED,
    }


def test_a_downgrade_is_told_as_such() -> None:
    change = difference(with_plugin(version="1.10"), with_plugin(version="1.9", digest="d2"))
    assert [each.direction for each in change.versions] == [Direction.DOWN]
    assert change.warnings == ("pii is downgraded, from version 1.10 to 1.9",)
    assert not difference(with_plugin(version="1.9"), with_plugin(version="1.10", digest="d2")).warnings


def test_another_canary_is_a_change_without_any_generation() -> None:
    change = difference(BASE, replace(BASE, splits={"before": FIVE}))
    assert change.canary == {"before": Difference(None, "pii: 5 % by tenant")}
    assert not change.empty and not change.trial


def test_a_new_generation_beside_the_old_is_on_trial_where_the_calls_are_split() -> None:
    splits = {"before": FIVE, "after": replace(FIVE, plugins=("words",))}
    old, new = replace(BASE, splits=splits), replace(with_plugin(digest="d2"), splits=splits)
    assert difference(old, new).trial == (Trial("before", ("pii",), 5.0),)
    assert not difference(old, old).trial and not difference(None, new).trial
    alone = replace(with_plugin(digest="d2", reload=Reload.REPLACE), splits=splits)
    assert not difference(old, alone).trial, "two of a kind that bears no second cannot stand side by side"
