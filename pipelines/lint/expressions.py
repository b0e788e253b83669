"""Expressions in their place: which names each may use, and which stages it may look at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.declaration import StageDeclaration
from pipelines.expressions import Expect, Expression, ExpressionError, Scope, compile_expression
from pipelines.fields import Field, Kind
from pipelines.file.tree import Path
from pipelines.hooks import CONTEXT, Hook
from pipelines.lint.draft import Draft

__all__ = ["Desk", "absent_fields", "mention", "stage_fields", "template"]

_KINDS = {kind.value: kind for kind in Kind}
_STATE = Field("state", Kind.STRING)


def stage_fields(stages: Mapping[str, StageDeclaration | None], extra: Sequence[Field] = ()) -> tuple[Field, ...]:
    """The root `stages`: of each its state and declared outputs; an unknown plugin may put out anything."""
    return tuple(Field(name, Kind.OBJECT, fields=(_STATE, *_out(found), *extra)) for name, found in stages.items())


def _out(found: StageDeclaration | None) -> tuple[Field, ...]:
    if found is None:
        return (Field("out", Kind.OBJECT),)
    outs = tuple(Field(name, _KINDS.get(kind, Kind.ANY), required=False) for name, kind in found.outputs.items())
    # A stage that declares no output has no `out`: a free-form object would let any name through.
    return (Field("out", Kind.OBJECT, required=False, fields=outs),) if outs else ()


def absent_fields(hook: Hook, hooks: Iterable[Hook]) -> tuple[Field, ...]:
    """Payload fields that only the other hooks of the same pipeline have."""
    own = {f.name for f in hook.payload}
    others: dict[str, Field] = {}
    for other in hooks:
        others |= {f.name: f for f in other.payload if f.name not in own and f.name not in others}
    return tuple(others.values())


@dataclass(slots=True)
class Desk:
    """Compiles the expressions of one pipeline on one hook."""

    draft: Draft
    hook: str
    scope: Scope
    bare: Scope = field(init=False)

    def __post_init__(self) -> None:
        roots = {name: fields for name, fields in self.scope.roots.items() if name != "stages"}
        self.bare = Scope(roots, self.scope.absent)

    @classmethod
    def for_hook(cls, draft: Draft, hook: Hook, hooks: Iterable[Hook], stages: tuple[Field, ...]) -> Desk:
        """The names of a run: payload, context, stages."""
        roots = {"payload": hook.payload, "context": CONTEXT, "stages": stages}
        return cls(draft, hook.name, Scope(roots, absent_fields(hook, hooks)))

    def knowing(self, root: str, fields: tuple[Field, ...]) -> Desk:
        """The same desk with one more name."""
        return Desk(self.draft, self.hook, Scope({**self.scope.roots, root: fields}, self.scope.absent))

    def compile(
        self, path: Path, text: str, expect: Expect, *, shift: int = 0, stages: bool = True
    ) -> Expression | None:
        """Compile the text at `path`; it starts `shift` characters into the scalar. Mistakes are reported there."""
        place = (self.hook, path, text)
        if place not in self.draft.compiled:
            self.draft.compiled[place] = _compiled(text, self.scope if stages else self.bare, expect)
        found = self.draft.compiled[place]
        if isinstance(found, Expression):
            return found
        for fault in (found, *found.others):
            mark = self.draft.inside(path, shift + fault.offset)
            self.draft.error(path, fault.code, fault.message, fault.suggestion, at=mark)
        return None


def _compiled(text: str, scope: Scope, expect: Expect) -> Expression | ExpressionError:
    try:
        return compile_expression(text, scope, expect)
    except ExpressionError as error:
        return error


def template(value: object) -> str | None:
    """The expression inside `${...}`, where that is the whole text."""
    whole = isinstance(value, str) and value.startswith("${") and value.endswith("}")
    return value[2:-1] if whole and isinstance(value, str) else None


def mention(text: str, reference: Sequence[str]) -> int:
    """Where `text` names `reference`; its start where the words are not side by side."""
    found = re.search(r"\b" + r"\s*\.\s*".join(re.escape(part) for part in reference) + r"\b", text)
    return found.start() if found is not None else 0
