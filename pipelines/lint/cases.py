"""The `tests` section: each test a call that its pipeline could get, with answers that its stages could give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from pipelines.expressions import Expect, Scope
from pipelines.fields import Field, Kind, misfits
from pipelines.file.spec import CaseSpec
from pipelines.file.tree import Path
from pipelines.hooks import CONTEXT, Hook
from pipelines.lint.draft import Draft
from pipelines.lint.expressions import Desk, stage_fields
from pipelines.lint.uses import Use, misfit_out
from pipelines.plan import Case
from pipelines.suggest import nearest

__all__ = ["Subject", "cases"]

_VIOLATION = Field(
    "violation",
    Kind.OBJECT,
    required=False,
    fields=(
        Field("code", Kind.STRING),
        Field("reason", Kind.STRING),
        Field("description", Kind.STRING, required=False),
        Field("details", Kind.OBJECT, required=False),
    ),
)

# What a stage may answer, and the kind of each (DESIGN 5).
_ANSWER = {
    "payload": Kind.OBJECT,
    "patch": Kind.OBJECT,
    "out": Kind.OBJECT,
    "state": Kind.OBJECT,
    "hints": Kind.OBJECT,
    "violation": Kind.OBJECT,
    "result": Kind.OBJECT,
}
_HINTS = {"http_headers": Kind.OBJECT, "retry_after_ms": Kind.INT}
_DENIAL = {
    "code": Kind.STRING,
    "reason": Kind.STRING,
    "description": Kind.STRING,
    "details": Kind.OBJECT,
    "http_status": Kind.INT,
    "http_headers": Kind.OBJECT,
    "retry_after_ms": Kind.INT,
}
_WORDS = {Kind.OBJECT: "a mapping", Kind.INT: "a whole number", Kind.STRING: "text"}


class Subject(NamedTuple):
    """A pipeline as tests see it."""

    hooks: tuple[Hook, ...]
    uses: Mapping[str, Use]
    finals: Mapping[str, Use]


def cases(draft: Draft, subjects: Mapping[str, Subject]) -> Iterable[Case]:
    """Check every test; those that make no sense are reported and left out."""
    for i, spec in enumerate(draft.spec.tests):
        if isinstance(spec, CaseSpec):
            yield from _case(draft, ("tests", i), spec, subjects)


def _case(draft: Draft, path: Path, spec: CaseSpec, subjects: Mapping[str, Subject]) -> Iterable[Case]:
    written = draft.names(("pipelines",))
    if spec.pipeline and spec.pipeline not in written:
        message = f"the file has no pipeline {spec.pipeline!r}"
        draft.error((*path, "pipeline"), "unknown-pipeline", message, nearest(spec.pipeline, written))
    subject = subjects.get(spec.pipeline)
    hook = None if subject is None else _hook(draft, path, spec, subject)
    if subject is None or hook is None:
        return
    _check_call(draft, path, spec, hook)
    for stage, answer in spec.mock.items():
        _check_mock(draft, (*path, "mock", stage), stage, answer, subject)
    desk = _desk(draft, hook, subject)
    compiled = [
        desk.compile((*path, "expect", i), text, Expect.BOOL)
        for i, text in enumerate(spec.expect)
        if isinstance(text, str)
    ]
    mock = {stage: answer for stage, answer in spec.mock.items() if isinstance(answer, Mapping)}
    expect = tuple(expression for expression in compiled if expression is not None)
    yield Case(spec.name, spec.pipeline, hook.name, spec.payload, spec.context, mock, expect, draft.value(path))


def _hook(draft: Draft, path: Path, spec: CaseSpec, subject: Subject) -> Hook | None:
    if spec.hook is None:
        return subject.hooks[0] if subject.hooks else None
    by_name = {hook.name: hook for hook in subject.hooks}
    if spec.hook not in by_name:
        message = f"the pipeline {spec.pipeline} is on {', '.join(by_name)}, not on {spec.hook!r}"
        draft.error((*path, "hook"), "unknown-hook", message, nearest(spec.hook, by_name))
    return by_name.get(spec.hook)


def _check_call(draft: Draft, path: Path, spec: CaseSpec, hook: Hook) -> None:
    if not draft.log.is_spoiled((*path, "payload")) and draft.tree((*path, "payload")) is not None:
        _report(draft, (*path, "payload"), hook.violations_of(spec.payload))
    # Doors normalise the user, which may be a text there; everything may be absent.
    known = tuple(
        replace(f, required=False, fields=()) if f.name != "user" else Field("user", Kind.ANY) for f in CONTEXT
    )
    _report(draft, (*path, "context"), misfits(known, spec.context))


def _report(draft: Draft, path: Path, sentences: Iterable[str]) -> None:
    """Each sentence starts with the dotted path of what it is about."""
    for sentence in sentences:
        about, _, _ = sentence.partition(" ")
        message, _, near = sentence.partition("; did you mean ")
        place = (*path, *about.split("."))
        at_key = "is not a field" in message or "is missing" in message
        mark = draft.key(place) if at_key else draft.value(place)
        draft.error(place, "bad-payload", message, near.strip("'?") or None, at=mark)


def _check_mock(draft: Draft, path: Path, stage: str, answer: object, subject: Subject) -> None:
    known = {**subject.finals, **subject.uses}
    if stage not in known:
        message = f"the pipeline has no stage {stage!r}"
        draft.error(path, "unknown-stage", message, nearest(stage, known), at=draft.key(path))
        return
    if not isinstance(answer, Mapping):
        return
    _check_members(draft, path, answer, _ANSWER, "a stage")
    if "payload" in answer and "patch" in answer:
        draft.error(
            (*path, "patch"),
            "bad-answer",
            "an answer has `payload` or `patch`, not both",
            at=draft.key((*path, "patch")),
        )
    out, violation, hints = answer.get("out"), answer.get("violation"), answer.get("hints")
    if isinstance(out, Mapping):
        misfit_out(draft, (*path, "out"), out, known[stage].declaration)
    if isinstance(hints, Mapping):
        _check_members(draft, (*path, "hints"), hints, _HINTS, "hints")
    if isinstance(violation, Mapping):
        below = (*path, "violation")
        _check_members(draft, below, violation, _DENIAL, "a violation")
        for key in ("code", "reason"):
            if key not in violation:
                draft.error((*below, key), "bad-answer", f"a violation needs `{key}`", at=draft.key(below))


def _check_members(
    draft: Draft, path: Path, value: Mapping[str, object], known: Mapping[str, Kind], owner: str
) -> None:
    for key, member in value.items():
        below = (*path, key)
        if key not in known:
            draft.error(below, "bad-answer", f"{owner} has no {key!r}", nearest(key, known), at=draft.key(below))
        elif not known[key].holds(member):
            draft.error(below, "bad-answer", f"{key} is {_WORDS[known[key]]}")


def _desk(draft: Draft, hook: Hook, subject: Subject) -> Desk:
    """What an expectation may look at: the run, and every stage with its violation."""
    run = (
        Field("verdict", Kind.STRING),
        Field("hook", Kind.STRING),
        Field("payload", Kind.OBJECT, fields=hook.payload),
        replace(_VIOLATION),
    )
    stages = stage_fields({name: use.declaration for name, use in subject.uses.items()}, (_VIOLATION,))
    return Desk(draft, hook.name, Scope({"run": run, "stages": stages}))
