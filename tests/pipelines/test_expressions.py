"""Expressions: what is refused and where, what is evaluated to what, and what fails closed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipelines.codes import CODES
from pipelines.expressions import Expect, Expression, ExpressionError, ExpressionFailed, Scope, compile_expression
from pipelines.fields import Field, Kind
from pipelines.hooks import CATALOGUE, CONTEXT

OUT = (Field("found", Kind.INT), Field("share", Kind.DOUBLE), Field("kinds", Kind.LIST), Field("claims", Kind.OBJECT))
STAGES = (Field("pii", Kind.OBJECT, fields=(Field("state", Kind.STRING), Field("out", Kind.OBJECT, fields=OUT))),)
OTHER_HOOKS = CATALOGUE["tool_post_invoke"].payload + CATALOGUE["server_pre_register"].payload
SCOPE = Scope(
    {
        "payload": CATALOGUE["tool_pre_invoke"].payload,
        "context": CONTEXT,
        "stages": STAGES,
        "run": (Field("verdict", Kind.STRING), Field("payload", Kind.OBJECT)),
    },
    absent=OTHER_HOOKS,
)
ROOTS: dict[str, object] = {
    "payload": {
        "name": "echo",
        "args": {
            "q": "hi 4111",
            "n": 3,
            "flag": True,
            "nothing": None,
            "user-agent": "curl",
            "list": [{"role": "admin", "age": 40}, {"role": "guest"}],
        },
    },
    "context": {"tenant": "acme", "user": {"id": "u", "email": "u@example.com", "roles": ["ops"], "is_admin": False}},
    "stages": {"pii": {"state": "succeeded", "out": {"found": 2, "share": 1, "kinds": ["card"], "claims": {"a": "b"}}}},
    "run": {"verdict": "modify", "payload": {"args": {"q": "hi [card]"}}},
}


def compiled(text: str, expect: Expect = Expect.ANY, scope: Scope = SCOPE) -> Expression:
    return compile_expression(text, scope, expect)


def value(text: str, expect: Expect = Expect.ANY) -> object:
    return compiled(text, expect).evaluate(ROOTS)


def refused(text: str, expect: Expect = Expect.ANY) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        compiled(text, expect)
    assert caught.value.code in CODES
    return caught.value


def failed(text: str, expect: Expect = Expect.ANY, roots: dict[str, object] | None = None) -> str:
    with pytest.raises(ExpressionFailed) as caught:
        compiled(text, expect).evaluate(ROOTS if roots is None else roots)
    assert caught.value.code == "penstock.expression"
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "payload.name == 'echo'",
        "context.tenant == 'acme' && stages.pii.out.found > 1",
        "payload.name in ['run_query', 'echo']",
        "payload.args.q.contains('4111') && !run.payload.args.q.contains('4111')",
        "stages.pii.state == 'succeeded' && run.verdict == 'modify'",
        "payload.args['q'] == payload.args.q",
        'payload["name"] == "echo"',
        "payload.args.list[0].role == 'admin'",
        "payload.args.list.exists(x, x.role == 'guest')",
        "payload.args.list.all(x, x.role != '')",
        "payload.args.list.filter(x, has(x.age)).size() == 1",
        "payload.args.list.map(x, x.role) == ['admin', 'guest']",
        "payload.args.list.exists_one(x, x.role == 'admin')",
        "payload.args.exists(k, k == 'user-agent')",
        "payload.args['user-agent'] == 'curl' && payload.args.`user-agent` == 'curl'",
        "'ops' in context.user.roles",
        "'q' in payload.args",
        "payload.args.n == 3 && payload.args.n == 3.0 && payload.args.n < 3.5",
        "stages.pii.out.share == 1.0",
        "payload.args.nothing == null",
        "payload.?headers.orValue({}) == {}",
        "payload.args.?missing.orValue('none') == 'none'",
        "payload.?headers.?trace.orValue('none') == 'none'",
        "payload.args[?'missing'].hasValue() == false",
        "payload.name.startsWith('e') && payload.name.endsWith('o') && payload.name.matches('^[a-z]+$')",
        "payload.name.upperAscii().lowerAscii().replace('e', 'E').reverse() == 'ohcE'",
        "size(payload.name) == 4 && payload.name.size() == 4",
        "payload.name == 'x' ? false : true",
        "payload . name // the tool\n == 'echo' && // payload.nmae\n true",
        r"r'a\b' == 'a\\b' && '''it's''' == \"it's\" && b'a' == b'a' && 'payload.nmae' != ''".replace('\\"', '"'),
        "{'a': [payload.name, 1]}.a[0] == 'echo'",
        "type(payload.name) == string && 1u < 2u && 0x10 == 16 && -1.5e1 < 0.0",
        "'%s of %d'.format([payload.name, payload.args.n]) == 'echo of 3'",
    ],
)
def test_what_holds_is_true(text: str) -> None:
    assert value(text, Expect.BOOL) is True


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("has(payload.name)", True),
        ("has(payload.headers)", False),
        ("has(payload.args.q)", True),
        ("has(payload.args.q.deeper.still)", False),
        ("has(payload.args.nothing)", True),
        ("has(payload.args.list[0].age)", True),
        ("has(payload.args.list[1].age)", False),
        ("has(payload.args.list[9].age)", False),
        ("has(payload.labels.tee)", False),
        ("has(payload.labels) && has(payload.labels.tee) && payload.labels.tee != ''", False),
        ("has(context.user.email)", True),
        ("payload.args.list.exists(x, has(x.age))", True),
    ],
)
def test_presence_is_known_over_flattened_paths(text: str, there: bool) -> None:
    assert value(text, Expect.BOOL) is there


@pytest.mark.parametrize(
    ("text", "at", "code", "suggestion"),
    [
        ("payload.nmae == 'x'", "nmae", "expression-name", "name"),
        ("has(payload.name) && payload.agrs.q == ''", "agrs", "expression-name", "args"),
        ("has(payload.nmae)", "nmae", "expression-name", "name"),
        ("paylod.name == 'x'", "paylod", "expression-name", "payload"),
        ("stages.pi.state == ''", "pi", "expression-name", "pii"),
        ("stages.pii.out.fuond > 1", "fuond", "expression-name", "found"),
        ("context.usr.email == ''", "usr", "expression-name", "user"),
        ("context.user.emial == ''", "emial", "expression-name", "email"),
        ("context['tenent'] == ''", "'tenent'", "expression-name", "tenant"),
        ("payload.name.x == ''", "x ==", "expression-name", None),
        ("payload.name.startWith('x')", "startWith", "expression-name", "startsWith"),
        ("sise(payload.name) > 1", "sise", "expression-name", "size"),
        ("payload.args.user-agent == 'x'", "agent", "expression-name", "['user-agent']"),
        ("payload == 1", "payload", "expression-name", None),
        ("[1].exists(payload, payload == 1)", "payload, ", "expression-name", None),
        ("payload.name == 3", "== 3", "expression-type", None),
        ("stages.pii.out.found == 'x'", "== 'x'", "expression-type", None),
        ("payload.name && true", "&&", "expression-type", None),
        ("!payload.name", "!", "expression-type", None),
        ("payload.name.size(1) == 2", "size", "expression-type", None),
        ("payload.name[0] == 'e'", "[0]", "expression-type", None),
        ("payload.name.matches('(')", "'('", "expression-regex", None),
        ("true && matches(payload.name, r'[a-')", "r'[a-'", "expression-regex", None),
        ("payload.name ==", "", "expression-syntax", None),
        ("payload.nmae == 'x' &&", "", "expression-syntax", None),
        ("payload.name = 'x'", "= 'x'", "expression-syntax", None),
        ("payload.name == 'x", "'x", "expression-syntax", None),
        ("payload.name == 'x')", ")", "expression-syntax", None),
        ("a\0b", "\0", "expression-syntax", None),
        ("", "", "expression-syntax", None),
    ],
)
def test_a_mistake_is_found_at_its_place(text: str, at: str, code: str, suggestion: str | None) -> None:
    error = refused(text, Expect.BOOL)
    assert error.offset == (text.index(at) if at else len(text))
    assert (error.code, error.suggestion) == (code, suggestion)


def test_every_mistake_of_an_expression_is_told() -> None:
    text = "payload.nmae == 'x' && payload.name == 3 && payload.name.matches('(') && sise(context.tenat) > 1"
    error = refused(text, Expect.BOOL)
    places = [fault.offset for fault in (error, *error.others)]
    assert places == [text.index(word) for word in ("nmae", "== 3", "'('", "sise", "tenat")]


def test_a_name_that_is_missed_is_told_once() -> None:
    error = refused("paylod.name == 'x'")
    assert (error.offset, error.others) == (0, ())


def test_a_variable_outside_its_loop_is_unknown() -> None:
    text = "[1].exists(x, x > 0) && x == 1"
    assert (refused(text).offset, refused(text).code) == (text.rindex("x"), "expression-name")


def test_only_the_first_mistake_of_syntax_is_told() -> None:
    assert refused("payload.nmae == ) ( payload.agrs").others == ()


def test_places_count_characters_and_lines_of_the_original_text() -> None:
    text = "has(payload.args.q) // 🎉 payload.name\n && '日本' != payload.args['q']\n && payload.name\n == 7"
    assert refused(text).offset == text.index("== 7")


def test_messages_speak_of_paths_and_operators() -> None:
    assert str(refused("payload.name == 3")) == "== does not take (string, int)"
    assert str(refused("payload.nmae")) == "payload has no field 'nmae'"
    assert str(refused("stages.none.state")) == "there is no stage 'none'"
    assert str(refused("1 +")) == "the expression ends too early"


@pytest.mark.parametrize("text", ["payload.name", "1", "'true'", "null", "[true]", "stages.pii.out.found"])
def test_where_a_bool_is_asked_another_kind_is_refused(text: str) -> None:
    assert refused(text, Expect.BOOL).code == "expression-type"


@pytest.mark.parametrize(
    "text", ["b'x'", "type(1)", "duration('1s')", "payload.?name", "timestamp('2026-01-01T00:00:00Z')"]
)
def test_a_result_that_json_cannot_hold_is_refused(text: str) -> None:
    assert refused(text).code == "expression-type"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("payload.name", "echo"),
        ("payload.args.list", [{"role": "admin", "age": 40}, {"role": "guest"}]),
        ("context.user.is_admin", False),
        ("stages.pii.out.found + 1", 3),
        ("{'b': payload.name, 'a': [null, 1.5, true]}", {"a": [None, 1.5, True], "b": "echo"}),
        ("payload.args.map(k, k)", ["flag", "list", "n", "nothing", "q", "user-agent"]),
    ],
)
def test_a_value_is_handed_on_as_json(text: str, result: object) -> None:
    assert value(text) == result


def test_the_order_of_objects_never_depends_on_the_start() -> None:
    """CEL walks objects in an order of its own, another one in each process."""
    code = (
        "from pipelines.expressions import *\n"
        "scope = Scope({'payload': ()})\n"
        "roots = {'payload': {'a': {c: c for c in 'qwertyuiopasdfghjkl'}}}\n"
        "for text in ['payload.a.map(k, payload.a[k])', 'payload.a', 'true ? payload.a : {}']:\n"
        "    print(list(compile_expression(text, scope, Expect.ANY).evaluate(roots)))\n"
    )
    seen = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(4)}
    assert len(seen) == 1


def test_fields_of_other_hooks_read_as_their_zero_values() -> None:
    assert value("payload.url == '' && payload.tags == [] && payload.labels == {} && payload.result == null") is True
    assert value("payload.url") == ""
    assert value("has(payload.url)") is False
    assert value("payload.labels.tee") is None
    assert refused("payload.url == 3").code == "expression-type"
    assert refused("payload.ulr == ''").suggestion == "url"


def test_a_field_of_another_hook_is_never_read_even_if_it_is_sent() -> None:
    roots = {**ROOTS, "payload": {"name": "echo", "url": "https://evil.example"}}
    assert compiled("payload.url == ''").evaluate(roots) is True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("payload.headers['x'] == 'y'", "payload.headers.x is absent"),
        ("payload.args.missing == 'y'", "payload.args.missing is absent"),
        ("payload.args.list[7].role == 'y'", "payload.args.list[7].role is absent"),
        ("payload.args.q > 3", "> does not take (string, int)"),
        ("payload.args.n / 0 == 1", "divide by zero"),
        ("payload.args.q.matches(payload.args.q + '(')", "missing )"),
        ("int(payload.name) == 1", ""),
    ],
)
def test_an_evaluation_without_a_value_fails(text: str, why: str) -> None:
    assert why.lower() in failed(text, Expect.BOOL).lower()


def test_an_error_is_never_taken_for_true() -> None:
    """The library hands an error over as a value, and as a non-empty text."""
    failed("payload.args.missing", Expect.BOOL)
    failed("payload.args.missing == 'x'", Expect.BOOL)
    failed("payload.args.q", Expect.BOOL)


def test_what_is_not_looked_at_may_be_absent() -> None:
    assert value("has(payload.headers) && payload.headers['x'] == 'y'", Expect.BOOL) is False
    assert value("payload.name == 'echo' || payload.args.missing == 1", Expect.BOOL) is True


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("payload.name == 'echo'", 3),
        ("payload.name == 'echo'", None),
        ("payload.name == 'echo'", ["echo"]),
        ("payload.name", {"a": 1}),
        ("payload.name != 'echo'", True),
    ],
)
def test_a_value_of_another_kind_than_declared_fails(text: str, sent: object) -> None:
    failed(text, roots={"payload": {"name": sent}})


@pytest.mark.parametrize(
    ("found", "why"), [(True, "bool"), (1.0, "float"), ("1", "str"), (None, "absent"), (2**70, "big")]
)
def test_an_int_must_be_an_int(found: object, why: str) -> None:
    roots: dict[str, object] = {"stages": {"pii": {"state": "", "out": {"found": found}}}}
    assert why in failed("stages.pii.out.found + 1 > 0", roots=roots)


def test_the_out_of_a_stage_that_did_not_run_is_absent() -> None:
    assert "is absent" in failed(
        "stages.pii.out.found > 0", roots={"stages": {"pii": {"state": "failed", "out": None}}}
    )


@pytest.mark.parametrize("name", ["echo\0", "echo\0 or anything", "echo\ud800", "\0"])
def test_a_text_that_cel_would_cut_short_fails(name: str) -> None:
    """The library hands texts over as C strings: `echo` + NUL + anything would equal `echo`."""
    failed("payload.name == 'echo'", roots={"payload": {"name": name}})
    failed("payload.args.exists(k, k == 'echo')", roots={"payload": {"args": {name: 1}}})
    failed("payload.args == {'a': ['echo']}", roots={"payload": {"args": {"a": [name]}}})


def test_a_path_alone_is_handed_on_whatever_it_holds() -> None:
    args = {"b": "x\0y", "a": list(range(20_000))}
    assert compiled("payload.args").evaluate({"payload": {"args": args}}) is args


def test_a_root_without_fields_takes_any_path_but_stages_never_do() -> None:
    scope = Scope({"payload": (), "stages": ()})
    assert compiled("payload.any.thing", scope=scope).evaluate({"payload": {"any": {"thing": 1}}}) == 1
    with pytest.raises(ExpressionError, match="there is no stage 'x'"):
        compiled("stages.x.out.y", scope=scope)


def test_references_name_every_path_up_to_an_index() -> None:
    text = "has(payload.labels.tee) || stages.pii.out.kinds[0] == 'a' || payload.args['q'].contains('x')"
    assert compiled(text).references == {
        ("payload", "labels", "tee"),
        ("stages", "pii", "out", "kinds"),
        ("payload", "args", "q"),
    }


def test_a_text_or_a_nesting_over_the_limit_is_refused() -> None:
    assert refused("payload.name == '" + "x" * 5000 + "'").code == "expression-limit"
    assert refused("(" * 200 + "true" + ")" * 200).code == "expression-limit"
    assert refused(" + ".join(f"payload.args.a{n}" for n in range(40))).code == "expression-limit"


def test_the_library_is_not_imported_before_the_first_expression() -> None:
    code = "import sys, pipelines.expressions; sys.exit('cel_expr_python' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
