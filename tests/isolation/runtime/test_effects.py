"""The ledger of effects: done once, undone once, never done after its undo, whoever dies or comes late."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isolation.runtime.penstock_plugin import Busy, Call, Retryable, Start, Undone
from isolation.runtime.penstock_plugin.effects import TRANSITIONS, Effects
from isolation.spec import LAUNCHER

PATIENCE_SECONDS = 10.0
"""Bounds every wait for what should come at once."""
DAY_SECONDS = 86400.0


@dataclass
class Parameters:
    key: str
    undoes: str | None = None
    stage: str = "stage"
    hook: str = "tool_pre_invoke"
    config: str = "c1"
    run: str = "R1"
    attempt: int = 1
    deadline_ms: float | None = None
    trace: str | None = None
    input: object = None
    context: object = None


def do(key: str) -> Call:
    return Call(1, Parameters(key), {}, ({}, {}), None, lambda value: value, lambda members: None)


def undo(key: str, *, seconds: float = PATIENCE_SECONDS) -> Call:
    until = monotonic() + seconds
    return Call(1, Parameters(f"{key}/undo", key), {}, ({}, {}), until, lambda value: value, lambda members: None)


def opened(folder: Path, **members: object) -> Effects:
    effects = Effects(**members)  # type: ignore[arg-type]
    effects.open(Start("test", "1", folder, lambda members: None))
    return effects


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    return opened(tmp_path)


def reserve(effects: Effects, key: str, ticket: int = 1) -> dict[str, object]:
    with effects.once(do(key)) as effect:
        if effect.due:
            effect.out = {"ticket": ticket}
    return effect.out


def test_what_is_done_twice_is_done_once_and_says_the_same(effects: Effects) -> None:
    assert reserve(effects, "k", 1) == {"ticket": 1}
    assert reserve(effects, "k", 2) == {"ticket": 1}
    assert reserve(effects, "other", 3) == {"ticket": 3}


def test_an_undo_is_told_what_was_done_and_happens_once(effects: Effects) -> None:
    reserve(effects, "k", 7)
    with effects.undo(undo("k")) as first:
        assert (first.due, first.did, first.unknown) == (True, {"ticket": 7}, False)
        first.out = {"released": 7}
    with effects.undo(undo("k")) as again:
        assert (again.due, again.out) == (False, {"released": 7})


def test_what_never_happened_has_nothing_to_undo_and_is_refused_for_ever(effects: Effects, tmp_path: Path) -> None:
    with effects.undo(undo("k")) as effect:
        assert not effect.due
    for ledger in (effects, opened(tmp_path)):  # this worker, and one that was started later
        with pytest.raises(Undone, match="must not be done any more"):
            reserve(ledger, "k")


def test_what_was_undone_is_not_done_again(effects: Effects) -> None:
    reserve(effects, "k")
    with effects.undo(undo("k")):
        pass
    with pytest.raises(Undone):
        reserve(effects, "k")


def test_an_effect_that_failed_is_unknown_to_whoever_comes_next(effects: Effects) -> None:
    for unknown in (False, True):
        with contextlib.suppress(ConnectionError), effects.once(do("k")) as effect:
            assert (effect.due, effect.unknown) == (True, unknown)
            raise ConnectionError
    with effects.undo(undo("k")) as effect:
        assert (effect.due, effect.did, effect.unknown) == (True, None, True)


def test_an_undo_that_failed_is_tried_again(effects: Effects) -> None:
    reserve(effects, "k")
    with pytest.raises(ConnectionError), effects.undo(undo("k")):
        raise ConnectionError
    with pytest.raises(Undone):
        reserve(effects, "k")
    with effects.undo(undo("k")) as effect:
        assert (effect.due, effect.did, effect.unknown) == (True, {"ticket": 1}, True)
    with effects.undo(undo("k")) as effect:
        assert not effect.due


def test_a_worker_that_dies_in_the_middle_leaves_its_effect_unknown(effects: Effects, tmp_path: Path) -> None:
    """Its hold on the key ends with it, and what it left on the disk is swept up."""
    program = f"""
import os, pathlib
from penstock_plugin import Start
from penstock_plugin.effects import Effects
class Do: key = "k"
effects = Effects()
effects.open(Start("test", "1", pathlib.Path({str(tmp_path)!r}), print))
with effects.once(Do) as effect:
    os.kill(os.getpid(), 9)
"""
    died = subprocess.run([sys.executable, "-S", "-c", program], env={"PYTHONPATH": str(LAUNCHER.parent)}, check=False)
    assert died.returncode == -9
    assert list(tmp_path.rglob("*.lock"))
    with opened(tmp_path).undo(undo("k")) as effect:
        assert (effect.due, effect.did, effect.unknown) == (True, None, True)
    assert not list(tmp_path.rglob("*.lock"))


class Doing(threading.Thread):
    """Another worker, in the middle of its effect until it is told to go on. `ended` is what it raised, if anything."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.effects = opened(folder)
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.ended: BaseException | None = None

    def run(self) -> None:
        try:
            with self.effects.once(do("k")) as effect:
                self.inside.set()
                assert self.go_on.wait(PATIENCE_SECONDS)
                effect.out = {"ticket": 5}
        except Undone as error:
            self.ended = error

    def __enter__(self) -> Doing:
        self.start()
        assert self.inside.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *what: object) -> None:
        self.go_on.set()
        self.join(PATIENCE_SECONDS)


def test_a_second_attempt_beside_the_first_is_busy(effects: Effects, tmp_path: Path) -> None:
    with Doing(tmp_path), pytest.raises(Busy, match="still at it"):
        reserve(effects, "k")
    assert reserve(effects, "k") == {"ticket": 5}


def test_an_undo_that_comes_while_it_is_done_waits_and_finds_what_was_done(effects: Effects, tmp_path: Path) -> None:
    with Doing(tmp_path) as doing:
        threading.Thread(target=_end_at_an_undo, args=(doing,)).start()
        with effects.undo(undo("k")) as effect:
            assert (effect.due, effect.did) == (True, {"ticket": 5})
    assert isinstance(doing.ended, Undone)


def test_an_undo_that_cannot_wait_is_remembered_and_asks_to_be_called_again(effects: Effects, tmp_path: Path) -> None:
    with Doing(tmp_path):
        with pytest.raises(Retryable, match="still being done"), effects.undo(undo("k", seconds=0.0)):
            pass
        with pytest.raises(Undone):
            reserve(effects, "k")
    with pytest.raises(Undone):
        reserve(effects, "k")
    with effects.undo(undo("k")) as effect:
        assert (effect.due, effect.did) == (True, {"ticket": 5})


def test_an_async_call_that_is_cancelled_while_it_waits_keeps_no_key(effects: Effects, tmp_path: Path) -> None:
    async def main() -> None:
        with Doing(tmp_path) as doing:
            waiting = asyncio.ensure_future(_undone(effects))
            await asyncio.to_thread(_wait_for_an_undo, effects)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            doing.go_on.set()
            await asyncio.get_running_loop().shutdown_default_executor()  # the thread that waited has its key now

    asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))
    with effects.undo(undo("k")) as effect:
        assert (effect.due, effect.did) == (True, {"ticket": 5})


def test_in_async_code_the_same_holds(effects: Effects) -> None:
    async def main() -> None:
        for due in (True, False):
            async with effects.once(do("k")) as effect:
                assert effect.due is due
                effect.out = {"ticket": 8}
        async with effects.undo(undo("k")) as effect:
            assert (effect.due, effect.did) == (True, {"ticket": 8})
        with pytest.raises(Undone):
            await effects.once(do("k")).__aenter__()

    asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))


def _wait_for_an_undo(effects: Effects) -> None:
    until = monotonic() + PATIENCE_SECONDS
    while effects.read("k").state != "undoing":
        assert monotonic() < until
        os.sched_yield()


def _end_at_an_undo(doing: Doing) -> None:
    _wait_for_an_undo(doing.effects)
    doing.go_on.set()


async def _undone(effects: Effects) -> None:
    async with effects.undo(undo("k")):
        raise AssertionError("it was cancelled before it could begin")


def test_what_is_old_is_forgotten(tmp_path: Path) -> None:
    now = [0.0]
    effects = opened(tmp_path, keep_days=2, clock=lambda: now[0])
    reserve(effects, "old", 1)
    now[0] += DAY_SECONDS * 1.5
    reserve(effects, "young", 1)
    now[0] += DAY_SECONDS
    effects.open(Start("test", "1", tmp_path, lambda members: None))
    assert (reserve(effects, "old", 2), reserve(effects, "young", 2)) == ({"ticket": 2}, {"ticket": 1})


def test_every_pair_of_state_and_event_is_in_the_table_or_refused(effects: Effects) -> None:
    ways = {"absent": [], "begun": ["do"], "done": ["do", "did"], "undoing": ["do", "undo"], "undone": ["undo"]}
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(ways)
    for state, event in itertools.product(ways, ("do", "did", "undo", "undid")):
        key = f"{state}/{event}"
        for step in ways[state]:
            effects.apply(key, step)
        assert effects.read(key).state == state
        if (state, event) in TRANSITIONS:
            assert effects.apply(key, event)[1].state == TRANSITIONS[state, event]
        else:
            with pytest.raises(Undone):
                effects.apply(key, event)
            assert effects.read(key).state == state


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["do", "undo"]), st.sampled_from("ab"), st.booleans()), max_size=12))
def test_whatever_comes_in_whatever_order_an_undone_key_is_never_done(
    events: list[tuple[str, str, bool]],
) -> None:
    """`True` is an effect that fails. What the world sees is at most one success each, and nothing after the undo."""
    with tempfile.TemporaryDirectory() as folder:
        effects = opened(Path(folder))
        world: list[tuple[str, str]] = []
        to_undo: set[str] = set()
        for what, key, fails in events:
            guard = effects.once(do(key)) if what == "do" else effects.undo(undo(key))
            try:
                with guard as effect:
                    assert what == "undo" or key not in to_undo
                    if effect.due and fails:
                        raise ConnectionError
                    if effect.due:
                        world.append((what, key))
            except ConnectionError:
                pass
            except Undone:
                assert what == "do" and key in to_undo
            if what == "undo":
                to_undo.add(key)
        assert len(world) == len(set(world))
        for key in to_undo & {key for what, key in world if what == "do"}:
            if ("undo", key) in world:
                assert world.index(("do", key)) < world.index(("undo", key))
        effects.close()


def test_many_workers_do_each_key_once_and_undo_each_key_once(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, random
from penstock_plugin import Busy, Retryable, Start, Undone
from penstock_plugin.effects import Effects
class Do:
    def __init__(self, key): self.key = key
class Deadline:
    def remaining(self): return 60.0
class Undo:
    deadline = Deadline()
    def __init__(self, key): self.undoes = key
folder = pathlib.Path({str(tmp_path)!r})
effects = Effects()
effects.open(Start("test", "1", folder, print))
log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
calls = [(kind, str(n)) for n in range(12) for kind in ("do", "do", "undo")]
random.shuffle(calls)
while calls:
    kind, key = calls.pop()
    try:
        with (effects.once(Do(key)) if kind == "do" else effects.undo(Undo(key))) as effect:
            if effect.due:
                os.write(log, (kind + " " + key + chr(10)).encode())
    except (Busy, Retryable):
        calls.insert(0, (kind, key))
    except Undone:
        pass
"""
    workers = [
        subprocess.Popen([sys.executable, "-S", "-c", program], env={"PYTHONPATH": str(LAUNCHER.parent)})
        for _ in range(3)
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    lines = (tmp_path / "log").read_text().split("\n")[:-1]
    assert len(lines) == len(set(lines))
    for key in range(12):
        if f"do {key}" in lines:
            assert lines.index(f"do {key}") < lines.index(f"undo {key}")
    assert not list(tmp_path.rglob("*.lock"))


def test_workers_that_are_killed_at_any_point_do_each_key_once_and_undo_each_key_once(tmp_path: Path) -> None:
    """Each kills itself now and then, before, amid and after its effect; where that is unknown, the world is asked."""
    program = f"""
import os, pathlib, random, sys
from penstock_plugin import Busy, Retryable, Start, Undone
from penstock_plugin.effects import Effects
class Do:
    def __init__(self, key): self.key = key
class Deadline:
    def remaining(self): return 60.0
class Undo:
    deadline = Deadline()
    def __init__(self, key): self.undoes = key
dice = random.Random(int(sys.argv[1]))
folder = pathlib.Path({str(tmp_path)!r})
def live_or_die():
    if dice.random() < 0.15:
        os.kill(os.getpid(), 9)
log = os.open(folder / "log", os.O_RDWR | os.O_APPEND | os.O_CREAT)
def tell(line, effect):
    live_or_die()
    if not (effect.unknown and line.encode() in (folder / "log").read_bytes().split(b"\\n")):
        os.write(log, (line + chr(10)).encode())
    live_or_die()
effects = Effects()
effects.open(Start("test", "1", folder, print))
calls = [(kind, str(n)) for n in range(8) for kind in ("do", "undo")]
dice.shuffle(calls)
while calls:
    kind, key = calls.pop()
    live_or_die()
    try:
        if kind == "do":
            with effects.once(Do(key)) as effect:
                if effect.due:
                    tell("do " + key, effect)
        else:
            with effects.undo(Undo(key)) as effect:
                if effect.due and b"do " + key.encode() in (folder / "log").read_bytes().split(b"\\n"):
                    tell("undo " + key, effect)
    except (Busy, Retryable):
        calls.insert(0, (kind, key))
    except Undone:
        pass
"""
    seeds = itertools.count()

    def work(ends: list[int]) -> None:
        while not ends or ends[-1] != 0:
            command = [sys.executable, "-S", "-c", program, str(next(seeds))]
            ends.append(subprocess.run(command, env={"PYTHONPATH": str(LAUNCHER.parent)}, check=False).returncode)
            assert ends[-1] in (0, -9)

    ends: list[list[int]] = [[], [], []]
    workers = [threading.Thread(target=work, args=(each,)) for each in ends]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [each[-1] for each in ends] == [0, 0, 0]
    assert sum(map(len, ends)) > 3, "nothing was killed"
    lines = (tmp_path / "log").read_text().split("\n")[:-1]
    assert len(lines) == len(set(lines))
    done = [line.split()[1] for line in lines if line.startswith("do ")]
    undone = [line.split()[1] for line in lines if line.startswith("undo ")]
    assert done and sorted(done) == sorted(undone)
    assert all(lines.index(f"do {key}") < lines.index(f"undo {key}") for key in done)


def test_a_ledger_without_a_directory_says_what_the_manifest_lacks() -> None:
    with pytest.raises(RuntimeError, match="write `data = true`"):
        Effects().open(Start("test", "1", None, lambda members: None))
    with pytest.raises(RuntimeError, match=r"write plugin\.startup\(effects\.open\)"):
        Effects().once(do("k"))


def test_an_ordinary_call_cannot_undo(effects: Effects) -> None:
    with pytest.raises(ValueError, match=r"declare it with @plugin\.compensation"):
        effects.undo(do("k"))


def test_a_ledger_of_a_newer_version_is_refused(effects: Effects, tmp_path: Path) -> None:
    assert effects._database is not None
    effects._database.execute("PRAGMA user_version = 2")
    with pytest.raises(RuntimeError, match="written by a newer version: 2"):
        opened(tmp_path)
