"""Several penstock processes in one store, and processes that are killed at any moment. Real processes, real kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from wheelhouse import Project

from isolation.manifest import read_manifest
from isolation.store.filelock import FileLock, LockMode, LockTimeout
from isolation.store.store import Store

CONTENDER = Path(__file__).with_name("contender.py")
ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60.0
KILLS = 30


@contextmanager
def contender(store: Path, source: Path, variables: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(CONTENDER), str(store), str(source), *options],
        env={**variables, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(process: subprocess.Popen[str]) -> list[dict[str, str]]:
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def next_line(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    found: dict[str, str] = json.loads(process.stdout.readline())
    return found


def imports(python: str) -> str:
    code = "import alpha, beta, gamma; print(alpha.value, gamma.name_1999)"
    return subprocess.run([python, "-I", "-B", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_processes_that_start_at_once_build_once(project: Project, variables: dict[str, str], tmp_path: Path) -> None:
    source, store = project("one", "alpha<2", "beta", "gamma"), tmp_path / "store"
    with (
        contender(store, source, variables) as one,
        contender(store, source, variables) as two,
        contender(store, source, variables) as three,
        contender(store, source, variables) as four,
    ):
        told = [lines(process) for process in (one, two, three, four)]
    assert len({json.dumps(entry[-1]) for entry in told}) == 1
    assert sum(event.get("phase") == "built" for entry in told for event in entry) == 1
    assert imports(told[0][-1]["python"]) == "1 1999"


def test_killed_at_any_moment_it_leaves_nothing_wrong(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    """Kill a first start again and again, a little later each time; whatever is in the store then is right."""
    source, store = project("one", "alpha<2", "beta", "gamma"), tmp_path / "store"
    began = time.monotonic()
    with contender(tmp_path / "measured", source, variables) as process:
        lines(process)
    whole = time.monotonic() - began
    chance = random.Random(7)
    for turn in range(KILLS):
        if turn % 3 == 0:
            (source / "uv.lock").unlink(missing_ok=True)
        if turn % 5 == 0:
            source.joinpath("plugin.py").write_text(f"turn = {turn}\n")
        with contender(store, source, variables) as process:
            try:
                process.wait(whole * (turn + chance.random()) / KILLS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        for environment in (store / "environments").glob("*"):
            assert imports(str(environment / "bin" / "python")) == "1 1999"
        if (source / "uv.lock").exists():
            assert "gamma" in (source / "uv.lock").read_text()
    with Store(store, environment=variables, background_bytecode=False) as last:
        prepared = last.prepare(read_manifest(source))
        assert imports(str(prepared.python)) == "1 1999"
        assert (prepared.snapshot / "plugin.py").read_text() == (source / "plugin.py").read_text()
        wait_for_orphans(store)
        last.gc()
        assert list((store / "building").iterdir()) == []


def wait_for_orphans(store: Path) -> None:
    """Wait for a uv whose host was killed: it holds its workplace until it ends."""
    for lock in (store / "building").glob("*.lock"):
        wait_until_free(lock)


def wait_until_free(lock: Path) -> None:
    """Wait until nobody holds a lock, not even a process that a killed one has left to notice its end."""
    FileLock.take(lock, LockMode.EXCLUSIVE, within_seconds=PATIENCE_SECONDS).release()


def test_a_second_process_says_that_it_waits(project: Project, variables: dict[str, str], tmp_path: Path) -> None:
    source, root = project("one", "alpha<2"), tmp_path / "store"
    with Store(root, environment=variables, background_bytecode=False) as store:
        fingerprint = store.prepare(read_manifest(source)).fingerprint
        (root / "environments" / str(fingerprint) / "penstock-seal.json").unlink()
    held = FileLock.take(root / "locks" / f"build-{fingerprint}", LockMode.EXCLUSIVE)
    with contender(root, source, variables) as process:
        assert next_line(process)["phase"] == "waiting"
        held.release()
        assert lines(process)[-1]["python"]


def test_collection_leaves_alone_what_a_live_process_uses(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    source, root = project("one", "alpha<2", "beta", "gamma"), tmp_path / "store"
    with contender(root, source, variables, "hold") as process:
        told = next_line(process)
        while "python" not in told:
            told = next_line(process)
        source.rename(tmp_path / "gone")
        with Store(root, environment=variables) as other:
            assert other.gc().removed == ()
            assert [info.in_use for info in other.environments()] == [True]
            assert imports(told["python"]) == "1 1999"
            process.kill()
            process.wait(PATIENCE_SECONDS)
            wait_until_free(root / "leases" / Path(told["environment"]).name)
            report = other.gc()
    assert {entry.kind for entry in report.removed} == {"environments", "snapshots"}
    assert not Path(told["environment"]).exists()


def test_collection_keeps_the_last_three_generations(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    root, made = tmp_path / "store", []
    for number in range(5):
        with Store(root, environment=variables, background_bytecode=False) as store:
            manifest = read_manifest(project("one", files={"plugin.py": f"turn = {number}\n"}))
            made.append(store.prepare(manifest).digest)
    with Store(root, environment=variables) as store:
        planned = store.gc(dry_run=True)
        assert sorted(entry.name for entry in planned.removed) == sorted(made[:2])
        assert all(entry.bytes > 0 for entry in planned.removed)
        done = store.gc()
        assert done.removed == planned.removed
        assert (done.dry_run, planned.dry_run) == (False, True)
        assert sorted(path.name for path in (root / "snapshots").iterdir()) == sorted(made[2:])
        assert store.gc().removed == ()


def test_collection_keeps_what_it_is_told_to_keep(project: Project, variables: dict[str, str], tmp_path: Path) -> None:
    root, source = tmp_path / "store", project("one")
    with Store(root, environment=variables, background_bytecode=False) as store:
        prepared = store.prepare(read_manifest(source))
        source.rename(tmp_path / "gone")
        store.release(prepared)
        kept = store.gc(keep=[prepared.digest])
        assert prepared.digest not in [entry.name for entry in kept.removed]
        assert prepared.digest in [entry.name for entry in store.gc().removed]


def test_a_killed_host_takes_its_compiling_process_along(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    source, root = project("one", "alpha<2", "beta", "gamma"), tmp_path / "store"
    with contender(root, source, variables, "hold") as process:
        told = next_line(process)
        while "python" not in told:
            told = next_line(process)
        process.kill()
        process.wait(PATIENCE_SECONDS)
    wait_until_free(root / "locks" / "bytecode")
    wait_until_free(root / "leases" / Path(told["environment"]).name)
    assert imports(told["python"]) == "1 1999"


def test_a_removed_lock_file_locks_nothing(tmp_path: Path) -> None:
    """Whoever waited for a lock whose file is then removed ends up with a lock on the new file."""
    path = tmp_path / "lock"
    first = FileLock.take(path, LockMode.EXCLUSIVE)
    with pytest.raises(LockTimeout):
        FileLock.take(path, LockMode.SHARED, within_seconds=0.05)
    first.remove()
    second = FileLock.take(path, LockMode.EXCLUSIVE)
    assert os.path.samestat(os.fstat(second.descriptor), path.stat())
    with pytest.raises(LockTimeout):
        FileLock.take(path, LockMode.EXCLUSIVE)
    second.release()
