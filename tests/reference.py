"""A slow interpreter of a pipeline, written from the rules alone: whole trees, no bytes, no machine, no engine.

It reads the same dictionaries that tests write as YAML, and plays the answers in the order it is told.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

__all__ = ["Failure", "Played", "play"]

Tree = dict[str, object]
Path = tuple[str, ...]
Writes = dict[Path, object]

GONE, MADE = object(), object()
"""A deletion, and an object that was made where none stood."""


class Failure(Exception):
    """An error of a stage, by its code."""


@dataclass
class Played:
    """How it ended. `states` is by stage."""

    verdict: str
    payload: Tree
    state: Tree | None
    states: dict[str, str]
    code: str | None


@dataclass
class _Run:
    stages: Mapping[str, Mapping[str, object]]
    payload: Tree
    states: dict[str, str] = field(default_factory=dict)
    writes: dict[str, Writes] = field(default_factory=dict)
    marks: dict[str, Writes] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    modes: dict[str, tuple[str, str]] = field(default_factory=dict)

    def needs(self, stage: str) -> list[tuple[str, list[str] | None]]:
        written = self.stages[stage].get("needs", [])
        assert isinstance(written, list)
        return [(one, None) if isinstance(one, str) else (one["stage"], one["is"]) for one in written]

    def ancestors(self, stage: str) -> set[str]:
        direct = {need for need, _ in self.needs(stage)}
        return direct.union(*map(self.ancestors, direct)) if direct else set()


def play(
    stages: Mapping[str, Mapping[str, object]],
    payload: Tree,
    answers: Mapping[str, Tree],
    conditions: Mapping[str, Callable[[Tree], bool]],
    order: Sequence[str],
) -> Played:
    """Run to the end. Of the stages that wait for an answer the first of `order` gets its own next."""
    run = _Run(stages, payload)
    ended: list[str] = []
    while True:
        ready = [name for name in stages if name not in run.states and _is_ready(run, name, ended)]
        for name in ready:
            run.states[name] = "running"
            if _guarded(run, name, partial(_take_up, run, name, conditions)):
                ended.append(name)
        if not ended:
            waiting = [name for name in order if run.states.get(name) == "running"]
            if not waiting:
                break
            _guarded(run, waiting[0], partial(_answer, run, waiting[0], answers[waiting[0]]))
            ended.append(waiting[0])
        name = ended.pop(0)
        if run.states[name] in ("denied", "failed"):
            return _deny(run, run.codes[name])
    try:
        after = _view(run.payload, run.writes, list(stages), run)
        state = _view({}, run.marks, list(stages), run) if run.marks else None
    except Failure as failure:
        return _deny(run, str(failure))
    return Played("modify" if not _same(after, payload) else "allow", after, state, run.states, None)


def _is_ready(run: _Run, name: str, ended: Sequence[str]) -> bool:
    """Whether all its needs have ended; ends are noticed one after the other."""
    return all(run.states.get(need, "running") != "running" and need not in ended for need, _ in run.needs(name))


def _deny(run: _Run, code: str) -> Played:
    """Cancel what has not ended; what ended at the same moment stays as it is."""
    states = {name: run.states.get(name, "running").replace("running", "cancelled") for name in run.stages}
    return Played("deny", run.payload, None, states, code)


def _guarded(run: _Run, name: str, act: Callable[[], bool]) -> bool:
    try:
        return act()
    except Failure as failure:
        _, on_error = run.modes[name]
        run.states[name] = "failed" if on_error == "fail" else "skipped"
        run.codes[name] = str(failure)
        return True


def _settings(stage: Mapping[str, object], override: Mapping[str, object]) -> tuple[str, str]:
    mode = str(override.get("mode", stage.get("mode", "enforce")))
    default = "fail" if mode == "enforce" else "continue"
    return mode, str(override.get("on_error", stage.get("on_error", default)))


def _take_up(run: _Run, name: str, conditions: Mapping[str, Callable[[Tree], bool]]) -> bool:
    """Whether the stage has ended without a call."""
    stage = run.stages[name]
    overrides = stage.get("overrides", [])
    assert isinstance(overrides, list)
    variants = [_settings(stage, override) for override in overrides] + [_settings(stage, {})]
    run.modes[name] = next((one for one in variants if one[1] == "fail"), variants[-1])
    chosen = len(overrides)
    for place, override in enumerate(overrides):
        seen = _view(run.payload, run.writes, sorted(run.ancestors(name)), run)
        run.modes[name] = next((one for one in variants[place:] if one[1] == "fail"), variants[-1])
        if conditions[override["when"]](seen):
            chosen = place
            break
    mode, _ = run.modes[name] = variants[chosen]
    if mode == "disabled":
        run.states[name] = "skipped"
        return True
    if any(run.states[need] not in (states or ["succeeded", "skipped"]) for need, states in run.needs(name)):
        run.states[name] = "failed" if mode == "enforce" else "skipped"
        run.codes[name] = "penstock.need_unmet"
        return True
    seen = _view(run.payload, run.writes, sorted(run.ancestors(name)), run)
    when = stage.get("when")
    if when is not None and not conditions[str(when)](seen):
        run.states[name] = "skipped"
        return True
    _view({}, run.marks, sorted(run.ancestors(name)), run)
    return False


ALLOWED = {"payload", "patch", "out", "state", "hints", "violation"}


def _answer(run: _Run, name: str, answer: Tree) -> bool:
    mode, _ = run.modes[name]
    if "error" in answer or not set(answer) <= ALLOWED or {"payload", "patch"} <= set(answer):
        raise Failure("penstock.plugin_error")
    violation = answer.get("violation")
    if violation is not None and mode == "enforce":
        assert isinstance(violation, dict)
        run.states[name] = "denied"
        run.codes[name] = violation["code"]
        return True
    before = _view(run.payload, run.writes, sorted(run.ancestors(name)), run)
    after = answer["payload"] if "payload" in answer else _patched(before, answer.get("patch", {}))
    if not isinstance(after, dict):
        raise Failure("penstock.plugin_error")
    made = _compared(before, after)
    if run.stages[name]["uses"] == "s/narrow" and not all(_is_listed(path, made, before) for path in made):
        raise Failure("penstock.plugin_error")
    if mode != "audit":
        run.writes[name] = made
        if answer.get("state"):
            marked = _view({}, run.marks, sorted(run.ancestors(name)), run)
            left = _patched(marked, answer["state"])
            assert isinstance(left, dict)
            run.marks[name] = _compared(marked, left)
    run.states[name] = "succeeded"
    return True


def _is_listed(path: Path, made: Writes, before: Tree) -> bool:
    if path[:2] == ("args", "allowed"):
        return True
    return path == ("args",) and made[path] is MADE and before.get("args") is None


def _same(left: object, right: object) -> bool:
    return repr(_sorted(left)) == repr(_sorted(right))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _patched(target: object, patch: object) -> object:
    """RFC 7396, section 2, as its pseudo-code stands there."""
    if not isinstance(patch, dict):
        return patch
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _patched(result.get(name), value)
    return result


def _leaves(tree: Mapping[str, object], path: Path = ()) -> dict[Path, object]:
    """Every place of a tree; an object is MADE."""
    found: dict[Path, object] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found[*path, key] = MADE
            found |= _leaves(value, (*path, key))
        else:
            found[*path, key] = value
    return found


def _compared(before: Tree, after: Tree) -> Writes:
    old, new = _leaves(before), _leaves(after)
    writes = {path: value for path, value in new.items() if path not in old or not _equal(old[path], value)}
    for path in old:
        if path not in new and (len(path) == 1 or new.get(path[:-1]) is MADE):
            writes[path] = GONE
    return writes


def _equal(left: object, right: object) -> bool:
    if left is MADE or right is MADE or left is GONE or right is GONE:
        return left is right
    return _same(left, right)


def _view(base: Tree, every: Mapping[str, Writes], stages: Sequence[str], run: _Run) -> Tree:
    """What a stage with these ancestors sees. Raises Failure."""
    writes = [(name, path, value) for name in stages for path, value in every.get(name, {}).items()]
    live = [
        (name, path, value)
        for name, path, value in writes
        if not any(name in run.ancestors(later) and path[: len(over)] == over for later, over, _ in writes)
    ]
    for one, path, value in live:
        for other, deeper, deeper_value in live:
            ordered = one == other or one in run.ancestors(other) or other in run.ancestors(one)
            if ordered or deeper[: len(path)] != path:
                continue
            line = {other, *run.ancestors(other)}
            if path == deeper and not _equal(value, deeper_value):
                raise Failure("penstock.merge_conflict")
            if path != deeper and not (
                value is MADE and any(name in line and at == path and made is MADE for name, at, made in live)
            ):
                raise Failure("penstock.merge_conflict")
    result = copy.deepcopy(base)
    for _, path, value in sorted(live, key=lambda write: len(write[1])):
        here = result
        for key in path[:-1]:
            inner = here[key]
            assert isinstance(inner, dict)
            here = inner
        if value is GONE:
            here.pop(path[-1], None)
        else:
            here[path[-1]] = {} if value is MADE else copy.deepcopy(value)
    return result
