"""A find, and how several detectors share one text without treading on each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Detector", "Find", "found"]

# Stands where an earlier detector found something: it is part of no word and no number.
_TAKEN = "\x00"

# Each round but the last finds something, and what is found gets rarer; more rounds have not been seen to find more.
_MAX_ROUNDS = 8

# Digits of every script as ASCII ones, and the signs that stand for a dash, a dot, an @ or a blank: one for one, so
# that a place in the plain text is the same place in the text as written.
_PLAIN = {ord(sign): "-" for sign in "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"}
_PLAIN |= {
    ord(sign): " " for sign in "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000"
}
_PLAIN |= {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # the full-width forms of ASCII
# What shows nothing is taken out before the search; it would split a number unseen.
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"


@dataclass(frozen=True, slots=True)
class Find:
    """Personal data at `start:end` of a text. `value` is its one spelling: digits only, lower case and so on."""

    start: int
    end: int
    kind: str
    value: str


Detector = Callable[[str, str], Iterator[Find]]
"""Search a text; the second argument is the name of the member that it stands in."""


def found(text: str, name: str, detectors: Sequence[Detector]) -> list[Find]:
    """Let the detectors search in order, the surest first, each in what the earlier ones left; sorted by place."""
    plain, origin = _plain(text)
    finds: list[Find] = []
    # Once more after something was found: two that touch, as in `+1 212 555 0123.2125550123`, can hide each other.
    for _ in range(_MAX_ROUNDS):
        before = len(finds)
        for detector in detectors:
            if new := _disjoint(detector(plain, name)):
                plain = _without(plain, new)
                finds += new
        if len(finds) == before:
            break
    finds.sort(key=lambda find: find.start)
    if origin is None:
        return finds
    return [Find(origin[find.start], origin[find.end - 1] + 1, find.kind, find.value) for find in finds]


def _disjoint(finds: Iterable[Find]) -> list[Find]:
    """Sort by place; of two that overlap, as in `a@b.comc@d.com`, leave the second to the next round."""
    kept: list[Find] = []
    for find in sorted(finds, key=lambda find: find.start):
        if not kept or find.start >= kept[-1].end:
            kept.append(find)
    return kept


def _without(text: str, finds: Iterable[Find]) -> str:
    parts: list[str] = []
    end = 0
    for find in finds:
        parts += text[end : find.start], _TAKEN * (find.end - find.start)
        end = find.end
    return "".join((*parts, text[end:]))


def _plain(text: str) -> tuple[str, Sequence[int] | None]:
    """Write a text in plain digits and signs; with it, where each character was, if that is not the same place."""
    if text.isascii():
        return text, None
    plain = text.translate(_PLAIN)
    if not plain.isascii():
        plain = "".join(str(int(char)) if char.isdecimal() and not char.isascii() else char for char in plain)
    if not any(char in plain for char in _INVISIBLE):
        return plain, None
    origin = [index for index, char in enumerate(plain) if char not in _INVISIBLE]
    return "".join(plain[index] for index in origin), origin
