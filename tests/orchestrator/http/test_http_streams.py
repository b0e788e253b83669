"""Server-sent events: in order, with beats, with what was missed, and over when either side says so."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import TypeVar, cast

import msgspec
import pytest
from door_host import WAIT_SECONDS, Host, gate_payload
from starlette.types import Message, Scope

from orchestrator.control.refusal import Refused
from orchestrator.http.failures import Failure
from orchestrator.http.peer import Peer
from orchestrator.http.standing import Standing
from orchestrator.http.streams import BEAT, StreamDoor
from orchestrator.lookout.feed import Feed, Missed
from orchestrator.orchestrator import Orchestrator

_T = TypeVar("_T")

MAX_BEATS = 6


def events_of(response: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, object]]]:
    """Each event with its type, as it comes; after too many beats nobody expects one any more."""
    kind, beats = "", 0
    while line := response.readline().decode().rstrip("\n"):
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))
            response.readline()
        elif line.startswith(":"):
            beats += 1
            assert beats < MAX_BEATS
            response.readline()


@pytest.mark.parametrize("path", ["/v1/events", "/v1/streams/events"])
def test_events_come_in_the_order_in_which_they_happen(host: Host, path: str) -> None:
    with host.client() as listener:
        listener.request("GET", path)
        response = listener.getresponse()
        assert response.headers["content-type"] == "text/event-stream"
        events = events_of(response)
        assert next(events)[0] == "Listening"
        runs = [host.call("pass", gate_payload())["run_id"] for _ in range(20)]
        heard = [next(events) for _ in range(20)]
    assert [kind for kind, _ in heard] == ["RunEnded"] * 20
    summaries = [msgspec.convert(event["summary"], dict[str, object]) for _, event in heard]
    assert [summary["run_id"] for summary in summaries] == runs
    assert {event["type"] for _, event in heard} == {"RunEnded"}
    assert all(isinstance(event["at"], float) for _, event in heard)


def test_what_becomes_of_workers_is_told_with_all_it_says(host: Host) -> None:
    with host.client() as listener:
        listener.request("GET", "/v1/events")
        events = events_of(listener.getresponse())
        next(events)
        host.call("pass", gate_payload("die"))
        host.ask("POST", "/v1/commands/plugin.restart", {"name": "gate"})
        heard: dict[str, dict[str, object]] = {}
        while not {"WorkerEnded", "WorkerReady", "Restarted"} <= heard.keys():
            kind, event = next(events)
            heard[kind] = event
    ended = heard["WorkerEnded"]
    assert (ended["plugin"], ended["planned"]) == ("gate", False)
    assert msgspec.convert(ended["report"], dict[str, object])["status"] == 3
    assert isinstance(heard["WorkerReady"]["pid"], int)


def test_a_stream_that_is_not_there_is_refused(host: Host) -> None:
    status, answer = host.ask("GET", "/v1/streams/evnts")
    assert isinstance(answer, dict)
    assert (status, answer["error"]["code"]) == (404, "penstock.unknown_command")
    assert "did you mean 'events'?" in answer["error"]["message"]


def test_a_parameter_that_a_stream_does_not_take_is_refused(host: Host) -> None:
    status, answer = host.ask("GET", "/v1/events?wish=more")
    assert isinstance(answer, dict)
    assert (status, answer["error"]["code"]) == (400, "penstock.bad_request")


# Without a socket: a listener as slow as the test wants it.


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Table:
    """A host's table with one stream."""

    commands: Mapping[str, object] = {}

    def __init__(self, begin: Callable[[], AsyncIterator[Mapping[str, object]]]) -> None:
        self.streams = {"events": (_Nothing, begin)}
        self._begin = begin

    def stream(self, name: str, params: Mapping[str, object], *, by: str) -> AsyncIterator[Mapping[str, object]]:
        """Begin it."""
        assert name == "events"
        return self._begin()


class _Host:
    def __init__(self, table: Table) -> None:
        self.control = table


class Listener:
    """Takes what it is sent when the test lets it."""

    def __init__(self, begin: Callable[[], AsyncIterator[Mapping[str, object]]], beat_seconds: float = 60.0) -> None:
        loop = asyncio.get_running_loop()
        self.standing = Standing()
        self.standing.serve(cast("Orchestrator", _Host(Table(begin))))
        self.lost: asyncio.Future[None] = loop.create_future()
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        peer = Peer(0, asyncio.Transport(), self.lost)
        scope: Scope = {"type": "http", "state": {"peer": peer}, "query_string": b"", "path_params": {}}
        door = StreamDoor(self.standing, "events", beat_seconds=beat_seconds)
        self.task = asyncio.ensure_future(door(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        raise NotImplementedError

    async def _send(self, message: Message) -> None:
        self.sent.put_nowait(message)
        await self.reads.wait()

    async def chunk(self) -> bytes:
        """The next piece of the body."""
        while True:
            message = await self.sent.get()
            if message["type"] == "http.response.body":
                body: bytes = message["body"]
                return body


def run(main: Coroutine[object, object, _T]) -> _T:
    async def bounded() -> _T:
        async with asyncio.timeout(WAIT_SECONDS):
            return await main

    return asyncio.run(bounded())


def test_a_listener_that_does_not_read_is_told_how_much_it_missed() -> None:
    async def go() -> list[bytes]:
        feed = Feed[Mapping[str, object]](3)

        async def told() -> AsyncIterator[Mapping[str, object]]:
            async for item in feed.read():
                yield item.as_json() if isinstance(item, Missed) else item

        listener = Listener(told)
        await listener.chunk()
        feed.put({"type": "E", "number": 0})
        listener.reads.clear()
        first = await listener.chunk()
        for number in range(1, 10):
            feed.put({"type": "E", "number": number})
        listener.reads.set()
        rest = [await listener.chunk() for _ in range(4)]
        listener.lost.set_result(None)
        await listener.task
        return [first, *rest]

    event = b'event: E\ndata: {"type":"E","number":%d}\n\n'
    missed = b'event: Missed\ndata: {"type":"Missed","count":6}\n\n'
    assert run(go()) == [event % 0, event % 1, event % 2, event % 3, missed]


async def _silent() -> AsyncIterator[Mapping[str, object]]:
    await asyncio.Event().wait()
    yield {}


def test_a_silent_stream_beats() -> None:
    async def go() -> list[bytes]:
        listener = Listener(_silent, beat_seconds=0.01)
        beats = [await listener.chunk() for _ in range(3)]
        listener.lost.set_result(None)
        await listener.task
        return beats

    assert run(go()) == [BEAT] * 3


def test_a_host_that_stops_ends_a_stream_with_its_last_chunk() -> None:
    async def go() -> Message:
        listener = Listener(_silent)
        await listener.chunk()
        listener.standing.drain()
        await listener.task
        assert listener.standing.listeners == {}
        return listener.sent.get_nowait()

    assert run(go()) == {"type": "http.response.body", "body": b""}


async def _refused() -> AsyncIterator[Mapping[str, object]]:
    yield {"type": "a text\nevent: forged"}
    raise Refused("penstock.unknown_plugin", "it is gone", "")


async def _broken() -> AsyncIterator[Mapping[str, object]]:
    yield {"type": "E"}
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize(("begin", "code"), [(_refused, "penstock.unknown_plugin"), (_broken, "penstock.internal")])
def test_a_stream_that_breaks_off_says_why(begin: Callable[[], AsyncIterator[Mapping[str, object]]], code: str) -> None:
    """And a type that is no name names no event."""

    async def go() -> tuple[bytes, bytes]:
        listener = Listener(begin)
        await listener.chunk()
        chunks = await listener.chunk(), await listener.chunk()
        await listener.task
        return chunks

    first, last = run(go())
    assert first.startswith((b"event: item\n", b"event: E\n"))
    assert first.count(b"event: ") == (2 if begin is _refused else 1)  # the forged one stands within the JSON
    assert last.startswith(b"event: error\n") and code.encode() in last


def test_nobody_listens_to_a_host_that_is_not_ready() -> None:
    async def go() -> None:
        with pytest.raises(Failure):
            _ = Standing().host

    run(go())
