"""The catalogue of hooks: complete, true to recorded calls, and the same as its page."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.fields import Field, Kind, fields_of
from pipelines.hooks import CATALOGUE, CONTEXT, HookError, custom

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "examples" / "gateway-guard" / "input.jsonl"

NAMED_BY_THE_SEED = """
    prompt_pre_fetch prompt_post_fetch tool_pre_invoke tool_post_invoke resource_pre_fetch resource_post_fetch
    agent_pre_invoke agent_post_invoke http_pre_request http_post_request http_auth_resolve_user
    http_auth_check_permission tool_pre_register tool_pre_update tool_pre_unregister resource_pre_create
    resource_pre_update resource_pre_delete server_pre_register server_post_register server_pre_update
    server_pre_unregister auth_pre_create auth_pre_update auth_pre_delete federation_pre_sync federation_post_sync
    federation_pre_create federation_pre_update federation_pre_delete cache_pre_put cache_pre_update cache_pre_evict
    cache_pre_get cache_post_get stream_pre_open stream_pre_update stream_pre_close
"""
FAMILIES = "prompt tool resource agent http auth server gateway federation completion cache stream error"

# One payload of each hook as a real gateway sent it, shortened.
SENT: list[tuple[str, dict[str, object]]] = [
    ("tool_pre_invoke", {"name": "echo", "args": {"q": "hi"}, "headers": {}}),
    ("tool_post_invoke", {"name": "echo", "result": {"content": [{"type": "text", "text": "x"}], "isError": False}}),
    ("prompt_pre_fetch", {"prompt_id": "hello", "args": {"who": "bob"}}),
    ("prompt_post_fetch", {"prompt_id": "hello", "result": {"messages": [], "description": "p"}}),
    ("http_auth_check_permission", {"user_email": "a@example.com", "permission": "tools.create", "is_admin": True}),
    ("http_auth_resolve_user", {"credentials": None, "headers": {}, "client_host": "127.0.0.1", "client_port": 1}),
    (
        "http_post_request",
        {"path": "/", "method": "GET", "headers": {}, "client_port": None, "response_headers": {}, "status_code": 200},
    ),
]


def all_fields() -> Iterator[Field]:
    stack = [*CONTEXT]
    for hook in CATALOGUE.values():
        stack += [*hook.payload, *(hook.answer or ())]
    while stack:
        field = stack.pop()
        stack += field.fields
        yield field


def test_every_hook_of_the_seed_is_there() -> None:
    assert set(NAMED_BY_THE_SEED.split()) - set(CATALOGUE) == set()
    assert {hook.family for hook in CATALOGUE.values()} == set(FAMILIES.split())


def test_every_field_says_what_it_means() -> None:
    assert [field.name for field in all_fields() if not field.doc] == []


def test_writable_fields_are_fields() -> None:
    for hook in CATALOGUE.values():
        assert (hook.writable or frozenset()) <= {field.name for field in hook.payload}, hook.name


def test_names_are_unique_within_a_payload() -> None:
    for hook in CATALOGUE.values():
        names = [field.name for field in hook.payload]
        assert len(names) == len(set(names)), hook.name


def test_what_the_gateway_ignores_cannot_deny() -> None:
    """Measured: a violation on http_pre_request is dropped and the request goes on."""
    assert not CATALOGUE["http_pre_request"].can_deny
    assert not CATALOGUE["http_post_request"].can_deny
    assert CATALOGUE["http_auth_resolve_user"].can_deny


def test_two_hooks_answer_something_else_than_the_payload() -> None:
    answered = {name: [f.name for f in hook.answer] for name, hook in CATALOGUE.items() if hook.answer is not None}
    assert answered["http_auth_check_permission"] == ["granted", "reason"]
    assert answered["http_auth_resolve_user"][0] == "email"
    assert len(answered) == 2


@pytest.mark.parametrize("name", ["server_pre_register", "tool_pre_register", "resource_pre_create", "auth_pre_delete"])
def test_admission_hooks_let_something_in_for_good(name: str) -> None:
    assert CATALOGUE[name].admission


@pytest.mark.parametrize("name", ["tool_pre_invoke", "server_pre_update", "http_auth_resolve_user", "auth_post_check"])
def test_other_hooks_are_no_admission(name: str) -> None:
    assert not CATALOGUE[name].admission


@pytest.mark.parametrize(("name", "payload"), SENT)
def test_what_a_gateway_sends_fits(name: str, payload: dict[str, object]) -> None:
    assert CATALOGUE[name].violations_of(payload) == []


@pytest.mark.skipif(not RECORDED.exists(), reason="the example with the recorded calls is not there")
def test_every_recorded_call_fits() -> None:
    for number, line in enumerate(RECORDED.read_text(encoding="utf-8").splitlines(), 1):
        call = json.loads(line)
        assert CATALOGUE[call["hook"]].violations_of(call["payload"]) == [], number


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ({}, "name is missing"),
        ({"name": None}, "name is missing"),
        ({"name": 3}, "name must be of kind string, not int"),
        ({"name": "x", "args": []}, "args must be of kind object, not list"),
        ({"name": "x", "arg": {}}, "arg is not a field of this hook; did you mean 'args'?"),
    ],
)
def test_a_misfit_is_explained(payload: dict[str, object], sentence: str) -> None:
    assert CATALOGUE["tool_pre_invoke"].violations_of(payload) == [sentence]


def test_a_nested_misfit_names_its_path() -> None:
    payload = {"prompt_id": "p", "result": {"messages": "none", "descripton": ""}}
    assert CATALOGUE["prompt_post_fetch"].violations_of(payload) == [
        "result.descripton is not a field of this hook; did you mean 'description'?",
        "result.messages must be of kind list, not str",
    ]


def test_a_bool_is_no_int_and_an_int_may_be_a_double() -> None:
    assert not Kind.INT.holds(True)
    assert Kind.DOUBLE.holds(3)
    assert not Kind.INT.holds(3.0)


def test_a_custom_hook_has_what_was_declared() -> None:
    hook = custom("invoice_pre_send", {"payload": {"number": "string", "buyer?": {"id": "string"}}, "can_deny": False})
    assert (hook.family, hook.can_deny, hook.admission) == ("custom", False, False)
    assert hook.violations_of({"number": "7", "buyer": {"id": 1}}) == ["buyer.id must be of kind string, not int"]


def test_a_custom_hook_without_fields_takes_any_payload() -> None:
    assert custom("anything_goes", {}).violations_of({"a": 1}) == []


@pytest.mark.parametrize(
    ("name", "declaration", "path"),
    [
        ("x", {"payload": {"a": "strng"}}, ("payload", "a")),
        ("x", {"payload": {"a": {"b": 3}}}, ("payload", "a", "b")),
        ("x", {"payload": {"a-b": "string"}}, ("payload", "a-b")),
        ("x", {"payload": {"a": "string", "a?": "string"}}, ("payload", "a?")),
        ("x", {"payload": []}, ("payload",)),
        ("x", {"can_deny": "no"}, ("can_deny",)),
        ("x", {"payloads": {}}, ("payloads",)),
        ("tool_pre_invoke", {}, ()),
    ],
)
def test_a_wrong_declaration_is_refused_at_its_place(
    name: str, declaration: dict[str, object], path: tuple[str, ...]
) -> None:
    with pytest.raises(HookError) as caught:
        custom(name, declaration)
    assert caught.value.path == path


def test_a_misspelt_kind_has_a_suggestion() -> None:
    with pytest.raises(HookError) as caught:
        fields_of({"a": "strng"})
    assert caught.value.suggestion == "string"


def test_the_pages_are_what_the_tables_say() -> None:
    """`python docs/generate.py` writes them."""
    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    for name, text in made.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, name


def test_the_hook_declared_on_the_page_is_one() -> None:
    page = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    declared = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])["hooks"]["invoice_pre_send"]
    assert declared.pop("unmatched") == "deny"
    hook = custom("invoice_pre_send", {"doc": declared.pop("summary"), **declared})
    assert hook.denial == "the invoice is not sent"
    assert hook.violations_of({"number": "7", "buyer": {"id": "x"}}) == []
