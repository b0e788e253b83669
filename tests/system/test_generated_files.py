"""What lints, loads and runs: made-up pipeline files go through the loader, real environments and real workers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from generated_files import Offer, files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isolation.store.store import Store
from orchestrator.loading import load
from orchestrator.orchestrator import HookResult, Orchestrator
from orchestrator.samples import sample_payload

BOUND_SECONDS = 60.0
FINAL = {"succeeded", "denied", "failed", "skipped", "cancelled"}

MANIFEST = """
[tool.penstock]
name = "counter"
version = "1.0.0"

[tool.penstock.stages.count]
outputs = { total = "int" }
"""

PROGRAM = """
from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("count")
def count(call):
    return call.allow(out={"total": call.input.get("n", 0)})
"""
"""A stage for any hook, whose output is its input, so that a wrong mapping along a chain shows."""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins") / "counter"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(MANIFEST)
    (folder / "plugin.py").write_text(PROGRAM)
    return folder


async def _run(file: Path, store: Path, tenant: str) -> list[HookResult]:
    loaded = load(file)
    context = {"tenant": tenant, "user": {"email": "a@example.com"}}
    async with asyncio.timeout(BOUND_SECONDS), Orchestrator(loaded, Store(store)) as penstock:
        return [
            await penstock.invoke(hook, sample_payload(loaded.plan.hooks[hook]), context) for hook in loaded.plan.routes
        ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data(), tenant=st.sampled_from(["acme", "other"]))
def test_a_file_that_lints_runs(
    counter: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, tenant: str
) -> None:
    """Every run comes to a verdict with every stage at an end; these stages have no reason to fail or deny."""
    content = data.draw(files(Offer(str(counter), "count", "total")))
    folder = tmp_path_factory.mktemp("file")
    (folder / "pipeline.yaml").write_text(json.dumps(content))
    for result in asyncio.run(_run(folder / "pipeline.yaml", counter.parent / "store", tenant)):
        for record in result.records:
            _check(record)


def _check(record: Mapping[str, object]) -> None:
    assert record["verdict"] in ("allow", "deny"), record
    if record["pipeline"] is None:
        return
    assert record["verdict"] == "allow", record
    stages = record["stages"]
    assert isinstance(stages, dict)
    assert {stage["state"] for stage in stages.values()} <= FINAL
    for stage in stages.values():
        assert stage["error"] is None, record
        assert (stage["state"] == "succeeded") == (stage["attempts"] == 1), record
