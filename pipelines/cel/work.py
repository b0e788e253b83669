"""How much work an evaluation may be. Expressions run in the host's own loop, and payloads come from strangers.

CEL stops a comprehension after 10,000 rounds in all, and RE2 cannot hang. What CEL does not bound is how long one
round takes: `list.exists(x, text.contains(x))` over a large list and a large text. That product is bounded here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.cel.calls import Call
from pipelines.cel.functions import BINDING

__all__ = ["MAX_CHARACTERS", "MAX_DEPTH", "MAX_MEMBERS", "Work", "weigh", "weigh_text"]

MAX_CHARACTERS = 1 << 20
"""Text that one evaluation is handed; searching a mebibyte takes about a tenth of a millisecond."""

MAX_MEMBERS = 10_000
"""Members of the lists and objects that one evaluation is handed: CEL's own bound of rounds."""

MAX_DEPTH = 100
_MAX_ROUNDS = 10_000
_MAX_SCANNED = 1 << 26
_MAX_SEARCHED = 1 << 32  # memchr and memcmp eat these four gibibytes in well under a second
_SEARCHING = frozenset({"contains", "indexOf", "lastIndexOf", "startsWith", "endsWith", "split", "join", "matches"})


@dataclass(frozen=True, slots=True)
class Work:
    """What an expression does with text: `loops` over members, `searches` whose needle is data, `growths` of a text."""

    loops: int = 0
    searches: int = 0
    growths: int = 0

    @classmethod
    def of(cls, calls: Iterable[Call]) -> Work:
        """Count what may be slow; a call whose arguments are literals is not."""
        known = list(calls)
        return cls(
            sum(call.name in BINDING for call in known),
            sum(call.name in _SEARCHING and not call.is_literal for call in known),
            sum(call.name == "replace" and not call.shrinks for call in known),
        )

    def allows(self, characters: int, members: int) -> bool:
        """Tell whether an evaluation over so much data is short."""
        rounds = min(_MAX_ROUNDS, members**self.loops) if self.loops else 1
        return (
            characters <= MAX_CHARACTERS
            and members <= MAX_MEMBERS
            and characters * rounds <= _MAX_SCANNED
            and (not self.searches or characters * characters <= _MAX_SEARCHED)
            and (not self.growths or characters ** (1 + self.growths) <= _MAX_SCANNED)
        )


def weigh(value: object) -> tuple[int, int]:
    """Count the characters and members of a decoded JSON value.

    Raises ValueError for a text that CEL would misread, and for a value too deep or too large.
    """
    characters = members = depth = 0
    level = [value]
    while level:
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                characters += weigh_text(item)
            elif isinstance(item, (dict, list)):
                members += len(item)
                if depth > MAX_DEPTH or members > MAX_MEMBERS:
                    raise ValueError("is too deep or has too many members for an expression")
                below += item
                if isinstance(item, dict):
                    below += item.values()
        level, depth = below, depth + 1
    return characters, members


def weigh_text(text: str) -> int:
    """Count the characters of a text; raises ValueError if it is too long or CEL would not see it as it is.

    cel-expr-python 0.1.3 hands texts over as C strings, so that `admin` would equal `admin` + NUL + anything.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError("is too long a text for an expression")
    if "\0" in text:
        raise ValueError("holds a NUL character, which no expression can judge")
    if not text.isascii():
        _refuse_surrogates(text)
    return len(text)


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a surrogate pair, which is no character") from None
