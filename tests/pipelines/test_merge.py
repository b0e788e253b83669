"""Joins of what stages wrote, against an oracle that follows the rule word by word."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.merge import (
    ABSENT,
    OBJECT,
    Contribution,
    MergeConflict,
    apply_patch,
    diff,
    first_outside,
    join,
    same,
)

KEYS = st.sampled_from(["a", "b", "c"])
SCALARS = st.sampled_from([None, True, False, 0, 1, 1.0, "x", "y"])
VALUES = st.recursive(
    SCALARS | st.lists(SCALARS, max_size=2), lambda below: st.dictionaries(KEYS, below, max_size=3), max_leaves=6
)
Tree = dict[str, object]

OBJECTS: st.SearchStrategy[Tree] = st.dictionaries(KEYS, VALUES, max_size=3)


def text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('["a","b"]', '["c","d"]', '["c","d"]'),
        ('{"a":"b"}', '["c"]', '["c"]'),
        ('{"a":"foo"}', "null", "null"),
        ('{"a":"foo"}', '"bar"', '"bar"'),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    ],
)
def test_patches_do_what_appendix_a_of_rfc_7396_says(target: str, patch: str, result: str) -> None:
    assert apply_patch(json.loads(target), json.loads(patch)) == json.loads(result)


@given(OBJECTS, OBJECTS)
def test_a_patch_leaves_its_target_as_it_was(target: Tree, patch: Tree) -> None:
    kept = copy.deepcopy(target)
    apply_patch(target, patch)
    assert same(target, kept)


@given(VALUES, VALUES)
def test_two_values_are_the_same_when_their_json_is(left: object, right: object) -> None:
    assert same(left, right) == (text(left) == text(right))


@given(OBJECTS, OBJECTS)
def test_what_diff_lists_turns_one_object_into_the_other(before: Tree, after: Tree) -> None:
    kept = copy.deepcopy(before)
    joined = join(before, [Contribution(0, 0, diff(before, after))])
    assert same(joined, after)
    assert same(before, kept)


@given(OBJECTS)
def test_an_object_does_not_differ_from_itself(tree: Tree) -> None:
    assert diff(tree, copy.deepcopy(tree)) == {}


def test_a_null_is_a_value_and_no_deletion() -> None:
    assert diff({"a": 1}, {"a": None}) == {("a",): None}
    assert diff({"a": None}, {}) == {("a",): ABSENT}
    assert diff({}, {"a": {}}) == {("a",): OBJECT}


# The oracle: every write of every stage in one list, one rule a line.


class Conflict(Exception):
    """What the oracle raises."""


def is_ancestor(ancestors: list[int], one: int, other: int) -> bool:
    return bool(ancestors[other] >> one & 1)


def oracle(base: Tree, ancestors: list[int], writes: list[Mapping[tuple[str, ...], object]]) -> Tree:
    every = [(stage, path, value) for stage, made in enumerate(writes) for path, value in made.items()]
    live = [
        (stage, path, value)
        for stage, path, value in every
        if not any(is_ancestor(ancestors, stage, later) and path[: len(other)] == other for later, other, _ in every)
    ]
    for (one, path, value), (other, deeper, deeper_value) in itertools.permutations(live, 2):
        if is_ancestor(ancestors, one, other) or is_ancestor(ancestors, other, one) or deeper[: len(path)] != path:
            continue
        if path == deeper:
            if not same(value, deeper_value):
                raise Conflict
        elif value is not OBJECT or not any(
            above == path and made is OBJECT and (stage == other or is_ancestor(ancestors, stage, other))
            for stage, above, made in live
        ):
            raise Conflict
    result = copy.deepcopy(base)
    for _, path, value in sorted(live, key=lambda write: len(write[1])):
        here = result
        for key in path[:-1]:
            inner = here[key]
            assert isinstance(inner, dict)
            here = inner
        if value is ABSENT:
            here.pop(path[-1], None)
        elif value is OBJECT:
            here[path[-1]] = {}
        else:
            here[path[-1]] = copy.deepcopy(value)
    return result


@st.composite
def dags(draw: st.DrawFn) -> tuple[list[int], list[Tree | None]]:
    """The ancestors of each stage, and what its payload looks like when it is done with it; None: untouched."""
    count = draw(st.integers(1, 5))
    ancestors: list[int] = []
    for stage in range(count):
        mine = 0
        for need in range(stage):
            if draw(st.booleans()):
                mine |= ancestors[need] | 1 << need
        ancestors.append(mine)
    return ancestors, [draw(st.none() | OBJECTS) for _ in range(count)]


def written(base: Tree, ancestors: list[int], wanted: list[Tree | None]) -> list[Mapping[tuple[str, ...], object]]:
    """What each stage writes, each having seen what its ancestors left; nothing where they conflict."""
    made: list[Mapping[tuple[str, ...], object]] = []
    for stage, after in enumerate(wanted):
        seen = [made[other] if is_ancestor(ancestors, other, stage) else {} for other in range(stage)]
        try:
            before = oracle(base, ancestors[:stage], seen)
        except Conflict:
            made.append({})
            continue
        made.append({} if after is None else diff(before, after))
    return made


@given(OBJECTS, dags())
def test_a_join_is_what_the_oracle_says(base: Tree, dag: tuple[list[int], list[Tree | None]]) -> None:
    ancestors, wanted = dag
    writes = written(base, ancestors, wanted)
    parts = [Contribution(stage, ancestors[stage], made) for stage, made in enumerate(writes) if made]
    kept = copy.deepcopy(base)
    try:
        expected = oracle(base, ancestors, writes)
    except Conflict:
        with pytest.raises(MergeConflict):
            join(base, parts)
    else:
        assert same(join(base, parts), expected)
    assert same(base, kept)


@given(OBJECTS, dags())
def test_the_order_of_stages_that_do_not_need_each_other_is_of_no_account(
    base: Tree, dag: tuple[list[int], list[Tree | None]]
) -> None:
    ancestors, wanted = dag
    parts = [Contribution(s, ancestors[s], made) for s, made in enumerate(written(base, ancestors, wanted))]
    ends = set()
    for order in itertools.islice(itertools.permutations(parts), 24):
        places = {part.stage: place for place, part in enumerate(order)}
        if any(p.ancestors >> q.stage & 1 and places[q.stage] > places[p.stage] for p in parts for q in parts):
            continue
        try:
            ends.add(text(join(base, order)))
        except MergeConflict:
            ends.add("conflict")
    assert len(ends) == 1


def chain(*afters: Tree, base: Tree) -> list[Contribution]:
    """Stages one after the other."""
    parts, before = [], base
    for stage, after in enumerate(afters):
        parts.append(Contribution(stage, (1 << stage) - 1, diff(before, after)))
        before = after
    return parts


def test_members_of_an_object_that_was_replaced_do_not_come_back_in_a_join() -> None:
    """One stage replaces a secret by a text, the next the text by an object, a third works elsewhere meanwhile."""
    base: Tree = {"args": {"secret": "s3cr3t"}}
    first, second = chain({"args": "[redacted]"}, {"args": {"note": "gone"}}, base=base)
    beside = Contribution(2, 0, {("seen",): True})
    assert join(base, [first, second, beside]) == {"args": {"note": "gone"}, "seen": True}


def test_a_member_written_into_an_object_that_another_stage_replaced_is_a_conflict() -> None:
    base: Tree = {"args": {"q": 1}}
    first, second = chain({"args": 5}, {"args": {"note": 1}}, base=base)
    with pytest.raises(MergeConflict):
        join(base, [first, second, Contribution(2, 0, {("args", "q"): 2})])


def test_two_stages_may_make_one_new_object_together() -> None:
    left, right = diff({}, {"x": {"a": 1}}), diff({}, {"x": {"b": 2}})
    assert join({}, [Contribution(0, 0, left), Contribution(1, 0, right)]) == {"x": {"a": 1, "b": 2}}


def test_equal_writes_and_equal_deletions_are_no_conflict() -> None:
    gone = diff({"a": 1, "b": 2}, {"b": 3})
    assert join({"a": 1, "b": 2}, [Contribution(0, 0, gone), Contribution(1, 0, gone)]) == {"b": 3}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        ({"a": {"b": 1}}, {}),
        ({"a": {"b": 1}}, {"a": 1}),
        ({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}),
    ],
)
def test_unordered_writes_to_one_or_a_nested_place_must_be_equal(left: Tree, right: Tree) -> None:
    base: Tree = {"a": {"b": 0, "z": 0}}
    parts = [Contribution(0, 0, diff(base, left)), Contribution(1, 0, diff(base, right))]
    with pytest.raises(MergeConflict) as caught:
        join(base, parts)
    assert caught.value.stages == (0, 1)


@pytest.mark.parametrize(
    ("before", "after", "outside"),
    [
        ({"args": {"q": 1}}, {"args": {"q": 2}}, None),
        ({"args": {"q": 1}}, {"args": {}}, None),
        ({"args": {"q": 1}}, {}, ("args",)),
        ({"args": {"q": 1}}, {"args": 1}, ("args",)),
        ({}, {"args": {"q": 1}}, None),
        ({"args": None}, {"args": {"q": 1}}, None),
        ({"args": "kept"}, {"args": {"q": 1}}, ("args",)),
        ({}, {"args": {"q": 1, "r": 1}}, ("args", "r")),
        ({"args": {"qq": 1}}, {"args": {"qq": 2}}, ("args", "qq")),
        ({"args": {"q": {"deep": 1}}}, {"args": {"q": {"deep": 2}}}, None),
        ({"name": "x"}, {"name": "y"}, ("name",)),
    ],
)
def test_a_write_is_allowed_under_the_listed_paths_only(
    before: Tree, after: Tree, outside: tuple[str, ...] | None
) -> None:
    assert first_outside(diff(before, after), [("args", "q")], before) == outside


def test_the_root_as_a_listed_path_allows_everything_and_none_allows_nothing() -> None:
    writes = diff({"a": 1}, {"b": 1})
    assert first_outside(writes, [()], {"a": 1}) is None
    assert first_outside(writes, [], {"a": 1}) is not None
