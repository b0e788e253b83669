"""The JSON Schema for editors."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from pipelines.file.schema import document, text
from pipelines.file.source import parse
from pipelines.file.tree import plain

ROOT = Path(__file__).parents[3]


def test_the_shipped_schema_is_the_one_the_tables_make() -> None:
    """`python -m pipelines.file.schema > orchestrator/pipeline-v1.schema.json` makes it."""
    assert (ROOT / "orchestrator" / "pipeline-v1.schema.json").read_text("utf-8") == text()


def accepts(value: object) -> bool:
    return jsonschema_rs.validator_for(document()).is_valid(value)


def test_the_example_is_good_by_the_schema() -> None:
    tree, _ = parse((ROOT / "examples" / "gateway-guard" / "pipeline.yaml").read_bytes(), "pipeline.yaml")
    assert tree is not None
    assert accepts(plain(tree))


@pytest.mark.parametrize(
    "change",
    [
        {"nmae": "x"},
        {"version": 2},
        {"policies": {"timeouts": {"fast": "50"}}},
        {"pipelines": {"g": {"hook": "tool_pre_invoke", "stages": {"a": {"uses": "p/s", "mode": "enforced"}}}}},
        {"pipelines": {"g": {"stages": {}}}},
        {"plugins": {"A-b": {"source": "x"}}},
        {"policies": {"retries": {"r": {"attempts": 0}}}},
        {"policies": {"retries": {"r": {"attempts": 2, "on": ["BreakerOpen"]}}}},
        {"policies": {"breakers": {"b": {"failure_rate": 0}}}},
        {"pipelines": {"g": {"hook": "tool_pre_invoke", "stages": {"a": {"uses": "p/s", "compensate": "no"}}}}},
        {"pipelines": {"g": {"hook": "tool_pre_invoke", "stages": {}, "finally": {"f": {"needs": []}}}}},
    ],
)
def test_an_editor_sees_what_is_wrong_in_shape(change: dict[str, object]) -> None:
    assert accepts({"version": 1, "name": "g"})
    assert not accepts({"version": 1, "name": "g"} | change)


def test_an_editor_takes_policies_by_name_and_in_place() -> None:
    policies = {"retries": {"r": {"attempts": 2}}, "breakers": {"b": {"failure_rate": 1}}, "restarts": {"c": {}}}
    stage = {"uses": "p/s", "retry": "r", "breaker": {"window": 5}, "compensate": {"uses": "p/u", "retry": "none"}}
    pipeline = {
        "hook": "tool_pre_invoke",
        "durable": True,
        "stages": {"a": stage, "b": {"uses": "p/s", "compensate": "none"}},
    }
    last = {"finally": {"f": {"uses": "p/s", "mode": "audit"}}}
    assert accepts({"version": 1, "name": "g", "policies": policies, "pipelines": {"g": pipeline | last}})


def test_every_key_carries_its_documentation() -> None:
    def walk(schema: object) -> None:
        for name, inner in getattr(schema, "get", lambda *_: {})("properties", {}).items():
            assert inner == {} or inner["description"], name
            walk(inner)

    walk(json.loads(text()))
