"""No text crashes the compiler, no JSON crashes an evaluation, and equal inputs give equal answers."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.codes import CODES
from pipelines.expressions import Expect, Expression, ExpressionError, ExpressionFailed, Scope, compile_expression
from pipelines.fields import Field, Kind
from pipelines.hooks import CATALOGUE, CONTEXT

_STAGES = (Field("pii", Kind.OBJECT, fields=(Field("state", Kind.STRING), Field("out", Kind.OBJECT))),)
SCOPE = Scope(
    {"payload": CATALOGUE["tool_pre_invoke"].payload, "context": CONTEXT, "stages": _STAGES},
    absent=CATALOGUE["tool_post_invoke"].payload,
)

_VOCABULARY = r"""
    payload context stages pii out state name args headers q result user roles tenant has size contains matches
    exists all map filter x y true false null in ( ) [ ] { } . .? ? : , && || ! == != < > + - * / % 'a' "b" r'\d' '('
    b'z' ''' // ` 0 1 -1 2.5 1u 0x1f 9999999999999999999 optional of none orValue int string format replace ' "
"""
_WORDS = st.sampled_from([*_VOCABULARY.split(), "\n"])
_TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(_WORDS, max_size=25).map(" ".join),
    st.lists(_WORDS, max_size=25).map("".join),
    st.text(alphabet=string.printable, max_size=40).map(lambda tail: f"payload.name == {tail}"),
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abqxn\0é"), inner, max_size=4),
    max_leaves=6,
)
_NAMES = ["name", "args", "headers", "user", "tenant", "pii", "zz"]
_OBJECTS = st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=3)
"""Small: nearly all the time goes into making them."""

_SOUND = [
    "payload.name == 'a' && has(payload.args.q)",
    "payload.args.q.contains('x') || context.user.is_admin",
    "payload.args.all(k, payload.args[k] != null)",
    "payload.?args.?q.orValue('none') == 'none'",
    "size(payload.args.a) > 1 ? payload.args.a[0] == payload.args.b : false",
    "has(payload.result) || payload.result == null",
    "context.user.roles.exists(r, r == payload.name)",
    "stages.pii.out.n + 1 > 2",
    "payload.args.q.matches(payload.name)",
    "payload.headers.map(k, payload.headers[k]).size() == 0",
    "'%s %d'.format([payload.name, payload.args.n]) == payload.args.q",
    "payload.name.replace(payload.args.a, payload.args.b) == ''",
]
_TEXT_GIVING = ["payload.name", "payload.args.q", "payload.name + context.tenant", "payload.?args.?q.orValue('none')"]
_MEANT = st.tuples(st.sampled_from(_SOUND), st.sampled_from([Expect.BOOL, Expect.ANY])) | st.tuples(
    st.sampled_from(_TEXT_GIVING), st.sampled_from([Expect.STRING, Expect.ANY])
)


def _compiled(text: str, expect: Expect) -> Expression | None:
    try:
        return compile_expression(text, SCOPE, expect)
    except ExpressionError as error:
        _check(error, text)
        return None


def _check(error: ExpressionError, text: str) -> None:
    assert 0 <= error.offset <= len(text)
    assert error.code in CODES
    assert "penstock_" not in error.message or "penstock_" in text


def _outcome(expression: Expression, roots: dict[str, object]) -> object:
    try:
        return expression.evaluate(roots)
    except ExpressionFailed as error:
        return str(error)


@settings(max_examples=600)
@given(_TEXTS, st.sampled_from(Expect), _OBJECTS)
def test_whatever_is_written_is_refused_or_runs(text: str, expect: Expect, payload: dict[str, object]) -> None:
    expression = _compiled(text, expect)
    if expression is not None:
        _outcome(expression, {"payload": payload, "context": {}, "stages": {}})


@settings(max_examples=600)
@given(_MEANT, _OBJECTS, _OBJECTS, _OBJECTS)
def test_whatever_is_sent_is_judged_or_fails(
    meant: tuple[str, Expect], payload: dict[str, object], context: dict[str, object], out: dict[str, object]
) -> None:
    text, expect = meant
    expression = _compiled(text, expect)
    assert expression is not None
    roots: dict[str, object] = {"payload": payload, "context": context, "stages": {"pii": {"state": "x", "out": out}}}
    first = _outcome(expression, roots)
    assert repr(first) == repr(_outcome(expression, roots))
    if expect is Expect.BOOL:
        assert isinstance(first, (bool, str))
    if expect is Expect.STRING:
        assert isinstance(first, str)


@settings(max_examples=200)
@given(_JSON)
def test_a_path_alone_gives_the_value_untouched(value: object) -> None:
    expression = _compiled("payload.args.x", Expect.ANY)
    assert expression is not None
    assert expression.evaluate({"payload": {"args": {"x": value}}}) is value


@settings(max_examples=200)
@given(st.text(max_size=12))
def test_the_place_of_a_wrong_field_survives_what_stands_before_it(noise: str) -> None:
    literal = "".join(c for c in noise if c.isprintable() and c not in "'\\" and not "\ud800" <= c <= "\udfff")
    text = f"has(payload.args.q) && payload.name != '{literal}' &&\n payload.nmae == 'x'"
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, SCOPE, Expect.BOOL)
    assert (caught.value.offset, caught.value.suggestion) == (text.rindex("nmae"), "name")


@settings(max_examples=200)
@given(st.text(max_size=12))
def test_the_place_of_a_wrong_type_survives_what_stands_before_it(noise: str) -> None:
    literal = "".join(c for c in noise if c.isprintable() and c not in "'\\" and not "\ud800" <= c <= "\udfff")
    text = f"has(payload.args.q) && payload.args.q != '{literal}' &&\n  payload.name == 3"
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, SCOPE, Expect.BOOL)
    assert (caught.value.offset, caught.value.code) == (text.rindex("== 3"), "expression-type")
