"""Fixtures over a world in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lint_world import World

from pipelines.plan import Plan


@pytest.fixture
def world() -> World:
    return World()


HEAD = "version: 1\nname: guard\nplugins: { pii: { source: ./pii } }\n"


@pytest.fixture
def staged(world: World) -> Callable[[str], Plan]:
    """Plan a pipeline on tool_pre_invoke whose stages are the lines given."""

    def plan(stages: str) -> Plan:
        body = "".join(f"      {line}\n" for line in stages.splitlines())
        return world.plan(f"{HEAD}pipelines:\n  guard:\n    hook: tool_pre_invoke\n    stages:\n{body}")

    return plan
