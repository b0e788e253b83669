"""The values an expression names, picked out of documents: a few scalars, checked for their kind, never the whole.

What cannot be handed over is left out, so that CEL meets an error only where it looks: `has(a.b) && a.b == 'x'`
asks for `a.b` only if it is there.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.cel.engine import Unusable
from pipelines.cel.slots import Path, Slot, Use
from pipelines.cel.work import MAX_MEMBERS, Work, weigh, weigh_text
from pipelines.fields import Kind

__all__ = ["Reader"]

_MISSING = object()


class Reader:
    """Fills the variables of one expression. `whole` is the slot of an expression that is one path and nothing else."""

    __slots__ = ("_constants", "_slots", "_work", "whole")

    def __init__(self, slots: Mapping[str, Slot], work: Work, whole: Slot | None) -> None:
        self.whole = whole
        self._slots = tuple((name, slot, slot.path) for name, slot in slots.items() if not slot.is_absent)
        self._constants = {
            name: False if slot.use is Use.PRESENCE else slot.kind.zero
            for name, slot in slots.items()
            if slot.is_absent
        }
        self._work = work

    def read(self, roots: Mapping[str, object]) -> dict[str, object]:
        """Return the variables that have a value; raises Unusable when the values are too much to work through."""
        data = dict(self._constants)
        characters = members = 0
        for name, slot, path in self._slots:
            value = _find(roots, path)
            if slot.use is Use.PRESENCE:
                data[name] = _is_present(value, slot)
                continue
            try:
                value, more_characters, more_members = _fit(value, slot)
            except ValueError:
                continue
            data[name] = value
            characters += more_characters
            members += more_members
        if not self._work.allows(characters, members):
            raise Unusable(f"{characters} characters in {members} members are too much for this expression")
        return data

    def value(self, roots: Mapping[str, object]) -> object:
        """Return the value of a path that stands alone, untouched and of any size: there is nothing to compute."""
        slot = self.whole
        assert slot is not None
        if slot.is_absent:
            return next(iter(self._constants.values()))
        value = _find(roots, slot.path)
        if slot.use is Use.PRESENCE:
            return _is_present(value, slot)
        if not _is_present(value, slot):
            raise Unusable(f"{slot} is absent")
        if not slot.kind.holds(value):
            raise Unusable(f"{slot} is of kind {type(value).__name__}, and should be {slot.kind.value}")
        return value

    def explain(self, message: str, roots: Mapping[str, object]) -> str:
        """Say what CEL's message means: it knows a variable, the operator a path."""
        for name, slot, path in self._slots:
            if f'"{name}"' in message or f"'{name}'" in message:
                try:
                    _fit(_find(roots, path), slot)
                except ValueError as fault:
                    return f"{slot} {fault}"
                message = message.replace(name, str(slot))
        return message


def _find(roots: Mapping[str, object], path: Path) -> object:
    value: object = roots
    for step in path:
        # An index into a text would find a character, and a dict may be keyed by 0 in no JSON.
        if isinstance(step, int) and not isinstance(value, list):
            return _MISSING
        try:
            value = value[step]  # type: ignore[index]  # whatever cannot be indexed has nothing there
        except (LookupError, TypeError):
            return _MISSING
    return value


def _is_present(value: object, slot: Slot) -> bool:
    """Tell whether there is something; a null counts as nothing where a kind is declared."""
    return value is not _MISSING and (value is not None or slot.kind is Kind.ANY)


def _fit(value: object, slot: Slot) -> tuple[object, int, int]:
    """Return the value as CEL takes it, with its characters and members; raises ValueError with what is wrong."""
    if not _is_present(value, slot):
        raise ValueError("is absent")
    if slot.use is Use.KEYS:
        return _keys(value, slot)
    if not slot.kind.holds(value):
        raise ValueError(f"is of kind {type(value).__name__}, and should be {slot.kind.value}")
    if isinstance(value, str):
        return value, weigh_text(value), 0
    if isinstance(value, (dict, list)):
        return value, *weigh(value)
    if slot.kind is Kind.DOUBLE:
        return _double(value), 0, 0
    return value, 0, 0


def _keys(value: object, slot: Slot) -> tuple[object, int, int]:
    if isinstance(value, dict):
        if len(value) > MAX_MEMBERS:
            raise ValueError("has too many members for an expression")
        keys = sorted(value, key=str)
        return keys, *weigh(keys)
    if slot.kind is Kind.LIST:
        raise ValueError(f"is of kind {type(value).__name__}, and should be object")
    return value, *weigh(value)


def _double(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # an int or a float, by its kind
    except OverflowError:
        raise ValueError("is too large a number") from None
