"""Hostile payloads cannot make an expression slow: what could is refused before it starts."""

from __future__ import annotations

import pytest

from pipelines.cel.tokens import tokens_of
from pipelines.cel.work import MAX_CHARACTERS, MAX_DEPTH, MAX_MEMBERS, Work, weigh, weigh_text
from pipelines.expressions import Expect, ExpressionError, ExpressionFailed, Scope, compile_expression

SCOPE = Scope({"payload": ()})


def work(text: str) -> Work:
    return Work.of(tokens_of(text))


def fails(text: str, **payload: object) -> bool:
    try:
        compile_expression(text, SCOPE, Expect.ANY).evaluate({"payload": payload})
    except ExpressionFailed:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("payload.q == 'x' && has(payload.r)", Work()),
        ("payload.q.contains('y')", Work(compares_only=False)),
        ("payload.q.replace('-', '').matches('^a+$')", Work(compares_only=False)),
        ("payload.l.exists(x, x == 1)", Work(loops=1)),
        ("payload.l.exists(x, x == payload.q)", Work(loops=1, crossings=1)),
        ("payload.l.exists(x, x.m.all(y, y == 'a'))", Work(loops=2)),
        ("payload.l.exists(x, x.m.all(y, y == x.n))", Work(loops=2, crossings=2)),
        ("payload.l.all(x, payload.l.all(y, x == y))", Work(loops=2, crossings=2)),
        ("payload.q.contains(payload.r)", Work(searches=1, compares_only=False)),
        ("payload.q.replace('a', 'bb')", Work(growths=1, compares_only=False)),
        ("payload.q.replace('', '')", Work(growths=1, compares_only=False)),
        ("payload.q.replace(payload.a, '')", Work(growths=1, compares_only=False)),
        ("payload.l.join(payload.q)", Work(joins=1, compares_only=False)),
        ("payload.q.split(',')", Work(splits=True, compares_only=False)),
        ("payload.q + 'a'", Work(compares_only=False)),
    ],
)
def test_what_may_be_slow_is_counted(text: str, expected: Work) -> None:
    assert work(text) == expected


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("payload.l.exists(x, payload.t.contains(x))", {"l": ["x"] * 9_000, "t": "a" * 100_000}),
        ("payload.l.all(x, payload.l.all(y, x != y + 'z'))", {"l": ["a" * 100] * 500}),
        ("payload.t.contains(payload.u)", {"t": "a" * 500_000, "u": "a" * 250_000 + "b"}),
        ("payload.t.replace(payload.u, payload.t) == ''", {"t": "a" * 50_000, "u": "a"}),
        ("payload.t.replace('a', 'aa').replace('a', 'aa') == ''", {"t": "a" * 5_000}),
        ("payload.l.join(payload.t) == ''", {"l": [""] * 9_000, "t": "a" * 100_000}),
        ("payload.l.map(x, payload.t.split('a')) == []", {"l": [0] * 250, "t": "ab" * 500_000}),
        ("payload.l.map(x, payload.t + payload.t) == []", {"l": [0] * 1_000, "t": "a" * 200_000}),
        ("payload.t.split('').map(x, x) == []", {"t": "a" * 100_000}),
        ("payload.l.exists(x, x in payload.m)", {"l": list(range(4_900)), "m": list(range(4_900))}),
        ("payload.l.size() > 3", {"l": [0] * (MAX_MEMBERS + 1)}),
        ("payload.l.map(k, k) == []", {"l": dict.fromkeys(map(str, range(MAX_MEMBERS + 1)))}),
        ("payload.t.contains('x')", {"t": "a" * (MAX_CHARACTERS + 1)}),
        ("payload.l.all(x, payload.l.all(y, true))", {"l": [0] * 200}),
    ],
)
def test_a_payload_that_would_take_long_fails(text: str, payload: dict[str, object]) -> None:
    assert fails(text, **payload)


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("payload.l.exists(m, m.role == 'x')", {"l": [{"role": "user", "content": "a" * 4_000}] * 100}),
        ("payload.l.exists(m, m.role == payload.r)", {"l": [{"role": "user", "content": "a" * 4_000}] * 100, "r": "x"}),
        ("payload.l.map(m, m.content)[0] == ''", {"l": [{"role": "user", "content": "a" * 4_000}] * 100}),
        ("payload.l.exists(x, x in payload.m)", {"l": list(range(900)), "m": list(range(900))}),
        ("payload.t.contains(payload.u)", {"t": "a" * 30_000, "u": "b"}),
        ("payload.t.replace('-', '').replace(' ', '') == ''", {"t": "4111-1111 " * 1_000}),
        ("payload.t.contains('x') || payload.t.matches('a+b')", {"t": "a" * 1_000_000}),
    ],
)
def test_an_honest_payload_does_not(text: str, payload: dict[str, object]) -> None:
    assert not fails(text, **payload)


def test_a_pattern_is_not_made_anew_for_each_member() -> None:
    with pytest.raises(ExpressionError, match="must be a literal") as caught:
        compile_expression("payload.l.exists(x, payload.t.matches(x))", SCOPE, Expect.BOOL)
    assert caught.value.code == "expression-limit"


def test_a_value_weighs_its_characters_and_members() -> None:
    assert weigh({"ab": ["c", 1, None], "d": {"e": "f"}}) == (6, 6)
    assert weigh("abc") == (3, 0)


def test_a_value_too_deep_is_refused() -> None:
    deep: list[object] = []
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    with pytest.raises(ValueError, match="too deep"):
        weigh(deep)


@pytest.mark.parametrize("text", ["a\0", "\ud800", "a" * (MAX_CHARACTERS + 1)])
def test_a_text_that_no_expression_can_judge_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogate|too long"):
        weigh_text(text)
