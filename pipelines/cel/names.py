"""What an expression names, found in its text and put as flat variables: `payload.user.id == ''` as `v == ''`.

CEL then sees scalars of a known type and never a document: a wrong path is a mistake in the text, and evaluation
converts only what is named. The place of every word is kept, so that mistakes point into the original text.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.cel.errors import ExpressionError
from pipelines.cel.functions import BINDING, FUNCTIONS, NAMES
from pipelines.cel.slots import PREFIX, SLOTS_PER_KIND, Flat, Path, Scope, Slot, Use, dotted
from pipelines.cel.tokens import Word, literal_text, tokens_of
from pipelines.fields import Field, Kind
from pipelines.suggest import nearest

__all__ = ["flatten"]

_LOOPS = BINDING - {"optMap", "optFlatMap"}


@dataclass(frozen=True, slots=True)
class _Step:
    step: str | int
    start: int
    is_select: bool
    is_optional: bool
    after: int
    """Index of the first word behind it."""


def flatten(text: str, scope: Scope) -> Flat:
    """Find every path of `scope` in `text` and put a variable in its place."""
    flat = Flat(tokens_of(text))
    bound = _bound(flat, scope)
    cursor = index = 0
    while index < len(flat.tokens):
        token = flat.tokens[index]
        new, after = _presence(flat, index, scope) or _chain(flat, index, scope) or (None, index + 1)
        if new is not None:
            flat.add(text[cursor : token.start], cursor, True)
            flat.add(new, token.start, False)
            cursor = flat.tokens[after - 1].end
        else:
            _check_name(flat, index, scope, bound)
        index = after
    flat.add(text[cursor:], cursor, True)
    _check_count(flat)
    return flat


def _text(flat: Flat, index: int) -> str:
    return flat.tokens[index].text if 0 <= index < len(flat.tokens) else ""


def _is_root(flat: Flat, index: int, scope: Scope) -> bool:
    token = flat.tokens[index] if index < len(flat.tokens) else None
    return (
        token is not None
        and token.word is Word.NAME
        and token.text in scope.roots
        and _text(flat, index - 1) != "."
        and not (_text(flat, index - 1) == "?" and _text(flat, index - 2) == ".")
        and _text(flat, index + 1) != "("
    )


def _bound(flat: Flat, scope: Scope) -> frozenset[str]:
    """Collect the variables that macros bind; none may hide a root."""
    found = set()
    for index, token in enumerate(flat.tokens):
        if token.text in BINDING and _text(flat, index + 1) == "(" and _text(flat, index + 3) == ",":
            variable = flat.tokens[index + 2]
            found.add(variable.text)
            if variable.text in scope.roots or variable.text.startswith(PREFIX):
                message = f"{variable.text!r} cannot name the variable of {token.text}(): it has a meaning already"
                flat.faults.append(ExpressionError(variable.start, "expression-name", message))
    return frozenset(found - set(scope.roots))


def _steps(flat: Flat, index: int) -> list[_Step]:
    """Read `.a`, `.?a`, `['a']` and `[0]` behind the root at `index`, up to a call, an optional or the end."""
    steps: list[_Step] = []
    index += 1
    while True:
        step = _select(flat, index) or _index(flat, index)
        if step is None:
            return steps
        steps.append(step)
        index = step.after
        if step.is_optional:
            return steps


def _select(flat: Flat, index: int) -> _Step | None:
    if _text(flat, index) != ".":
        return None
    optional = _text(flat, index + 1) == "?"
    at = index + 1 + optional
    if (
        at >= len(flat.tokens)
        or flat.tokens[at].word not in (Word.NAME, Word.QUOTED_NAME)
        or _text(flat, at + 1) == "("
    ):
        return None
    token = flat.tokens[at]
    return _Step(token.text.strip("`"), token.start, True, optional, at + 1)


def _index(flat: Flat, index: int) -> _Step | None:
    if _text(flat, index) != "[" or _text(flat, index + 2) != "]":
        return None
    token = flat.tokens[index + 1]
    name = literal_text(token)
    if name is not None:
        return _Step(name, token.start, False, False, index + 3)
    if token.word is Word.NUMBER and token.text.isdecimal() and len(token.text) < 10:
        return _Step(int(token.text), token.start, False, False, index + 3)
    return None


def _presence(flat: Flat, index: int, scope: Scope) -> tuple[str, int] | None:
    """Put a variable in the place of `has(root.path)`."""
    if not (_text(flat, index) == "has" and _text(flat, index + 1) == "(" and _text(flat, index - 1) != "."):
        return None
    if not _is_root(flat, index + 2, scope):
        return None
    steps = _steps(flat, index + 2)
    if not steps or _text(flat, steps[-1].after) != ")" or any(step.is_optional for step in steps):
        return None
    slot, used = _resolve(flat, index + 2, steps, scope, Use.PRESENCE)
    return (flat.variable(slot), steps[-1].after + 1) if used == len(steps) else None


def _chain(flat: Flat, index: int, scope: Scope) -> tuple[str, int] | None:
    """Put a variable in the place of `root.path`."""
    if not _is_root(flat, index, scope):
        return None
    steps = _steps(flat, index)
    if not steps:
        return _bare(flat, index)
    slot, used = _resolve(flat, index, steps, scope, Use.VALUE)
    after = steps[used - 1].after if used else index + 1
    if used == len(steps) and steps[-1].is_optional:
        there = flat.variable(Slot(slot.path, slot.kind, Use.PRESENCE, slot.is_absent))
        return f"({there} ? optional.of({flat.variable(slot)}) : optional.none())", after
    if slot.kind in (Kind.OBJECT, Kind.ANY) and _text(flat, after) == "." and _text(flat, after + 1) in _LOOPS:
        kind = Kind.LIST if slot.kind is Kind.OBJECT else Kind.ANY
        slot = Slot(slot.path, kind, Use.KEYS, slot.is_absent)
    return flat.variable(slot), after


def _bare(flat: Flat, index: int) -> tuple[str, int] | None:
    root = flat.tokens[index]
    if _text(flat, index + 1) == "," and _text(flat, index - 2) in BINDING:
        return None  # reported as a variable that hides a root
    message = f"name a field of {root.text}, as {root.text}.name: an expression is never handed the whole of it"
    flat.faults.append(ExpressionError(root.start, "expression-name", message))
    return flat.variable(Slot((root.text,), Kind.ANY, Use.VALUE, True)), index + 1


def _resolve(flat: Flat, index: int, steps: list[_Step], scope: Scope, use: Use) -> tuple[Slot, int]:
    """Follow the steps as far as a variable can stand for them; how many were used comes second."""
    root = flat.tokens[index].text
    kind, fields = Kind.OBJECT, scope.root(root)
    path: Path = (root,)
    is_free = not fields and root != "stages"
    for used, step in enumerate(steps):
        if kind is Kind.ANY or (kind is Kind.LIST and isinstance(step.step, int)):
            kind, fields = Kind.ANY, ()
        elif kind is Kind.OBJECT and isinstance(step.step, str):
            kind, fields = (Kind.ANY, ()) if is_free else _field(flat, path, step, fields)
        elif step.is_select:
            _fault(flat, step, f"{dotted(path)} is of kind {kind.value}: it has no fields", ())
            kind, fields = Kind.ANY, ()
        else:
            return _slot(flat, path, kind, use, scope), used
        path = (*path, step.step)
        is_free = not fields
    return _slot(flat, path, kind, use, scope), len(steps)


def _field(flat: Flat, path: Path, step: _Step, fields: tuple[Field, ...]) -> tuple[Kind, tuple[Field, ...]]:
    for known in fields:
        if known.name == step.step:
            return known.kind, known.fields
    what = "there is no stage" if path == ("stages",) else f"{dotted(path)} has no field"
    _fault(flat, step, f"{what} {step.step!r}", tuple(known.name for known in fields))
    return Kind.ANY, ()


def _fault(flat: Flat, step: _Step, message: str, known: tuple[str, ...]) -> None:
    flat.faults.append(ExpressionError(step.start, "expression-name", message, nearest(str(step.step), known)))


def _slot(flat: Flat, path: Path, kind: Kind, use: Use, scope: Scope) -> Slot:
    names = path[: next((i for i, step in enumerate(path) if isinstance(step, int)), len(path))]
    flat.references.add(tuple(str(name) for name in names))
    own = {known.name for known in scope.roots[str(path[0])]}
    others = {known.name for known in scope.absent}
    is_absent = len(path) > 1 and path[0] == "payload" and path[1] in others - own
    return Slot(path, kind, use, is_absent)


def _check_name(flat: Flat, index: int, scope: Scope, bound: frozenset[str]) -> None:
    """Report a word that is no root, no function and no variable; CEL would name it less exactly."""
    token = flat.tokens[index]
    called = _text(flat, index + 1) == "("
    is_member = _text(flat, index - 1) == "." or (_text(flat, index - 1) == "?" and _text(flat, index - 2) == ".")
    if token.word is not Word.NAME or (is_member and not called):
        return
    known = set(FUNCTIONS) if called else {*scope.roots, *bound, *NAMES}
    if token.text in known:
        return
    what = "function" if called else "name"
    near = _hyphenated(flat, index) or nearest(token.text, set(FUNCTIONS) if called else {*scope.roots, *bound})
    flat.faults.append(
        ExpressionError(token.start, "expression-name", f"there is no {what} {token.text!r} to use here", near)
    )


def _hyphenated(flat: Flat, index: int) -> str | None:
    """`payload.headers.user-agent` reads as a subtraction; say how such a field is named."""
    if index < 4 or _text(flat, index - 1) != "-" or _text(flat, index - 3) != ".":
        return None
    before, dash, token = flat.tokens[index - 2 : index + 1]
    close = before.end == dash.start and dash.end == token.start
    return f"['{before.text}-{token.text}']" if close and before.word is Word.NAME else None


def _check_count(flat: Flat) -> None:
    limit = f"{PREFIX}{{}}{SLOTS_PER_KIND}"
    if any(name == limit.format(kind.value) for name in flat.slots for kind in Kind):
        message = f"the expression names more than {SLOTS_PER_KIND} different fields of one kind"
        flat.faults.append(ExpressionError(0, "expression-limit", message))
