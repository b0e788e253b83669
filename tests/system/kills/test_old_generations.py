"""A plugin changes between two lives of its host: what began with the old one goes on with it, or is parked."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from lives import Told, World, hosts
from proof import Ledger, check, runs_of

from isolation.manifest import read_manifest
from isolation.store.store import Store
from orchestrator.journal.opening import open_journal
from orchestrator.revisions.archive import read_archive
from pipelines.run import MACHINE_VERSION

PENSTOCK = Path(sysconfig.get_path("scripts")) / "penstock"
WAIT_SECONDS = 120.0
"""Bounds every wait; the machine may be busy with other tests."""

HANGS: Mapping[str, object] = {"trouble": {"notify": "hang"}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world in which a host was killed when its one run had reserved and charged."""
    world = World(tmp_path)
    begin_and_kill(world, Told())
    return world


def begin_and_kill(world: World, told: Told) -> None:
    with hosts(world, told) as host:
        host.begin(json.dumps([{"hook": "chained", "args": HANGS}]))
        host.ready()
        until = time.monotonic() + WAIT_SECONDS
        while len(happened(world)) < 2 and time.monotonic() < until:
            os.sched_yield()  # the ledger tells nobody
        host.kill()
    assert [line["stage"] for line in happened(world)] == ["reserve", "charge"]


def happened(world: World) -> list[dict[str, object]]:
    if not world.ledger.exists():
        return []
    return [json.loads(line) for line in world.ledger.read_text().splitlines()]


def change(world: World, name: str) -> None:
    """From now on the ledger says that another generation wrote it."""
    path = world.plugin / "world.py"
    text = path.read_text()
    plain = '"pid": os.getpid()'
    assert plain in text
    path.write_text(text.replace(plain, f'{plain}, "by": "{name}"'))


def calm_life(world: World, told: Told) -> None:
    with hosts(world, told) as host:
        host.begin("calm")
        assert host.ended() == 0


def archived_snapshot(world: World) -> Path:
    """Where the store keeps the files of the plugin of the one archived plan."""
    loop = asyncio.new_event_loop()
    with open_journal(world.state, loop=loop, machine=MACHINE_VERSION) as journal:
        (digest,) = {row.plan for row in journal.unfinished()}  # type: ignore[union-attr]  # none is unreadable
        body = journal.plan(digest)
    loop.close()
    assert body is not None
    return Path(read_archive(body).plugins["shop"].snapshot)


def penstock(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(PENSTOCK), *arguments]
    environment = {**os.environ, "PENSTOCK_STORE": str(world.store)}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False, cwd=world.folder, env=environment
    )


def test_a_run_goes_on_with_the_generation_that_it_began_with(world: World) -> None:
    change(world, "second")
    told = Told()
    with hosts(world, told) as host:
        host.begin(json.dumps([{"hook": "chained", "args": {}}]))
        host.ready()
        host.listen_to(1, WAIT_SECONDS)
        host.kill()
    calm_life(world, told)
    old, new = runs_of(world.state).values() if len(told.having("heard")) == 1 else (None, None)
    assert old is not None and new is not None
    if old.verdict != "deny":
        old, new = new, old
    lines = happened(world)
    assert {line.get("by") for line in lines if str(line["key"]).startswith(old.id)} == {None}
    assert [line["what"] for line in lines if str(line["key"]).startswith(old.id)] == ["do", "do", "undo", "undo"]
    assert {line.get("by") for line in lines if str(line["key"]).startswith(new.id)} == {"second"}
    check(runs_of(world.state), Ledger.read(world.ledger), told)


def test_a_run_whose_generation_is_gone_is_parked_and_goes_on_when_it_is_back(world: World, tmp_path: Path) -> None:
    snapshot = archived_snapshot(world).parent
    change(world, "second")
    aside = tmp_path / "aside"
    shutil.move(snapshot, aside)
    calm_life(world, Told())

    listed = penstock(world, "runs", "list", "pipeline.yaml", "--state", "state", "--status", "parked", "--json")
    (record,) = json.loads(listed.stdout)
    run = record["run_id"]
    shown = penstock(world, "runs", "show", run[-6:], "pipeline.yaml", "--state", "state")
    assert shown.returncode == 0, shown.stderr
    text = " ".join(shown.stdout.split())
    assert f"{run} chain on chained" in text and "parked" in text
    assert "its generation is gone" in text and "is missing" in text
    # Of what happened everything is there that somebody needs who finishes it by hand.
    assert '"id": "reserve"' in text and f'"receipt": "reserve:{run}/reserve"' in text

    still = penstock(world, "runs", "resume", run, "pipeline.yaml", "--state", "state")
    assert still.returncode != 0
    assert "its generation is gone" in still.stderr
    assert [line["what"] for line in happened(world)] == ["do", "do"]

    shutil.move(aside, snapshot)
    resumed = penstock(world, "runs", "resume", run, "pipeline.yaml", "--state", "state", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["status"] == "undone"
    assert [line["stage"] for line in happened(world)] == ["reserve", "charge", "refund", "release"]
    assert all("by" not in line for line in happened(world))
    check(runs_of(world.state), Ledger.read(world.ledger), Told())


def test_a_collection_leaves_what_a_journal_still_needs(world: World) -> None:
    snapshot = archived_snapshot(world).parent
    before = set((world.store / "snapshots").iterdir())
    with Store(world.store, offline=True, pipeline=world.file, background_bytecode=False) as store:
        for number in range(5):
            path = world.plugin / "world.py"
            path.write_text(path.read_text() + f"# change {number}\n")
            store.prepare(read_manifest(world.plugin))
    held = set((world.store / "snapshots").iterdir())
    collected = penstock(world, "env", "gc")
    assert collected.returncode == 0, collected.stderr
    left = set((world.store / "snapshots").iterdir())
    assert before <= left and snapshot in left
    assert left < held, "nothing was collected, so that nothing was held back"
    calm_life(world, Told())
    assert [run.status for run in runs_of(world.state).values()] == ["undone"]
