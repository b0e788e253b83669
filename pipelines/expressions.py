"""Expressions of a pipeline file: checked against the names they may use, then evaluated on plain values.

Google's CEL does the language; names are found by `cel.names`, work is bounded by `cel.work`.
This file owns what is asked of an expression and what comes back. It reads no document.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

from pipelines.cel.calls import Call, calls_of
from pipelines.cel.engine import CelFault, Program, Unusable, compile_text, pattern_fault, text_of
from pipelines.cel.errors import ExpressionError, ExpressionFailed
from pipelines.cel.functions import BINDING
from pipelines.cel.names import flatten
from pipelines.cel.slots import Flat, Scope
from pipelines.cel.tokens import Word
from pipelines.cel.values import Reader
from pipelines.cel.work import Work
from pipelines.fields import Kind

__all__ = ["Expect", "Expression", "ExpressionError", "ExpressionFailed", "Scope", "compile_expression"]

MAX_LENGTH = 4096
"""Characters of an expression; CEL bounds how deep it may nest."""


class Expect(enum.Enum):
    """What an expression has to yield."""

    BOOL = "bool"
    STRING = "string"
    ANY = "any"


class Expression:
    """A checked expression. `references` are the paths it reads, from their root, up to an index into a list."""

    __slots__ = ("_program", "_reader", "expect", "references", "text")

    def __init__(
        self, text: str, expect: Expect, program: Program, reader: Reader, references: frozenset[tuple[str, ...]]
    ):
        self.text, self.expect, self.references = text, expect, references
        self._program, self._reader = program, reader

    def evaluate(self, roots: Mapping[str, object]) -> object:
        """Return the value over `roots`, decoded JSON by the name of each root; raises ExpressionFailed only."""
        try:
            if self._reader.whole is not None:
                return self._whole(self._reader.value(roots))
            data = self._reader.read(roots)
            if self.expect is Expect.BOOL:
                return self._program.evaluate_bool(data)
            return self._text(self._program.evaluate(data))
        except Unusable as fault:
            raise ExpressionFailed(f"{self.text}: {self._reader.explain(str(fault), roots)}") from None

    def _whole(self, value: object) -> object:
        if self.expect is Expect.BOOL and not isinstance(value, bool):
            raise Unusable(f"a bool is needed, and this gave {type(value).__name__}")
        return self._text(value)

    def _text(self, value: object) -> object:
        if self.expect is Expect.STRING and not isinstance(value, str):
            raise Unusable(f"a string is needed, and this gave {type(value).__name__}")
        return value

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def compile_expression(text: str, scope: Scope, expect: Expect) -> Expression:
    """Check `text` against `scope`; raises ExpressionError, and nothing else whatever the text."""
    _check_text(text)
    flat = flatten(text, scope)
    calls = tuple(calls_of(flat.tokens))
    compiled = compile_text(flat.text)
    faults = [*flat.faults, *_patterns(calls)]
    if isinstance(compiled, list):
        found = [_located(fault, flat) for fault in compiled]
        # What follows a mistake of syntax is guesswork: only the first one is told.
        syntax = [fault for fault in found if fault.code == "expression-syntax"][:1]
        raise _joined(syntax or [*faults, *_new(found, faults)])
    if faults:
        raise _joined(faults)
    _check_type(compiled.type_name, expect)
    reader = Reader(flat.slots, Work.of(flat.tokens), flat.slots.get(flat.text.strip()))
    return Expression(text, expect, compiled, reader, frozenset(flat.references))


def _check_text(text: str) -> None:
    if len(text) > MAX_LENGTH:
        message = f"the expression has {len(text)} characters; at most {MAX_LENGTH} are allowed"
        raise ExpressionError(MAX_LENGTH, "expression-limit", message)
    for offset, character in enumerate(text):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise ExpressionError(offset, "expression-syntax", "a character that no expression can hold")


def _new(found: list[ExpressionError], known: list[ExpressionError]) -> Iterator[ExpressionError]:
    """Yield what CEL found in addition: a name that we miss, CEL misses too, at its last dot."""
    for fault in found:
        if fault.code != "expression-name" or all(other.code != fault.code for other in known):
            yield fault


def _joined(faults: list[ExpressionError]) -> ExpressionError:
    """Return the first mistake with the others behind it, one for each place."""
    places: dict[int, ExpressionError] = {}
    for fault in faults:
        places.setdefault(fault.offset, fault)
    first, *others = (places[offset] for offset in sorted(places))
    first.others = tuple(others)
    return first


def _located(fault: CelFault, flat: Flat) -> ExpressionError:
    """Put a fault of the rewritten text into the original one; of a call, at its name and not at its bracket."""
    offset = flat.original(fault.offset)
    for before, token in zip(flat.tokens, flat.tokens[1:], strict=False):
        if token.start == offset and token.text == "(" and before.word is Word.NAME:
            offset = before.start
    message = fault.message
    for name in sorted(flat.slots, key=len, reverse=True):
        message = message.replace(name, str(flat.slots[name]))
    return ExpressionError(offset, fault.code, message)


def _patterns(calls: tuple[Call, ...]) -> Iterator[ExpressionError]:
    """Check the literal patterns now; one made of data is let through, except where it would be made many times."""
    loops = any(call.name in BINDING for call in calls)
    for call in calls:
        if call.name != "matches" or not call.arguments:
            continue
        pattern = call.arguments[-1]
        text = text_of(pattern[0].text) if len(pattern) == 1 and pattern[0].word is Word.TEXT else None
        fault = pattern_fault(text) if text is not None else None
        if fault:
            yield ExpressionError(pattern[0].start, "expression-regex", fault)
        elif text is None and loops:
            message = "beside a loop over members, the pattern of matches() must be a literal"
            yield ExpressionError(call.start, "expression-limit", message)


def _check_type(name: str, expect: Expect) -> None:
    if expect is Expect.BOOL and name not in ("BOOL", "DYN"):
        raise ExpressionError(0, "expression-type", f"a bool is needed, and this gives {_named(name)}")
    if expect is Expect.STRING and name not in ("STRING", "DYN"):
        raise ExpressionError(0, "expression-type", f"a string is needed, and this gives {_named(name)}")
    if name.startswith(("BYTES", "TYPE", "DURATION", "TIMESTAMP", "optional_type")):
        hint = ": end it with .orValue(...)" if name.startswith("optional") else ""
        raise ExpressionError(0, "expression-type", f"JSON has no value for what this gives, {_named(name)}{hint}")


_NAMED = {"MAP": Kind.OBJECT.value, "DYN": Kind.ANY.value, "optional_type": "optional"}


def _named(name: str) -> str:
    outer, _, inner = name.partition("<")
    plain = _NAMED.get(outer, outer.lower())
    return f"{plain} of {inner[:-1].lower()}" if outer in ("LIST", "optional_type") else plain
