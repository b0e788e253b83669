"""The stage as a pipeline calls it."""

from __future__ import annotations

import pytest
from penstock_plugin import testing
from schema_guard import plugin
from schemas import Declared, SchemaError

QUERY = {
    "type": "object",
    "properties": {"limit": {"type": "integer", "maximum": 100}, "q": {"type": "string", "pattern": "^[a-z ]*$"}},
    "required": ["q"],
    "additionalProperties": False,
}


def called(
    args: object, *, hook: str = "tool_pre_invoke", context: dict[str, object] | None = None, **config: object
) -> testing.Outcome:
    payload = {"prompt_id": "query", "args": args} if hook.startswith("prompt") else {"name": "query", "args": args}
    if hook == "tool_post_invoke":
        payload = {"name": "query", "result": args}
    return testing.call(plugin, "check", hook=hook, payload=payload, config=config, context=context)


def errors(outcome: testing.Outcome) -> list[tuple[str, str]]:
    return [(error["path"], error["keyword"]) for error in outcome.violation.details["errors"]]


def test_fitting_arguments_are_allowed_as_they_are() -> None:
    outcome = called({"q": "cats", "limit": 5}, tools={"query": QUERY})
    assert not outcome.denied
    assert not outcome.changed
    assert outcome.out == {"checked": True, "errors": 0}


def test_everything_wrong_is_listed_with_its_place_and_no_value() -> None:
    outcome = called({"limit": "s3cret", "q": "S3CRET", "x": "s3cret"}, tools={"query": QUERY})
    assert sorted(errors(outcome)) == [("args", "additionalProperties"), ("args.limit", "type"), ("args.q", "pattern")]
    assert outcome.out == {"checked": True, "errors": 3}
    assert "s3cret" not in str(outcome.violation.as_json()).lower()


def test_a_place_in_an_array_is_written_with_its_index() -> None:
    schema = {"properties": {"ids": {"items": {"type": "integer"}}}}
    assert errors(called({"ids": [1, "x"]}, tools={"query": schema})) == [("args.ids[1]", "type")]


def test_no_more_errors_are_listed_than_asked_for() -> None:
    schema = {"properties": {"ids": {"items": {"type": "integer"}}}}
    outcome = called({"ids": ["x"] * 5_000}, tools={"query": schema}, max_errors=3)
    assert len(errors(outcome)) == 3
    assert outcome.violation.details["complete"] is False


def test_a_call_without_arguments_is_judged_as_an_empty_object() -> None:
    assert errors(called(None, tools={"query": QUERY})) == [("args", "required")]


def test_an_exact_name_comes_before_a_pattern_and_patterns_in_file_order() -> None:
    tools = {"*": False, "que*": {"required": ["a"]}, "query": True}
    assert not called({}, tools=tools).denied
    assert called({}, tools={"que*": {"required": ["a"]}, "*": True}).denied
    assert not called({}, tools={"other": False}).denied


def test_unknown_names_are_denied_only_when_told_to() -> None:
    assert called({}).out == {"checked": False, "errors": 0}
    assert called({}, unknown="deny").violation.code == "unknown_name"
    assert called({}, hook="prompt_pre_fetch", unknown="deny").violation.code == "unknown_name"
    assert not called({}, hook="tool_post_invoke", unknown="deny").denied


def test_prompts_have_their_own_schemas() -> None:
    assert called(
        {"who": 1}, hook="prompt_pre_fetch", prompts={"query": {"properties": {"who": {"type": "string"}}}}
    ).denied


def test_results_are_checked_after_the_call() -> None:
    schema = {"properties": {"structuredContent": {"type": "object", "required": ["rows"]}}}
    outcome = called({"content": [], "structuredContent": {}}, hook="tool_post_invoke", results={"query": schema})
    assert errors(outcome) == [("result.structuredContent", "required")]


def test_the_declared_schema_is_used_only_when_told_to_and_none_is_written() -> None:
    context = {"tool": {"name": "query", "input_schema": QUERY}}
    assert not called({}, context=context).denied
    assert errors(called({}, context=context, use_declared=True)) == [("args", "required")]
    assert not called({}, context=context, use_declared=True, tools={"query": True}).denied
    assert called({}, context={"metadata": context}, use_declared=True).denied


def test_the_declared_output_schema_is_about_structured_content() -> None:
    context = {"tool": {"name": "query", "output_schema": {"required": ["rows"]}}}
    result = {"content": [{"type": "text", "text": "x"}], "structuredContent": {"a": 1}}
    outcome = called(result, hook="tool_post_invoke", context=context, use_declared=True)
    assert errors(outcome) == [("result.structuredContent", "required")]
    failed = {"content": [], "isError": True, "structuredContent": None}
    assert not called(failed, hook="tool_post_invoke", context=context, use_declared=True).denied


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "http://registry.example/schema"}, {"type": "nonsense"}, {"pattern": "(("}, {"$ref": "#/$defs/none"}],
)
def test_a_schema_that_cannot_be_used_is_refused_and_nothing_is_fetched(schema: dict[str, object]) -> None:
    with pytest.raises(SchemaError, match=r"^tools\.query(?:\.type|\.pattern)?: "):
        called({}, tools={"query": schema})
    context = {"tool": {"name": "query", "input_schema": schema}}
    assert called({}, context=context, use_declared=True).violation.code == "schema_unusable"


def test_a_mistake_in_a_schema_is_told_with_its_place() -> None:
    schema = {"properties": {"amount": {"minimum": "a lot"}}}
    with pytest.raises(SchemaError, match=r"^tools\.query\.properties\.amount\.minimum: the value is not of type"):
        called({}, tools={"query": schema})


def test_a_declared_schema_that_is_too_large_or_too_deep_is_refused() -> None:
    deep: dict[str, object] = {}
    for _ in range(5_000):
        deep = {"properties": {"a": deep}}
    for schema in ({"enum": ["x" * 300_000]}, deep):
        with pytest.raises(SchemaError, match=r"^input_schema: (?:larger|nested)"):
            Declared().get(schema, "input_schema")


def test_a_pattern_cannot_hang_a_call() -> None:
    schema = {"properties": {"q": {"pattern": "^(?=(a+)+$)b"}}}
    assert called({"q": "a" * 5_000 + "!"}, tools={"query": schema}).denied


def test_a_deep_value_is_judged_or_refused_but_never_let_through_unseen() -> None:
    value: object = "x"
    for _ in range(200):
        value = [value]
    schema = {"$defs": {"n": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#/$defs/n"}}]}}}
    schema["properties"] = {"v": {"$ref": "#/$defs/n"}}
    assert called({"v": value}, tools={"query": schema}).denied


def test_other_drafts_are_honoured() -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}}
    assert called({"a": 1}, tools={"query": schema}).denied
