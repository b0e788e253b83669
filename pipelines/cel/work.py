"""How much work an evaluation may be. Expressions run in the host's own loop, and payloads come from strangers.

CEL stops a comprehension after 10,000 rounds in all, and RE2 cannot hang. What CEL does not bound is how long one
round takes: `list.exists(x, text.contains(x))` over a large list and a large text. That product is bounded here.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.cel.calls import Call, calls_of
from pipelines.cel.functions import BINDING, NAMES
from pipelines.cel.tokens import Token, Word

__all__ = ["MAX_CHARACTERS", "MAX_DEPTH", "MAX_MEMBERS", "Work", "weigh", "weigh_text"]

MAX_CHARACTERS = 1 << 20
"""Text that one evaluation is handed; searching a mebibyte takes about a tenth of a millisecond."""

MAX_MEMBERS = 10_000
"""Members of the lists and objects that one evaluation is handed: CEL's own bound of rounds."""

MAX_DEPTH = 100
_MAX_ROUNDS = 10_000

_MAX_COMPARED = 1 << 28
"""Characters times rounds, where a round only compares; a quarter of it where it searches or makes texts."""

_MAX_VISITED = 1 << 22
"""Members times rounds: `x in list` and `list + list` go through all members in each round."""

_MAX_SEARCHED = 1 << 34
"""Characters of a needle times those of the text times rounds: the square of all characters at worst."""

_MAX_GROWN = 1 << 26
"""Characters of a text that `replace` or `join` makes."""

_SEARCHING = frozenset({"contains", "indexOf", "lastIndexOf", "startsWith", "endsWith", "split", "matches"})
_COMPARING = frozenset({"has", "size", "startsWith", "endsWith", "type", "dyn", "exists", "all", "exists_one"})


@dataclass(frozen=True, slots=True)
class Work:
    """What an expression does with its data, as far as it can be slow.

    `crossings` are loops whose condition names more than their own variable, so that each round may go through
    everything again; `searches` have data for a needle, `joins` for a separator, `growths` can make a text longer.
    """

    loops: int = 0
    crossings: int = 0
    searches: int = 0
    growths: int = 0
    joins: int = 0
    splits: bool = False
    compares_only: bool = True

    @classmethod
    def of(cls, tokens: tuple[Token, ...]) -> Work:
        """Count what may be slow; a search whose arguments are literals is not."""
        calls = list(calls_of(tokens))
        loops = [call for call in calls if call.name in BINDING]
        return cls(
            loops=len(loops),
            crossings=sum(_crosses(loop) for loop in loops),
            searches=sum(call.name in _SEARCHING and not call.is_literal for call in calls),
            growths=sum(call.name == "replace" and not call.shrinks for call in calls),
            joins=sum(call.name == "join" and not call.is_literal for call in calls),
            splits=any(call.name == "split" for call in calls),
            compares_only={call.name for call in calls} <= _COMPARING and all(token.text != "+" for token in tokens),
        )

    def allows(self, characters: int, members: int) -> bool:
        """Tell whether an evaluation over so much data is short."""
        if characters > MAX_CHARACTERS or members > MAX_MEMBERS:
            return False
        if self == _LIGHT:
            return True
        if self.splits and (self.loops or self.joins):
            members += characters
        rounds = min(_MAX_ROUNDS, members**self.loops) if self.crossings else 1
        return (
            members <= MAX_MEMBERS
            and characters * rounds <= (_MAX_COMPARED if self.compares_only else _MAX_COMPARED >> 2)
            and (not self.crossings or members * rounds <= _MAX_VISITED)
            and (not self.searches or characters * characters * rounds <= _MAX_SEARCHED)
            and (not self.growths or characters ** (1 + self.growths) * rounds <= _MAX_GROWN)
            and (not self.joins or characters * members * rounds <= _MAX_GROWN)
        )


_LIGHT = Work()


def _crosses(loop: Call) -> bool:
    """Tell whether the condition of a loop names anything but the loop's variable and what loops inside it bind."""
    body = [token for argument in loop.arguments[1:] for token in argument]
    own = {loop.arguments[0][0].text} if loop.arguments else set()
    own |= {inner.arguments[0][0].text for inner in calls_of(tuple(body)) if inner.name in BINDING and inner.arguments}
    for at, token in enumerate(body):
        is_member = at > 0 and body[at - 1].text in (".", "?")
        is_called = at + 1 < len(body) and body[at + 1].text == "("
        if token.word is Word.NAME and not is_member and not is_called and token.text not in own | NAMES:
            return True
    return any(inner.name in BINDING and _crosses_outwards(inner, loop) for inner in calls_of(tuple(body)))


def _crosses_outwards(inner: Call, outer: Call) -> bool:
    """Tell whether an inner condition names the outer variable: then each of its rounds may go through that again."""
    name = outer.arguments[0][0].text
    return any(token.text == name for argument in inner.arguments[1:] for token in argument)


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
