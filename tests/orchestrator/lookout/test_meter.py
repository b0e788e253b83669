"""What is counted while somebody looks."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import write_shop

from isolation.store.store import Store
from orchestrator.loading import load
from orchestrator.lookout.latency import Latency
from orchestrator.lookout.meter import Meter
from orchestrator.orchestrator import Orchestrator

WAIT_SECONDS = 60.0


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_parts_joined_have_the_quantiles_of_the_whole(values: list[float], share: float) -> None:
    whole, parts = Latency(), [Latency(), Latency(), Latency()]
    for number, value in enumerate(values):
        whole.add(value)
        parts[number % 3].add(value)
    joined = Latency.joined(parts)
    assert joined.quantile(share) == whole.quantile(share)
    exact = sorted(values)[max(1, -int(-share * len(values) // 1)) - 1]
    assert joined.quantile(share) == pytest.approx(exact, rel=0.011)


def test_nothing_has_no_quantile() -> None:
    assert Latency.joined([]).quantile(0.5) is None


def total(figures: Mapping[str, Any], table: str, name: str) -> int:
    """How many there were in an interval."""
    return sum(round(row[f"{name}_per_second"] * figures["seconds"]) for row in figures[table])


def test_runs_are_counted_while_somebody_looks_and_not_otherwise(tmp_path: Path) -> None:
    loaded = load(write_shop(tmp_path / "shop"))

    async def look(penstock: Orchestrator, wish: str) -> None:
        await penstock.invoke("look", {"name": "bread", "args": {"wish": wish}})

    async def counted(penstock: Orchestrator) -> list[dict[str, object]]:
        """The figures of as many intervals as it takes to see three runs."""
        await look(penstock, "")
        found: list[dict[str, object]] = []
        with penstock.lookout.meters.reading(Meter(penstock)) as meter:
            async with aclosing(meter.read(0.1)) as told:
                first = asyncio.ensure_future(anext(told))
                for wish in ("", "deny", "deny"):
                    await look(penstock, wish)
                found.append(await first)
                while sum(total(figures, "pipelines", "runs") for figures in found) < 3:
                    found.append(await anext(told))
        return found

    async def served() -> list[dict[str, object]]:
        with Store(tmp_path / "store", offline=True) as store:
            async with (
                asyncio.timeout(WAIT_SECONDS),
                Orchestrator(loaded, store, state=tmp_path / "state") as penstock,
            ):
                return await counted(penstock)

    found = asyncio.run(served())
    numbers = {name: sum(total(one, "pipelines", name) for one in found) for name in ("allow", "deny", "failed")}
    assert numbers == {"allow": 1, "deny": 2, "failed": 0}
    assert sum(total(one, "stages", "calls") for one in found) == 3
    assert sum(total(one, "stages", "denied") for one in found) == 2
    last: dict[str, Any] = found[-1]
    assert last["pipelines"][0]["p50_ms"] <= last["pipelines"][0]["p99_ms"]
    assert [(one["plugin"], one["ready"]) for one in last["plugins"]] == [("till", 1)]
    assert last["host"]["pid"] == os.getpid()
    json.dumps(last)
