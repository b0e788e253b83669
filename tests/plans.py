"""Pipeline files for tests, loaded as an operator's are, over one plugin whose every answer the test dictates."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.engine.wiring import Callee, Route, routes_of
from orchestrator.loading import Loaded, load
from orchestrator.resilience.breakers import Breakers
from pipelines.plan import Plan

__all__ = ["load_text", "routes_for", "write_plugin"]

MANIFEST = """
[tool.penstock]
name = "scripted"
version = "1.0.0"
command = {command}
concurrency = 16

[tool.penstock.limits]
kill-after = "200ms"

[tool.penstock.stages.act]
outputs = {{ n = "int", note = "string", seen = "object" }}

[tool.penstock.stages.narrow]
outputs = {{ n = "int" }}
hooks.tool_pre_invoke.writes = ["payload.args.allowed"]
hooks.tool_post_invoke.writes = []

[tool.penstock.stages.ask]
idempotent = true
outputs = {{ n = "int" }}

[tool.penstock.stages.reserve]
outputs = {{ n = "int", ticket = "string" }}

[tool.penstock.stages.release]
undoes = "reserve"

[tool.penstock.stages.charge]
idempotent = true

[tool.penstock.stages.refund]
undoes = "charge"
"""


def write_plugin(folder: Path, program: str = "") -> None:
    """Write the plugin's folder `scripted`; `program` is what its process runs."""
    root = folder / "scripted"
    root.mkdir(exist_ok=True)
    command = json.dumps([sys.executable, "-S", "-B", "program.py"])
    (root / "pyproject.toml").write_text(MANIFEST.format(command=command))
    (root / "program.py").write_text(program)


def load_text(folder: Path, pipelines: str, *, more: str = "", program: str = "", replicas: int = 1) -> Loaded:
    """Load a file that has these `pipelines`, the plugin `s` and `more` keys."""
    write_plugin(folder, program)
    file = folder / "pipeline.yaml"
    plugins = f"{{ s: {{ source: ./scripted, replicas: {replicas} }} }}"
    file.write_text(f"version: 1\nname: tested\nplugins: {plugins}\n{more}\npipelines:\n{pipelines}")
    return load(file)


def routes_for(
    plan: Plan, generations: Mapping[str, Callee], clock: Clock | None = None, seed: int = 0
) -> dict[str, tuple[Route, ...]]:
    """Join a plan with doubles, its breakers on `clock` and its retries on a seed."""
    breakers = Breakers(clock.now if clock is not None else time.monotonic)
    return routes_of(plan.routes, generations, breakers, random.Random(seed).uniform)
