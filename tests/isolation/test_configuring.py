"""New configurations for running workers: all replicas or none, and no call is answered with another's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from living import PATIENCE_SECONDS, Asked, Gate, peer_spec, run, serving, spec_of, until

from isolation.errors import CallError, ConfigureError, PluginError, StartError
from isolation.generation import Generation
from isolation.protocol.messages import Invocation, envelope
from isolation.spec import WorkerSpec
from isolation.supervision import Intensity, State

PLUGIN = """
import os, signal, threading
from penstock_plugin import Plugin

plugin = Plugin()

@plugin.configure
{maybe_async}def check(config):
    n = config.get("n", 1)
    if "gate" in config:
        open(config["gate"]).close()
    if "once" in config:
        os.close(os.open(config["once"], os.O_CREAT | os.O_EXCL))
    if "own" in config:
        os.close(os.open(f"{{config['own']}}{{os.getpid()}}", os.O_CREAT | os.O_EXCL))
    if config.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if config.get("hang"):
        threading.Event().wait()
    return n

@plugin.stage("act")
{maybe_async}def act(call):
    return call.allow(out={{"n": call.config, "secret": call.secrets.get("token", ""), "pid": os.getpid()}})

@plugin.stage("gate")
def gate(call):
    open(call.payload["gate"]).close()
    return call.allow(out={{"n": call.config}})
"""
SEQUENTIAL = PLUGIN.format(maybe_async="")
CONCURRENT = PLUGIN.format(maybe_async="async ")

COMMAND = """
shake_hands()
held = {"c1": {"n": 1}}
for line in sys.stdin:
    message = json.loads(line)
    params = message["params"]
    if message["method"] == "configure":
        held = {name: one["with"] for name, one in params["configs"].items()}
        answer(message, {})
    elif message["method"] == "stage/invoke":
        answer(message, {"out": {"n": held[params["config"]]["n"], "pid": os.getpid()}})
    else:
        answer(message, {})
"""

FIRST = {"c1": {"with": {"n": 1}, "secrets": {}}}


def table(*numbers: int, **more: object) -> dict[str, object]:
    """A configuration for each number, which says it."""
    return {f"c{n}": {"with": {"n": n, **more}, "secrets": {}} for n in numbers}


def ask(generation: Generation, config: int = 1, stage: str = "act", payload: bytes = b"{}") -> Asked:
    """Submit one call with the configuration of a number."""
    asked = Asked(stage)
    static = envelope(stage, "tool_pre_invoke", f"c{config}")
    asked.invocation = Invocation(static, b"run", b"run/s", b"{}", b"{}", payload)
    generation.submit(asked)
    return asked


async def number(asked: Asked) -> int:
    """The configuration that a call was answered with."""
    out: dict[str, Any] = (await asked.answer())["out"]
    return int(out["n"])


async def configure(generation: Generation, configs: Mapping[str, object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await generation.configure(configs)


async def refusal(generation: Generation, configs: Mapping[str, object]) -> ConfigureError:
    """Why a table is not taken."""
    with pytest.raises(ConfigureError) as refused:
        await configure(generation, configs)
    return refused.value


async def assert_all_know(generation: Generation, config: int, replicas: int = 2) -> None:
    """Every replica answers with the configuration."""
    pids: set[int] = set()
    while len(pids) < replicas:
        calls = [ask(generation, config) for _ in range(4 * replicas)]
        pids |= {(await call.answer())["out"]["pid"] for call in calls}


def specs(folder: Path) -> dict[str, WorkerSpec]:
    """One of each kind of plugin."""
    for kind in ("sequential", "concurrent", "command"):
        (folder / kind).mkdir()
    return {
        "sequential": spec_of(folder / "sequential", SEQUENTIAL, "act", "gate"),
        "concurrent": spec_of(folder / "concurrent", CONCURRENT, "act", "gate"),
        "command": peer_spec(folder / "command", COMMAND),
    }


@pytest.mark.parametrize("kind", ["sequential", "concurrent", "command"])
def test_fifty_changes_under_32_calls_in_flight_disturb_none_of_them(tmp_path: Path, kind: str) -> None:
    """As in a reload: old and new together, then, when the old calls are over, the new ones alone."""
    answered = 0

    async def caller(generation: Generation, newest: list[int], over: asyncio.Event) -> None:
        nonlocal answered
        while not over.is_set():
            config = newest[0]
            using[config] = using.get(config, 0) + 1
            assert await number(ask(generation, config)) == config
            using[config] -= 1
            answered += 1

    using: dict[int, int] = {}

    async def main() -> None:
        async with serving(specs(tmp_path)[kind], replicas=2) as generation:
            pids = {worker.pid for worker in generation.workers}
            newest, over = [1], asyncio.Event()
            async with asyncio.TaskGroup() as callers:
                for _ in range(32):
                    callers.create_task(caller(generation, newest, over))
                for change in range(2, 27):
                    await configure(generation, table(change - 1, change))
                    newest[0] = change
                    await until(lambda old=change - 1: not using.get(old))  # type: ignore[misc]  # bound per change
                    await configure(generation, table(change))
                before = answered
                await until(lambda: answered >= before + 32)
                over.set()
            assert {worker.pid for worker in generation.workers} == pids, "no worker was replaced for it"

    run(main())
    assert answered > 50


def test_a_sequential_worker_takes_the_table_behind_the_calls_that_are_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "act", "gate")) as generation:
            gate = Gate(tmp_path)
            first = ask(generation, 1, "gate", b'{"gate": "%b"}' % str(gate.path).encode())
            change = asyncio.ensure_future(configure(generation, table(1, 2)))
            behind = ask(generation, 1)
            await asyncio.sleep(0)
            assert not change.done()
            await gate.reached()
            await change
            assert [await number(first), await number(behind), await number(ask(generation, 2))] == [1, 1, 2]

    run(main())


def test_where_one_replica_refuses_none_has_the_new_table(tmp_path: Path) -> None:
    """The second one that comes to the file is the one that refuses; whichever it is, both serve on as before."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "act"), replicas=2) as generation:
            pids = {worker.pid for worker in generation.workers}
            error = await refusal(generation, {**table(1), **table(2, once=str(tmp_path / "once"))})
            assert error.plugin == "living" and error.place in {worker.name for worker in generation.workers}
            assert "File exists" in error.reason and error.code == "penstock.configure"
            assert str(error).startswith(f"living: {error.place} refused its new configurations: ")
            await assert_all_know(generation, 1)
            for _ in range(8):
                refused = await ask(generation, 2).error()
                assert isinstance(refused, PluginError) and "was never configured" in str(refused)
            assert {worker.pid for worker in generation.workers} == pids
            await configure(generation, table(1, 3))
            await assert_all_know(generation, 3)

    run(main())


def test_a_replica_that_would_not_have_the_old_table_back_is_replaced_by_one_that_has_it(tmp_path: Path) -> None:
    """Each process takes the old table once; the one that took the new one as well is asked for it twice."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "act"), replicas=2) as generation:
            await configure(generation, table(1, 5, own=str(tmp_path / "own")) | table(1))
            pids = {worker.pid for worker in generation.workers}
            await refusal(generation, table(2, once=str(tmp_path / "once")))
            await until(lambda: len(generation.workers) == 2)
            assert len({worker.pid for worker in generation.workers} & pids) == 1
            await assert_all_know(generation, 5)

    run(main())


def test_a_replica_killed_in_the_middle_starts_again_with_the_table_that_was_taken(tmp_path: Path) -> None:
    async def main() -> None:
        gates = [Gate(tmp_path, "one"), Gate(tmp_path, "two")]
        async with serving(spec_of(tmp_path, SEQUENTIAL, "act", "gate"), replicas=2) as generation:
            doomed, other = generation.workers
            held = ask(generation, 1, "gate", b'{"gate": "%b"}' % str(gates[0].path).encode())
            assert held.worker == doomed.name
            change = asyncio.ensure_future(configure(generation, table(1, 2)))
            await until(lambda: other.outstanding == 0)
            os.kill(doomed.pid, signal.SIGKILL)
            assert isinstance(await held.error(), CallError)
            await change
            await until(lambda: len(generation.workers) == 2)
            await assert_all_know(generation, 2)

    run(main())


def test_a_replica_that_is_starting_during_the_change_gets_the_new_table_before_its_first_call(tmp_path: Path) -> None:
    async def main() -> None:
        gate = Gate(tmp_path)
        async with serving(spec_of(tmp_path, SEQUENTIAL, "act"), replicas=2) as generation:
            change = asyncio.ensure_future(configure(generation, table(2, gate=str(gate.path))))
            await until(lambda: change.done() or gate.opened() is None)  # both replicas come to it
            doomed = generation.workers[0]
            doomed.kill("the test says so")
            await until(lambda: len(generation._supervisor.alive) == 2 and doomed.gone.done())
            await configure(generation, {**table(2, gate=str(gate.path)), **table(3)})
            assert len(generation.workers) == 1, "the other one stands at its gate, or comes to it"
            await gate.reached()
            await until(lambda: len(generation.workers) == 2)
            await assert_all_know(generation, 3)

    run(main())


def test_a_table_that_ends_the_only_replica_is_refused_and_the_old_one_serves_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "act")) as generation:
            error = await refusal(generation, {**table(1), **table(2, die=True)})
            assert "was killed by signal 9" in error.reason
            assert await number(ask(generation, 1)) == 1
            assert generation.status.state is State.RUNNING

    run(main())


def test_a_generation_that_failed_is_started_with_a_new_table(tmp_path: Path) -> None:
    """Else a plugin that failed of its configuration could never be given a better one."""

    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "act")
        async with serving(spec, replicas=2, intensity=Intensity(restarts=0)) as generation:
            for worker in generation.workers:
                worker.kill("the test says so")
            await until(lambda: generation.failure)
            await configure(generation, table(2))
            assert generation.failure is None
            await assert_all_know(generation, 2)

    run(main())


def test_a_replica_that_hangs_over_a_table_is_ended_and_the_table_refused(tmp_path: Path) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "act", startup_seconds=4.0)
        async with serving(spec) as generation:
            hung = generation.workers[0]
            error = await refusal(generation, {**table(1), **table(2, hang=True)})
            assert "`configure` was not answered within 4 s" in error.reason
            assert hung.planned_end, "it does not count as a crash"
            assert await number(ask(generation, 1)) == 1

    run(main())


def test_who_gives_up_waiting_leaves_no_half_changed_replicas(tmp_path: Path) -> None:
    async def main() -> None:
        gate = Gate(tmp_path)
        async with serving(spec_of(tmp_path, SEQUENTIAL, "act"), replicas=1) as generation:
            change = asyncio.ensure_future(generation.configure({**table(1), **table(2, gate=str(gate.path))}))
            await until(lambda: generation.workers[0].outstanding)
            change.cancel()
            await asyncio.gather(change, return_exceptions=True)
            await gate.reached()
            await configure(generation, table(2, 3))  # it stands in the row behind the first
            assert await number(ask(generation, 3)) == 3

    run(main())


def test_a_generation_that_is_stopped_refuses_and_nothing_is_left_waiting(tmp_path: Path) -> None:
    async def main() -> None:
        gate = Gate(tmp_path)
        async with serving(spec_of(tmp_path, SEQUENTIAL, "act")) as generation:
            change = asyncio.ensure_future(refusal(generation, table(2, gate=str(gate.path))))
            await until(lambda: generation.workers[0].outstanding)
        await change
        assert "is being stopped" in str(await refusal(generation, table(3)))

    run(main())


def test_secrets_are_handed_over_and_a_refusal_is_an_error_of_the_start(tmp_path: Path) -> None:
    """ConfigureError is a StartError: who brings a change into service has one thing to catch."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "act")) as generation:
            await configure(generation, {"c2": {"with": {}, "secrets": {"token": "t0ken"}}})
            assert (await ask(generation, 2).answer())["out"]["secret"] == "t0ken"
            assert isinstance(
                await refusal(generation, {"c3": {"with": {"gate": "/nowhere"}, "secrets": {}}}), StartError
            )

    run(main())
