"""The words of a CEL text and where they stand. It knows no grammar: what makes an expression is CEL's business."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

__all__ = ["Token", "Word", "literal_text", "tokens_of"]


class Word(enum.Enum):
    """The sorts of words; `MARK` is punctuation, and any character that CEL will refuse."""

    NAME = "name"
    QUOTED_NAME = "quoted_name"
    NUMBER = "number"
    TEXT = "text"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Token:
    """One word: its source text and where it starts, in characters from 0."""

    word: Word
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the next character stands."""
        return self.start + len(self.text)


# CEL language definition, "Syntax". Three quotes come before one, a number before the dot it may start with.
_WORDS = re.compile(
    r"""
      (?P<skip> [\s]+ | //[^\n]* )
    | (?P<text> (?:[bB][rR]?|[rR])? (?:
          (?<=[rR])(?: '''(?:.|\n)*?''' | \"\"\"(?:.|\n)*?\"\"\" | '[^'\n]*' | "[^"\n]*" )
        | '''(?:\\.|\\\n|[^\\])*?''' | \"\"\"(?:\\.|\\\n|[^\\])*?\"\"\"
        | '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*" ) )
    | (?P<number> 0[xX][0-9a-fA-F]+[uU]? | (?:[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]? )
    | (?P<quoted_name> `[A-Za-z0-9_.\-/ ]+` )
    | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens_of(text: str) -> tuple[Token, ...]:
    """Split `text`; spaces and comments are left out."""
    found = []
    for match in _WORDS.finditer(text):
        group = match.lastgroup or "mark"
        if group != "skip":
            found.append(Token(Word(group), match.group(), match.start()))
    return tuple(found)


def literal_text(token: Token) -> str | None:
    """Return what a text literal without escapes says; None for bytes, escapes and everything else."""
    if token.word is not Word.TEXT or token.text[0] in "bB":
        return None
    body = token.text.lstrip("rR")
    quotes = 3 if body[:3] in ("'''", '"""') and len(body) >= 6 else 1
    if "\\" in body and token.text[0] not in "rR":
        return None
    return body[quotes:-quotes]
