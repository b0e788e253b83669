"""Putting variables in the place of paths changes no meaning: CEL over whole documents is the witness."""

from __future__ import annotations

from cel_expr_python import cel
from cel_expr_python.ext.ext_optional import ExtOptional
from cel_expr_python.ext.ext_strings import ExtStrings
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cel.names import flatten
from pipelines.cel.slots import Scope, Use
from pipelines.expressions import Expect, ExpressionError, ExpressionFailed, compile_expression
from pipelines.hooks import CATALOGUE

FREE = Scope({"payload": ()})
WHOLE = cel.NewEnv(variables={"payload": cel.Type.DYN}, extensions=[ExtStrings(), ExtOptional()])

_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["a", "b", "", "é"]))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abn"), inner, max_size=3),
    max_leaves=6,
)
_PAYLOADS = st.fixed_dictionaries(
    {
        "a": _SCALARS,
        "b": st.dictionaries(st.sampled_from("abn"), _VALUES, max_size=3),
        "n": st.lists(_VALUES, max_size=3),
        "s": st.text(alphabet="aé\n", max_size=4),
    }
)
_PATHS = st.sampled_from(["payload.a", "payload.b.a", "payload['b']['n']", "payload.n[0]", "payload.b", "payload.n"])
_LITERALS = st.sampled_from(["'a'", "1", "true", "null", "[1]", "{}", "0.5", "''"])
_ATOMS = st.one_of(
    st.tuples(_PATHS, st.sampled_from(["==", "!=", "<", ">="]), _LITERALS | _PATHS).map(" ".join),
    _PATHS.map(lambda path: f"{path} in payload.n"),
    _PATHS.map(lambda path: f"type({path}) == string"),
    _PATHS.map(lambda path: f"{path}.exists(x, x == 'a')"),
    st.sampled_from(["payload.s.contains('a')", "size(payload.s) > 1", "'a' in payload.b", "has(payload.b.n)"]),
    st.sampled_from(["payload.n.all(x, x != 1)", "payload.b.exists(k, payload.b[k] == 1)", "payload.b.?a.hasValue()"]),
)
_TEXTS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda text: f"!({text})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} ? {parts[1]} : {parts[2]})"),
    ),
    max_leaves=5,
)


def _witness(text: str, payload: object) -> object:
    """What CEL itself says, given the whole document; None where it fails."""
    try:
        value = WHOLE.compile(text).eval(data={"payload": payload})
    except RuntimeError:
        return None
    return value.value() if value.type() == cel.Type.BOOL else None


def _ours(text: str, payload: object) -> object:
    try:
        return compile_expression(text, FREE, Expect.BOOL).evaluate({"payload": payload})
    except (ExpressionError, ExpressionFailed):
        return None


@settings(max_examples=1_000)
@given(_TEXTS, _PAYLOADS)
def test_an_expression_means_what_cel_says(text: str, payload: object) -> None:
    assert _ours(text, payload) is _witness(text, payload)


def test_a_path_becomes_one_variable_wherever_it_stands() -> None:
    scope = Scope({"payload": CATALOGUE["tool_pre_invoke"].payload})
    flat = flatten("payload.name == 'payload.name' && payload . name != payload['name'] // payload.name", scope)
    (variable,) = flat.slots
    assert flat.text == f"{variable} == 'payload.name' && {variable} != {variable} // payload.name"
    assert str(flat.slots[variable]) == "payload.name"


def test_presence_and_value_are_two_variables() -> None:
    flat = flatten("has(payload.a.b) && payload.a.b == 1", FREE)
    assert [slot.use for slot in flat.slots.values()] == [Use.PRESENCE, Use.VALUE]


def test_every_place_leads_back_to_the_original() -> None:
    text = "has(payload.a.b)\n && [payload.c, 'é'] != payload.d['x'].size()"
    flat = flatten(text, FREE)
    for word in ("&&", "[", "'é'", "!=", ".size"):
        assert flat.original(flat.text.index(word)) == text.index(word)
