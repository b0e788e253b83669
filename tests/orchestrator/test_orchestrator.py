"""A pipeline file in service: what its plugins' policies say holds for their workers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from plans import load_text

from isolation.store.store import Store
from isolation.supervision import State
from orchestrator.loading import Loaded
from orchestrator.orchestrator import HookResult, Orchestrator
from pipelines.plan import RestartPolicy

PROGRAM = (Path(__file__).parents[1] / "scripted_program.py").read_text()
PIPELINES = "  one:\n    hook: tool_pre_invoke\n    stages:\n      a: { uses: s/act }\n"
PAYLOAD = b'{"name":"echo","args":{}}'
BOUND_SECONDS = 20.0
"""No test waits longer for anything."""


def loaded_with(folder: Path, **policies: object) -> Loaded:
    """A file whose plugin has these policies."""
    loaded = load_text(folder, PIPELINES, program=PROGRAM)
    plugin = dataclasses.replace(loaded.plan.plugins["s"], **policies)  # type: ignore[arg-type]  # the test's own choice
    return dataclasses.replace(loaded, plan=dataclasses.replace(loaded.plan, plugins={"s": plugin}))


async def invoke(inside: Orchestrator, script: Mapping[str, object]) -> HookResult:
    context = {"metadata": {"script": {"a": script}}}
    return await inside.invoke("tool_pre_invoke", PAYLOAD, context, within_seconds=BOUND_SECONDS)


def code(result: HookResult) -> object:
    """The code of the violation that a denial carries."""
    violation = result.records[-1]["violation"]
    assert isinstance(violation, dict), result.records
    return violation["code"]


def test_a_plugins_concurrency_and_queue_bound_its_calls(tmp_path: Path) -> None:
    async def main() -> None:
        loaded = loaded_with(tmp_path, concurrency=2, queue=1)
        async with asyncio.timeout(BOUND_SECONDS), Orchestrator(loaded, Store(tmp_path / "store")) as inside:
            calls = [asyncio.ensure_future(invoke(inside, {"hang": True})) for _ in range(3)]
            refused = await asyncio.ensure_future(invoke(inside, {}))
            assert (refused.verdict, code(refused)) == ("deny", "penstock.busy")
            status = inside.generations["s"].status
            assert (status.owed, status.waiting) == (2, 1)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            assert (await invoke(inside, {})).verdict == "allow"

    asyncio.run(main())


def test_a_plugins_restart_policy_holds_for_its_workers(tmp_path: Path) -> None:
    async def main() -> None:
        policy = RestartPolicy(intensity=0, period_seconds=60.0, initial_seconds=0.1, longest_seconds=1.0, factor=3.0)
        loaded = loaded_with(tmp_path, restart=policy)
        async with asyncio.timeout(BOUND_SECONDS), Orchestrator(loaded, Store(tmp_path / "store")) as inside:
            for script in ({"exit": 3}, {}):
                lost = await invoke(inside, script)
                assert (lost.verdict, code(lost)) == ("deny", "penstock.worker_lost")
            generation = inside.generations["s"]
            assert generation.status.state is State.FAILED
            await generation.restart()
            assert (await invoke(inside, {})).verdict == "allow"

    asyncio.run(main())
