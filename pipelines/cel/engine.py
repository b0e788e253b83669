"""The one place that touches cel-expr-python: it parses, checks and evaluates, and its errors are put in our words.

The library is imported when the first expression is compiled: a file without expressions does not pay for it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipelines.cel.functions import FUNCTIONS
from pipelines.cel.slots import PREFIX, SLOTS_PER_KIND
from pipelines.fields import Kind

__all__ = ["CelFault", "Program", "Unusable", "compile_text", "pattern_fault", "text_of"]


@dataclass(frozen=True, slots=True)
class CelFault:
    """A mistake in a text; `offset` counts characters from 0, `code` is a word of the problem table."""

    offset: int
    code: str
    message: str


class Unusable(Exception):
    """An evaluation gave no JSON value."""


# What pybind11 makes of C++ exceptions; anything else would be a bug of the interpreter.
_RAISED = (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError, MemoryError)

_TYPES: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.STRING: "STRING",
        Kind.INT: "INT",
        Kind.DOUBLE: "DOUBLE",
        Kind.BOOL: "BOOL",
        Kind.ANY: "DYN",
    }
)


class _Cel:
    """The library with one environment that declares every variable `flatten` may put into a text."""

    def __init__(self) -> None:
        from cel_expr_python import cel
        from cel_expr_python.ext import ext_optional, ext_strings

        types = {kind: getattr(cel.Type, name) for kind, name in _TYPES.items()}
        types[Kind.OBJECT] = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
        types[Kind.LIST] = cel.Type.List(cel.Type.DYN)
        self.error = cel.Type.ERROR
        self.environment = cel.NewEnv(
            variables={f"{PREFIX}{k.value}{n}": t for k, t in types.items() for n in range(SLOTS_PER_KIND)},
            extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
        )


_cel = functools.cache(_Cel)


class Program:
    """A compiled text."""

    __slots__ = ("_error", "_eval", "type_name")

    def __init__(self, text: str) -> None:
        cel = _cel()
        compiled = cel.environment.compile(text)
        self._error = cel.error
        self._eval: Callable[..., object] = compiled.eval
        self.type_name: str = compiled.return_type().name()

    def evaluate_bool(self, data: dict[str, object]) -> bool:
        """Return the bool; raises Unusable for everything else."""
        try:
            value = self._eval(data=data)
            got = value.value()  # type: ignore[attr-defined]  # the library's own type carries no annotations here
        except _RAISED as fault:
            raise Unusable(_plain(str(fault))) from None
        # An error is a value too, and a non-empty text: only a bool is taken as a bool.
        if got is True or got is False:
            return got
        if value.type() == self._error:  # type: ignore[attr-defined]  # as above
            raise Unusable(_plain(str(got)))
        raise Unusable(f"a bool is needed, and this gave {type(got).__name__}")

    def evaluate(self, data: dict[str, object]) -> object:
        """Return the value as JSON has it; raises Unusable."""
        try:
            value = self._eval(data=data)
            if value.type() == self._error:  # type: ignore[attr-defined]  # as above
                raise Unusable(_plain(str(value.value())))  # type: ignore[attr-defined]  # as above
            return _json(value.plain_value())  # type: ignore[attr-defined]  # as above
        except _RAISED as fault:
            raise Unusable(_plain(str(fault))) from None


def _json(value: object) -> object:
    """Return the value if JSON can carry it, objects in the order of their keys: CEL's own order is random."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json(value[key]) for key in sorted(value)}
    raise Unusable(f"JSON has no value for what this gave: {type(value).__name__}")


def compile_text(text: str) -> Program | list[CelFault]:
    """Compile a text in which names are variables already, or say what is wrong with it."""
    try:
        return Program(text)
    except _RAISED as fault:
        return _faults(str(fault), text)


_REPORT = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(-?\d+):(-?\d+): (.*)$", re.MULTILINE)
_UNKNOWN = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '\((.*)\)'")
_NO_OVERLOAD = re.compile(r"No matching overloads found : ([^(]*)\((.*)\)")
_OPERATORS = MappingProxyType(
    {"_?_:_": "?:", "_[_]": "[]", "@in": "in", "_[?_]": "[?]", "!_": "!", "-_": "-", "@not_strictly_false": "all"}
)


def _faults(report: str, text: str) -> list[CelFault]:
    lines = text.split("\n")
    found = []
    for line, column, message in _REPORT.findall(report):
        if int(line) < 1:
            found.append(CelFault(0, "expression-limit", "the expression is nested too deep"))
            continue
        offset = sum(len(before) + 1 for before in lines[: int(line) - 1]) + int(column) - 1
        found.append(_fault(min(offset, len(text)), message.removesuffix(" [INVALID_ARGUMENT]")))
    if not found:
        limit = "recursion limit" in report
        code = "expression-limit" if limit else "expression-syntax"
        found.append(CelFault(0, code, "the expression is nested too deep" if limit else _plain(report)))
    return found


def _fault(offset: int, message: str) -> CelFault:
    if message.startswith("Syntax error"):
        return CelFault(offset, "expression-syntax", _syntax(message))
    unknown = _UNKNOWN.match(message)
    if unknown and unknown[1] in FUNCTIONS:
        return CelFault(offset, "expression-type", f"called in another way than {FUNCTIONS[unknown[1]]}")
    if unknown:
        return CelFault(offset, "expression-name", f"there is no {unknown[1]!r} to use here")
    overload = _OVERLOAD.match(message)
    if overload:
        return CelFault(offset, "expression-type", _mismatch(overload[1], overload[2]))
    code = "expression-syntax" if re.match(r"invalid|reserved|unsupported", message) else "expression-type"
    return CelFault(offset, code, message)


def _mismatch(name: str, kinds: str) -> str:
    return f"{_OPERATORS.get(name, name.strip('_'))} does not take ({kinds.replace('int64', 'int')})"


def _syntax(message: str) -> str:
    short = message.removeprefix("Syntax error: ").split(" expecting ")[0]
    return "the expression ends too early" if "'<EOF>'" in short else f"not an expression here: {short}"


def _plain(message: str) -> str:
    """Drop what the library puts around its messages, absl's names of errors."""
    short = re.sub(r"^[A-Z_]+: |\s*\[[A-Z_]+\]\Z", "", message.partition("\n")[0])[:300]
    overload = _NO_OVERLOAD.match(short)
    return _mismatch(overload[1], overload[2]) if overload else short


def text_of(literal: str) -> str | None:
    """Return what a text literal says, None when it is none."""
    program = compile_text(literal)
    if not isinstance(program, Program):
        return None
    try:
        value = program.evaluate({})
    except Unusable:
        return None
    return value if isinstance(value, str) else None


def pattern_fault(pattern: str) -> str | None:
    """Say what RE2 has against a pattern; None when it is right. RE2 is asked, for no other library agrees with it."""
    try:
        _matcher().evaluate_bool({f"{PREFIX}string0": "", f"{PREFIX}string1": pattern})
    except Unusable as fault:
        return str(fault)
    return None


@functools.cache
def _matcher() -> Program:
    return Program(f"{PREFIX}string0.matches({PREFIX}string1)")
