"""The calls in an expression, with their arguments as words: enough to look at literals and to weigh the work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.cel.tokens import Token, Word, literal_text

__all__ = ["Call", "calls_of"]

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True, slots=True)
class Call:
    """`x.name(...)`, `is_method`, or `name(...)`."""

    name: str
    start: int
    is_method: bool
    arguments: tuple[tuple[Token, ...], ...]

    @property
    def is_literal(self) -> bool:
        """Whether every argument is one plain word, so that no payload decides what the call does."""
        words = (Word.TEXT, Word.NUMBER)
        return all(len(argument) == 1 and argument[0].word in words for argument in self.arguments)

    @property
    def shrinks(self) -> bool:
        """Whether a `replace` can never make its text longer, whatever the text."""
        texts = [literal_text(argument[0]) if len(argument) == 1 else None for argument in self.arguments[:2]]
        return len(texts) == 2 and None not in texts and 0 < len(texts[0] or "") >= len(texts[1] or "")


def calls_of(tokens: tuple[Token, ...]) -> Iterator[Call]:
    """Yield every call, in the order of the text."""
    for index, token in enumerate(tokens[:-1]):
        if token.word is Word.NAME and tokens[index + 1].text == "(":
            is_method = index > 0 and tokens[index - 1].text == "."
            yield Call(token.text, token.start, is_method, _arguments(tokens, index + 2))


def _arguments(tokens: tuple[Token, ...], index: int) -> tuple[tuple[Token, ...], ...]:
    found: list[tuple[Token, ...]] = []
    depth, argument = 0, index
    for at in range(index, len(tokens)):
        text = tokens[at].text
        if depth == 0 and text in (",", ")"):
            found.append(tokens[argument:at])
            argument = at + 1
        if text in _CLOSING:
            depth -= 1
            if depth < 0:
                break
        depth += text in _OPENING
    return tuple(part for part in found if part)
