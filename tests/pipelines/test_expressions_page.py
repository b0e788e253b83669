"""docs/expressions.md holds: its examples are true, its mistakes are found where it says, its functions are all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from pipelines.cel.calls import calls_of
from pipelines.cel.functions import FUNCTIONS
from pipelines.cel.tokens import tokens_of
from pipelines.expressions import Expect, ExpressionError, Scope, compile_expression
from pipelines.fields import Field, Kind
from pipelines.hooks import CATALOGUE, CONTEXT

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "expressions.md").read_text(encoding="utf-8")
OUT = Field("out", Kind.OBJECT, fields=(Field("found", Kind.INT),))
SCOPE = Scope(
    {
        "payload": CATALOGUE["tool_pre_invoke"].payload,
        "context": CONTEXT,
        "stages": (Field("pii", Kind.OBJECT, fields=(Field("state", Kind.STRING), OUT)),),
    }
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def lines(language: str) -> list[str]:
    return [line for block in blocks(language) for line in block.splitlines()]


def written(tree: object) -> Iterator[tuple[str, Expect]]:
    """Every expression of a piece of a pipeline file."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if key in ("when", "match"):
                yield value, Expect.BOOL
            else:
                yield from written(value)
    elif isinstance(tree, str) and tree.startswith("${"):
        yield tree[2:-1], Expect.ANY


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert set(re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)) == {"yaml", "text", "json", "cel"}


@pytest.mark.parametrize("text", lines("cel"))
def test_every_example_is_true(text: str) -> None:
    assert compile_expression(text, SCOPE, Expect.BOOL).evaluate(json.loads(blocks("json")[0])) is True


@pytest.mark.parametrize(("text", "complaint"), list(zip(lines("text")[::2], lines("text")[1::2], strict=True)))
def test_every_mistake_is_found_where_the_page_says(text: str, complaint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, SCOPE, Expect.BOOL)
    error = caught.value
    hint = f"; did you mean {error.suggestion!r}?" if error.suggestion else ""
    assert f"{' ' * error.offset}^ {error.code}: {error.message}{hint}" == complaint


def test_the_piece_of_a_file_is_sound() -> None:
    found = list(written(yaml.safe_load(blocks("yaml")[0])))
    assert len(found) == 3
    for text, expect in found:
        compile_expression(text, SCOPE, expect)


USED = [
    "has(payload.name) && size('abc') == 3 && 'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')",
    "'abc'.matches('^a') && 'AbC'.lowerAscii() == 'abc' && 'abc'.upperAscii() == 'ABC' && ' a '.trim() == 'a'",
    "'abc'.charAt(1) == 'b' && 'abab'.indexOf('b') == 1 && 'abab'.lastIndexOf('b') == 3",
    "'abc'.substring(1, 2) == 'b'",
    "'a-b'.replace('-', '') == 'ab' && 'a,b'.split(',').join('-') == 'a-b' && 'ab'.reverse() == 'ba'",
    "strings.quote('a') == '\"a\"' && '%s'.format(['a']) == 'a'",
    "[1, 2].exists(x, x > 1) && [1, 2].all(x, x > 0) && [1, 2].exists_one(x, x > 1)",
    "[1, 2].filter(x, x > 1) == [2] && [1].map(x, x + 1) == [2]",
    "int('1') == 1 && uint(1) == 1u && double(1) == 1.0 && string(1) == '1' && bool('true') && bytes('a') == b'a'",
    "dyn(1) == 1.0 && type(1) == int && timestamp('2026-01-02T03:04:05Z') > timestamp('2025-01-02T03:04:05Z')",
    "timestamp('2026-01-02T03:04:05Z').getFullYear() == 2026 && timestamp('2026-01-02T03:04:05Z').getMonth() == 0",
    "timestamp('2026-01-02T03:04:05Z').getDate() == 2 && timestamp('2026-01-02T03:04:05Z').getDayOfMonth() == 1",
    "timestamp('2026-01-02T03:04:05Z').getDayOfWeek() == 5 && timestamp('2026-01-02T03:04:05Z').getDayOfYear() == 1",
    "timestamp('2026-01-02T03:04:05Z').getHours() == 3 && duration('90s').getMinutes() == 1",
    "duration('90s').getSeconds() == 90 && timestamp('2026-01-02T03:04:05.006Z').getMilliseconds() == 6",
    "optional.of(1).orValue(2) == 1 && optional.none().or(optional.of(1)).value() == 1",
    "!optional.ofNonZeroValue('').hasValue() && optional.of(1).optMap(x, x + 1).value() == 2",
    "payload.?args.optFlatMap(a, a.?n).orValue(0) == 3",
]


@pytest.mark.parametrize("text", USED)
def test_every_function_does_what_the_table_says(text: str) -> None:
    assert compile_expression(text, SCOPE, Expect.BOOL).evaluate(json.loads(blocks("json")[0])) is True


def test_every_function_of_the_table_was_used() -> None:
    assert {call.name for text in USED for call in calls_of(tokens_of(text))} == set(FUNCTIONS)


@pytest.mark.parametrize(("name", "sentence"), FUNCTIONS.items())
def test_every_row_shows_its_function(name: str, sentence: str) -> None:
    assert name in {call.name for call in calls_of(tokens_of(sentence.split("`")[1]))}
