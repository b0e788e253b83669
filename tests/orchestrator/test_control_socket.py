"""The door for commands, over real sockets: who may use it, what it survives, and what callers are told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from orchestrator.control.refusal import Answer, Refused
from orchestrator.control.socket import SOCKET, HostGone, HostSilent, NoHost, ask, ask_stream, served
from orchestrator.state import hold_state

WAIT_SECONDS = 20.0
"""The longest that any of these may take."""

_T = TypeVar("_T")


class Desk:
    """Answers a command by its name."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()
        self.ended = asyncio.Event()

    async def perform(self, command: str, params: Mapping[str, object], *, by: str) -> Answer:
        """Follow it."""
        self.asked.append(command)
        self.by = by
        match command:
            case "echo":
                return dict(params)
            case "wait":
                self.waiting.set()
                await self.go_on.wait()
                return {"waited": True}
            case "crash":
                raise ZeroDivisionError("a bug")
        raise Refused("penstock.no_such", f"no {command}", "try echo")

    streams: Mapping[str, object] = {"count": None, "silence": None, "break": None}

    async def stream(self, name: str, params: Mapping[str, object], *, by: str) -> AsyncIterator[Mapping[str, object]]:
        """Count, then end; or say one thing and no more, until it is closed."""
        try:
            for number in range(3):
                yield {"number": number}
                if name == "break":
                    raise Refused("penstock.no_such", "no more", "")
                if name == "silence":
                    self.waiting.set()
                    await self.go_on.wait()
        finally:
            self.ended.set()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder."""
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    return made


def run(main: Coroutine[object, object, _T]) -> _T:
    async def bounded() -> _T:
        async with asyncio.timeout(WAIT_SECONDS):
            return await main

    return asyncio.run(bounded())


@asynccontextmanager
async def desk_at(folder: Path, *, beat_seconds: float = 60.0) -> AsyncIterator[Desk]:
    desk = Desk()
    async with served(desk, folder, beat_seconds=beat_seconds):
        yield desk


async def asked(folder: Path, command: str, **params: object) -> Answer:
    return await asyncio.to_thread(ask, folder, command, params)


@contextlib.asynccontextmanager
async def line_to(folder: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(str(folder / SOCKET))
    try:
        yield reader, writer
    finally:
        writer.close()


def test_a_command_is_answered(folder: Path) -> None:
    async def go() -> Answer:
        async with desk_at(folder):
            return await asked(folder, "echo", text="ü", number=3)

    assert run(go()) == {"text": "ü", "number": 3}


def test_a_refusal_reaches_the_caller_whole(folder: Path) -> None:
    async def go() -> None:
        async with desk_at(folder):
            await asked(folder, "nonsense")

    with pytest.raises(Refused, match="no nonsense") as refusal:
        run(go())
    assert (refusal.value.code, refusal.value.hint) == ("penstock.no_such", "try echo")


def test_who_still_waits_when_the_host_stops_leaves_no_traceback(folder: Path) -> None:
    async def go() -> list[dict[str, object]]:
        wrong: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
        async with desk_at(folder) as desk:
            waiting = asyncio.ensure_future(asked(folder, "wait"))
            await desk.waiting.wait()
        with pytest.raises(HostGone):
            await waiting
        return wrong

    assert run(go()) == []


def test_the_socket_is_for_its_owner_alone(folder: Path) -> None:
    async def go() -> int:
        async with desk_at(folder):
            return stat.S_IMODE((folder / SOCKET).stat().st_mode)

    assert run(go()) == 0o600


def test_a_folder_that_others_may_enter_is_not_served(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.chmod(0o750)
    assert hold_state(folder) is None
    assert [record.getMessage() for record in caplog.records] == ["state.not_held"]


def test_a_new_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    held = hold_state(tmp_path / "a" / "b")
    assert held is not None
    with held:
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_folder_is_held_by_one_host(folder: Path) -> None:
    first = hold_state(folder)
    assert first is not None
    with first:
        assert hold_state(folder) is None
    again = hold_state(folder)
    assert again is not None
    again.release()


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 200)
    deep.mkdir(mode=0o700)

    async def go() -> Answer:
        async with desk_at(deep):
            return await asked(deep, "echo", fine=True)

    assert run(go()) == {"fine": True}
    assert not (deep / SOCKET).exists()


def test_without_a_host_the_caller_is_told(folder: Path) -> None:
    with pytest.raises(NoHost):
        ask(folder, "echo", {})
    with pytest.raises(NoHost):
        ask(folder / "not there", "echo", {})


def test_a_dead_hosts_socket_is_no_host_and_is_replaced(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / SOCKET))
    with pytest.raises(NoHost):
        ask(folder, "echo", {})

    async def go() -> Answer:
        async with desk_at(folder):
            return await asked(folder, "echo", fine=True)

    assert run(go()) == {"fine": True}
    assert not (folder / SOCKET).exists()


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"command": 7}',
        b'{"command": "echo", "extra": 1}',
        b"[" * 20_000,
        b"null",
    ],
)
def test_a_line_that_is_no_command_is_answered_as_such_and_the_next_one_counts(folder: Path, line: bytes) -> None:
    async def go() -> tuple[object, object]:
        async with desk_at(folder), line_to(folder) as (reader, writer):
            writer.write(line + b'\n{"command": "echo", "params": {"fine": true}}\n')
            return msgspec.json.decode(await reader.readline()), msgspec.json.decode(await reader.readline())

    first, second = run(go())
    assert isinstance(first, dict)
    assert first["error"]["code"] == "penstock.bad_command"
    assert second == {"result": {"fine": True}}


def test_an_endless_line_ends_its_caller_and_no_other(folder: Path) -> None:
    async def go() -> tuple[bytes, Answer]:
        async with desk_at(folder):
            async with line_to(folder) as (reader, writer):
                writer.write(b"x" * 2**20)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                try:
                    said = await reader.read()
                except ConnectionError:
                    said = b""
            return said, await asked(folder, "echo", fine=True)

    assert run(go()) == (b"", {"fine": True})


def test_a_bug_is_answered_and_logged_and_the_host_goes_on(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def go() -> Answer:
        async with desk_at(folder):
            with pytest.raises(Refused) as refusal:
                await asked(folder, "crash")
            assert refusal.value.code == "penstock.internal"
            return await asked(folder, "echo", fine=True)

    assert run(go()) == {"fine": True}
    assert "control.crashed" in [record.getMessage() for record in caplog.records]


def test_a_caller_that_goes_away_does_not_stop_what_it_asked_for(folder: Path) -> None:
    async def go() -> tuple[list[str], Answer]:
        async with desk_at(folder) as desk:
            async with line_to(folder) as (_, writer):
                writer.write(b'{"command": "wait"}\n')
                await desk.waiting.wait()
            desk.go_on.set()
            return desk.asked, await asked(folder, "echo", fine=True)

    assert run(go()) == (["wait", "echo"], {"fine": True})


def test_callers_do_not_wait_for_each_other(folder: Path) -> None:
    async def go() -> tuple[list[Answer], Answer]:
        async with desk_at(folder) as desk:
            slow = asyncio.ensure_future(asked(folder, "wait"))
            await desk.waiting.wait()
            quick = await asyncio.gather(*(asked(folder, "echo", number=number) for number in range(20)))
            desk.go_on.set()
            return quick, await slow

    quick, slow = run(go())
    assert quick == [{"number": number} for number in range(20)]
    assert slow == {"waited": True}


def test_a_host_that_stops_hangs_up_on_whoever_waits(folder: Path) -> None:
    async def go() -> None:
        async with desk_at(folder) as desk:
            waiting = asyncio.ensure_future(asked(folder, "wait"))
            await desk.waiting.wait()
        await waiting

    with pytest.raises(HostGone):
        run(go())
    assert not (folder / SOCKET).exists()


def test_a_caller_waits_for_as_long_as_the_host_lives(folder: Path) -> None:
    """The host is heard several times before it answers."""

    async def go() -> tuple[list[bytes], bytes]:
        async with desk_at(folder, beat_seconds=0.01) as desk, line_to(folder) as (reader, writer):
            writer.write(b'{"command": "wait"}\n')
            beats = [await reader.readline() for _ in range(3)]
            desk.go_on.set()
            line = b"\n"
            while line == b"\n":
                line = await reader.readline()
            return beats, line

    assert run(go()) == ([b"\n"] * 3, b'{"result":{"waited":true}}\n')


def test_beats_are_no_answer(folder: Path) -> None:
    async def go() -> Answer:
        async with desk_at(folder, beat_seconds=0.001) as desk:
            waiting = asyncio.ensure_future(asked(folder, "wait"))
            await desk.waiting.wait()
            async with line_to(folder) as (reader, writer):
                writer.write(b'{"command": "wait"}\n')
                await reader.readline()
            desk.go_on.set()
            return await waiting

    assert run(go()) == {"waited": True}


def test_a_host_that_hangs_is_told_from_one_that_is_not_there(folder: Path) -> None:
    """Its kernel still takes connections; nobody answers them."""
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(folder / SOCKET))
        hung.listen()
        with pytest.raises(HostSilent):
            ask(folder, "echo", {}, silence_seconds=0.05)


def test_a_host_that_dies_in_the_middle_of_its_answer_is_gone(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(folder / SOCKET))
        dying.listen()

        async def go() -> None:
            answer = asyncio.ensure_future(asked(folder, "echo"))
            connection, _ = await asyncio.to_thread(dying.accept)
            connection.sendall(b'{"result": {"half":')
            connection.close()
            await answer

        with pytest.raises(HostGone):
            run(go())


def test_the_host_knows_who_asks(folder: Path) -> None:
    async def go() -> str:
        async with desk_at(folder) as desk:
            await asked(folder, "echo")
            return desk.by

    assert run(go()) == f"uid:{os.geteuid()}"


# Streams.


async def streamed(folder: Path, name: str) -> list[Mapping[str, object]]:
    return await asyncio.to_thread(lambda: list(ask_stream(folder, name, {})))


def test_a_stream_is_its_objects_in_order_and_then_its_end(folder: Path) -> None:
    async def go() -> list[Mapping[str, object]]:
        async with desk_at(folder):
            return await streamed(folder, "count")

    assert run(go()) == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_a_stream_that_is_refused_half_way_says_so(folder: Path) -> None:
    async def go() -> None:
        async with desk_at(folder):
            await streamed(folder, "break")

    with pytest.raises(Refused, match="no more"):
        run(go())


def test_a_caller_that_hangs_up_ends_its_stream(folder: Path) -> None:
    async def go() -> None:
        async with desk_at(folder) as desk:
            async with line_to(folder) as (reader, writer):
                writer.write(b'{"command": "silence"}\n')
                assert msgspec.json.decode(await reader.readline()) == {"item": {"number": 0}}
                await desk.waiting.wait()
                assert not desk.ended.is_set()
            await desk.ended.wait()

    run(go())


def test_a_silent_stream_beats(folder: Path) -> None:
    async def go() -> list[bytes]:
        async with desk_at(folder, beat_seconds=0.01), line_to(folder) as (reader, writer):
            writer.write(b'{"command": "silence"}\n')
            await reader.readline()
            return [await reader.readline() for _ in range(3)]

    assert run(go()) == [b"\n"] * 3


def test_a_host_that_stops_ends_its_streams(folder: Path) -> None:
    async def go() -> bool:
        async with desk_at(folder) as desk:
            following = asyncio.ensure_future(streamed(folder, "silence"))
            await desk.waiting.wait()
        with pytest.raises(HostGone):
            await following
        return desk.ended.is_set()

    assert run(go())
