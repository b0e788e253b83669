"""A file in service, embedded: what subscribers hear of it, and what it remembers."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from shop import write_shop

from isolation.status import WorkerReady
from isolation.store.store import Store
from orchestrator import Orchestrator
from orchestrator.control.commands import Control
from orchestrator.events import BreakerChanged, Event, RunEnded, RunParked, RunTakenUp
from orchestrator.loading import load
from orchestrator.state import RING_FILE, state_folder

WAIT_SECONDS = 60.0


def test_subscribers_hear_of_runs_breakers_and_workers(tmp_path: Path, store: Store) -> None:
    """A run that is left to a human is told as such, beside its summary; the next host remembers both."""
    shop = write_shop(tmp_path / "shop")
    (shop / "stuck").touch()
    payload = {"name": "bread", "args": {"wish": "deny", "drawer": str(shop)}}
    heard: list[Event] = []

    async def go() -> None:
        orchestrator = Orchestrator(load(shop), store, state=tmp_path / "state")
        orchestrator.events.subscribe(heard.append)
        async with asyncio.timeout(WAIT_SECONDS), orchestrator:
            await orchestrator.conclude(await orchestrator.invoke("order", payload))
            await Control(orchestrator).perform("breakers.open", {"name": "till/weigh", "reason": "away"})
            await orchestrator.invoke("look", payload)

    asyncio.run(go())
    parked, looked = (event.summary for event in heard if isinstance(event, RunEnded))
    assert (parked["status"], looked["status"]) == ("parked", "completed")
    (left,) = (event for event in heard if isinstance(event, RunParked))
    assert (left.run, left.pipeline, left.reason) == (parked["run_id"], "order", "a compensation is parked")
    (changed,) = (event for event in heard if isinstance(event, BreakerChanged))
    assert (changed.before, changed.after) == ("closed", "open")
    assert [event.worker for event in heard if isinstance(event, WorkerReady)] == ["till#1"]
    memory = tmp_path / "state" / RING_FILE
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    assert len(memory.read_text().splitlines()) == 2


def test_a_run_that_is_parked_or_taken_up_is_told_with_the_request_of_its_caller(tmp_path: Path, store: Store) -> None:
    shop = write_shop(tmp_path / "shop")
    (shop / "stuck").touch()
    payload = {"name": "bread", "args": {"wish": "deny", "drawer": str(shop)}}
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    heard: list[Event] = []

    def host() -> Orchestrator:
        orchestrator = Orchestrator(load(shop), store, state=tmp_path / "state")
        orchestrator.events.subscribe(heard.append, (RunParked, RunTakenUp))
        return orchestrator

    async def go() -> list[str | None]:
        async with asyncio.timeout(WAIT_SECONDS):
            async with host() as orchestrator:
                results = [
                    await orchestrator.invoke(hook, payload, {"request_id": f"r-{hook}"}, trace=trace)
                    for hook in ("order", "offer")
                ]
                await orchestrator.conclude(results[0])
            async with host():
                pass  # it takes up what waits for its caller still
        return [result.reply.run_id for result in results]

    order, offer = asyncio.run(go())
    assert heard == [
        RunParked(order or "", "order", "a compensation is parked", "r-order", trace),
        RunTakenUp(offer or "", "offer", "confirming", "r-offer", trace),
    ]


def test_a_rehearsal_leaves_nothing_behind(tmp_path: Path, store: Store) -> None:
    """`penstock test` runs the tests of a file on a machine where its host serves."""
    shop = write_shop(tmp_path / "shop")

    async def go() -> str:
        orchestrator = Orchestrator(load(shop), store, state=tmp_path / "state", rehearsal=True)
        async with asyncio.timeout(WAIT_SECONDS), orchestrator:
            result = await orchestrator.invoke("order", {"name": "bread", "args": {}})
            await orchestrator.conclude(result)
            return result.verdict

    assert asyncio.run(go()) == "allow"
    assert not (tmp_path / "state").exists()


def test_a_file_has_one_state_folder_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that was started from one folder is found from another; a moved link is still the same file."""
    shop = write_shop(tmp_path / "releases" / "shop")
    monkeypatch.chdir(shop)
    there = state_folder(shop / "pipeline.yaml")
    assert state_folder(Path("pipeline.yaml")) == there
    assert state_folder(Path("..") / "shop" / "pipeline.yaml") == there
    assert state_folder(shop / ".." / "shop" / "pipeline.yaml") == there
    other = write_shop(tmp_path / "other" / "shop")
    assert state_folder(other / "pipeline.yaml") != there
    (tmp_path / "current").symlink_to(shop)
    before = state_folder(tmp_path / "current" / "pipeline.yaml")
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to(other)
    assert state_folder(tmp_path / "current" / "pipeline.yaml") == before


def test_a_key_finds_its_verdict_after_the_pipeline_was_changed(tmp_path: Path, store: Store) -> None:
    """The stored verdict is read back with the plan that it was reached with, not with the one that serves now."""
    shop = write_shop(tmp_path / "shop")
    payload = {"name": "bread", "args": {}}

    async def order(key: str) -> tuple[str, str | None]:
        orchestrator = Orchestrator(load(shop), store, state=tmp_path / "state")
        async with asyncio.timeout(WAIT_SECONDS), orchestrator:
            result = await orchestrator.invoke("order", payload, idempotency_key=key)
            await orchestrator.conclude(result)
            return result.verdict, result.reply.run_id

    first = asyncio.run(order("one"))
    file = shop / "pipeline.yaml"
    stage = "      weigh: { uses: till/weigh, needs: [pay], breaker: steady }\n"
    assert stage in file.read_text()
    file.write_text(file.read_text().replace(stage, "", 1))
    assert asyncio.run(order("one")) == first
    assert asyncio.run(order("two")) != first
