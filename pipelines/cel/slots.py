"""The variables that stand for paths in an expression, and the text they stand in. `names` finds the paths."""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.cel.errors import ExpressionError
from pipelines.cel.tokens import Token
from pipelines.fields import Field, Kind

__all__ = ["PREFIX", "SLOTS_PER_KIND", "Flat", "Path", "Scope", "Slot", "Use", "dotted"]

Path = tuple[str | int, ...]
"""Names and list indexes from the root on."""

PREFIX = "penstock_"
SLOTS_PER_KIND = 32
"""How many different paths of one kind an expression may name; the variables are declared once for all expressions."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The names an expression may use: the fields of each root. A root without fields is free in form, except `stages`.

    `absent` are payload fields that only other hooks of the same pipeline have: they type-check, read as the zero
    value of their kind, and `has()` of them is false.
    """

    roots: Mapping[str, tuple[Field, ...]]
    absent: tuple[Field, ...] = ()

    def root(self, name: str) -> tuple[Field, ...]:
        """Return the fields under a root, the absent ones too."""
        fields = self.roots[name]
        return fields + self.absent if name == "payload" and fields else fields


class Use(enum.Enum):
    """What an expression wants of a path."""

    VALUE = "value"
    PRESENCE = "presence"
    KEYS = "keys"
    """The value, but an object as its sorted keys: CEL walks objects in an order that changes from start to start."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One variable: where its value is found, of which kind it must be, and what is made of it."""

    path: Path
    kind: Kind
    use: Use
    is_absent: bool

    def __str__(self) -> str:
        return dotted(self.path)


@dataclass
class Flat:
    """The rewritten text. `faults` has what is wrong with its names; CEL looks for the rest."""

    tokens: tuple[Token, ...]
    text: str = ""
    slots: dict[str, Slot] = field(default_factory=dict)
    references: set[tuple[str, ...]] = field(default_factory=set)
    faults: list[ExpressionError] = field(default_factory=list)
    pieces: list[tuple[int, int, bool]] = field(default_factory=list)
    """(offset here, offset in the original, whether the characters are the original's)"""

    def original(self, offset: int) -> int:
        """Return the place in the original text of a place in the rewritten one."""
        here, there, same = self.pieces[max(0, bisect_right(self.pieces, (offset, 1 << 60, True)) - 1)]
        return there + (offset - here if same else 0)

    def add(self, text: str, start: int, same: bool) -> None:
        """Append characters that stand for the original's from `start` on."""
        self.pieces.append((len(self.text), start, same))
        self.text += text

    def variable(self, slot: Slot) -> str:
        """Return the variable of a slot, the same one each time."""
        for name, known in self.slots.items():
            if known == slot:
                return name
        kind = Kind.BOOL if slot.use is Use.PRESENCE else slot.kind
        name = f"{PREFIX}{kind.value}{sum(other.startswith(PREFIX + kind.value) for other in self.slots)}"
        self.slots[name] = slot
        return name


def dotted(path: Path) -> str:
    """Write a path as it stands in an expression."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
