"""One real worker: its handshake, what it may say, and what becomes of its calls when it says something else."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from living import CONFIGS, PATIENCE_SECONDS, SEQUENTIAL, Asked, Gate, descriptors, peer_spec, run, spec_of, until

from isolation.call import Call
from isolation.errors import (
    CallCancelled,
    CallError,
    DeadlineExceeded,
    PluginBusy,
    PluginError,
    RemoteProtocolError,
    RetryableError,
    StartError,
    WorkerLost,
)
from isolation.handshake import Window
from isolation.plugin_log import PRINTED_LINE_BYTES, PRINTED_LINES, LogLine, Printed, level_of, pass_on
from isolation.protocol.life import State
from isolation.spec import WorkerSpec
from isolation.worker import Worker


class Watcher:
    """What a worker told its generation."""

    def __init__(self) -> None:
        self.retirements = 0
        self.given_back: list[Call] = []
        self.progress: list[bytes] = []
        self.lines: list[LogLine] = []

    def freed(self, worker: Worker) -> None:
        """Nobody waits here."""

    def unsent(self, calls: Sequence[Call]) -> None:
        self.given_back += calls

    def retired(self, worker: Worker) -> None:
        self.retirements += 1

    def progressed(self, worker: Worker, params: bytes) -> None:
        self.progress.append(params)

    def logged(self, worker: Worker, line: LogLine) -> None:
        self.lines.append(line)


@asynccontextmanager
async def worker_of(spec: WorkerSpec) -> AsyncIterator[Worker]:
    """A worker that is ready; stopped at the end, and nothing of it is left open."""
    before = descriptors()
    worker = Worker(spec, 1, Watcher(), asyncio.get_running_loop())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await worker.start(CONFIGS)
        yield worker
    finally:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await worker.stop()
        assert worker.state is State.EXITED and worker.outstanding == 0
        assert descriptors() == before


def ask(worker: Worker, stage: str = "act", payload: dict[str, str] | None = None) -> Asked:
    """Write one call."""
    asked = Asked(stage, payload or {})
    assert worker.invoke(asked)
    return asked


def with_worker(spec: WorkerSpec, *, then: Any) -> None:
    """Run `then(worker)` with a worker that is ready."""

    async def main() -> None:
        async with worker_of(spec) as worker:
            await then(worker)

    run(main())


# Starting.

HANDSHAKES = {
    "another protocol": ('hello["protocol"] = "2.0"', "speaks protocol '2.0'; this host speaks '1.0'"),
    "another name": ('hello["plugin"]["name"] = "other"', "is other 1.0.0; its manifest says living 1.0.0"),
    "another version": ('hello["plugin"]["version"] = "2"', "is living 2; its manifest says living 1.0.0"),
    "other stages": (
        'hello["stages"] = {"b": {}, "a": {}}',
        "does not offer the stages act of its manifest; it offers a, b",
    ),
    "no stages": ('hello["stages"] = {}', "does not offer the stages act of its manifest; it offers none"),
    "no protocol": ('del hello["protocol"]', "answered `initialize` wrongly: Object missing required field `protocol`"),
    "stages as a list": ('hello["stages"] = ["act"]', "answered `initialize` wrongly: Expected `object`, got `array`"),
    "no concurrency at all": ('hello["concurrency"] = 0', "concurrency is 0, not at least 1"),
    "an undo of its own": (
        'hello["stages"]["act"]["undoes"] = "do"',
        "says that its stage act undoes do; its manifest says that it undoes nothing",
    ),
    "a list of undos": (
        'hello["stages"]["act"]["undoes"] = ["do"]',
        "answered `initialize` wrongly: Expected `str | null`, got `array`",
    ),
    "text": ("hello = 'hello'", "answered `initialize` wrongly: Expected `object`, got `str`"),
}


@pytest.mark.parametrize("difference", HANDSHAKES)
def test_a_handshake_that_does_not_match_names_both_sides(tmp_path: Path, difference: str) -> None:
    change, says = HANDSHAKES[difference]
    assert says in start_error(peer_spec(tmp_path, f"{change}\nshake_hands()\nsys.stdin.read()"))


def test_a_handshake_that_forgets_what_a_stage_undoes_names_both_sides(tmp_path: Path) -> None:
    spec = peer_spec(tmp_path, "shake_hands()\nsys.stdin.read()", undoes={"act": "do"})
    assert "says that its stage act undoes nothing; its manifest says that it undoes do" in start_error(spec)


def start_error(spec: WorkerSpec) -> str:
    """Why the worker could not be started; nothing of it is left."""
    said: list[str] = []

    async def main() -> None:
        before = descriptors()
        worker = Worker(spec, 1, Watcher(), asyncio.get_running_loop())
        with pytest.raises(StartError) as raised:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await worker.start(CONFIGS)
        assert worker.gone.done() and worker.state is State.EXITED
        assert descriptors() == before
        assert raised.value.hint
        said.append(str(raised.value))

    run(main())
    return said[0]


STARTS = {
    "exits before the handshake": (
        "print('no licence', file=sys.stderr)\nsys.exit(9)",
        r"living: exited before the handshake: exited with status 9\nno licence",
    ),
    "exits with the handshake": (
        "answer(json.loads(sys.stdin.readline()), hello)\nos._exit(8)",
        r"exited (before the handshake|while it was warming up): exited with status 8",
    ),
    "exits while warming up": (
        "answer(json.loads(sys.stdin.readline()), hello)\nsys.stdin.readline()\nos._exit(8)",
        r"exited while it was warming up: exited with status 8",
    ),
    "writes noise": (
        "say('Welcome!')\nsys.stdin.read()",
        r"before the handshake: .*broke the protocol: not a JSON message",
    ),
    "answers twice": (
        "m = json.loads(sys.stdin.readline())\nanswer(m, hello)\nanswer(m, hello)\nsys.stdin.read()",
        r"broke the protocol: answer to id 1, which was answered before",
    ),
    "refuses the handshake": (
        "m = json.loads(sys.stdin.readline())\n"
        "say(json.dumps({'jsonrpc': '2.0', 'id': m['id'], 'error': {'code': -32602, 'message': 'too new'}}))\n"
        "sys.stdin.read()",
        r"failed before the handshake: too new",
    ),
    "says nothing": ("sys.stdin.read()", r"said nothing for 0.3 s before the handshake"),
    "says too much after a wrong handshake": (
        "hello['protocol'] = '3'\nanswer(json.loads(sys.stdin.readline()), hello)\n"
        'while True: say(\'{"jsonrpc":"2.0","method":"$/progress"}\')',
        r"speaks protocol '3'",
    ),
    "closes its stdout": (
        "import signal\nos.close(1)\nsignal.pause()",
        r"exited before the handshake: was killed by signal 9 \(closed its stdout\)",
    ),
}


@pytest.mark.parametrize("way", STARTS)
def test_a_start_that_fails_says_how(tmp_path: Path, way: str) -> None:
    source, says = STARTS[way]
    spec = peer_spec(tmp_path, source, startup_seconds=0.3 if way == "says nothing" else 10.0)
    assert re.search(says, start_error(spec), re.DOTALL)


STARTUPS_SECONDS = (0.3, 1.2, 4.8)
"""On a busy machine an interpreter alone takes longer than the first; what is proved holds for one of them."""


def test_silence_after_the_handshake_is_told_as_such(tmp_path: Path) -> None:
    source = "answer(json.loads(sys.stdin.readline()), hello)\nsys.stdin.read()"
    said = (start_error(peer_spec(tmp_path, source, startup_seconds=startup)) for startup in STARTUPS_SECONDS)
    assert any(
        f"said nothing for {startup:g} s while it was warming up" in one
        for startup, one in zip(STARTUPS_SECONDS, said, strict=False)
    )


def test_an_import_that_crashes_is_told_with_its_traceback(tmp_path: Path) -> None:
    said = start_error(spec_of(tmp_path, "import no_such_module", "echo"))
    assert "before the handshake" in said and "No module named 'no_such_module'" in said


def test_progress_extends_the_silence_that_is_allowed(tmp_path: Path) -> None:
    """It warms up for about twice `startup`, and is never silent for that long."""

    async def then(worker: Worker) -> None:
        assert worker.state is State.READY

    for startup in STARTUPS_SECONDS:
        source = (
            "answer(json.loads(sys.stdin.readline()), hello)\nm = json.loads(sys.stdin.readline())\nimport select\n"
            f"for n in range(8):\n    select.select([], [], [], {startup / 4})\n"
            '    say(\'{"jsonrpc":"2.0","method":"$/progress","params":{"message":"loading"}}\')\n'
            "answer(m, {})\nsys.stdin.read()"
        )
        try:
            return with_worker(peer_spec(tmp_path, source, startup_seconds=startup), then=then)
        except StartError as error:
            late = error
    raise late


def test_the_window_is_the_manifests_for_a_command_and_the_handshakes_for_ours(tmp_path: Path) -> None:
    async def main() -> None:
        many = 'hello["concurrency"] = 9\nshake_hands()\nsys.stdin.read()'
        for window, expected in ((None, Window(1, True)), (3, Window(3, False))):
            async with worker_of(peer_spec(tmp_path, many, window=window)) as worker:
                assert worker.window == expected
        async with worker_of(spec_of(tmp_path, SEQUENTIAL, "echo")) as worker:
            assert worker.window == Window(4, sequential=True)

    run(main())


def test_a_stop_while_starting_ends_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        gate = Gate(tmp_path)
        source = f"open({str(gate.path)!r}).close()\nanswer(json.loads(sys.stdin.readline()), hello)\nsys.stdin.read()"
        worker = Worker(peer_spec(tmp_path, source), 1, Watcher(), asyncio.get_running_loop())
        starting = asyncio.ensure_future(worker.start(CONFIGS))
        await until(lambda: worker.outstanding == 1)
        stopping = asyncio.ensure_future(worker.stop())
        await gate.reached()
        with pytest.raises(StartError, match="was stopped"):
            await starting
        await stopping

    run(main())


# Breaking the protocol.


def test_a_breach_fails_every_call_at_once(tmp_path: Path) -> None:
    source = "shake_hands()\nfor _ in range(3): sys.stdin.readline()\nsay('[]')\nsys.stdin.read()"

    async def then(worker: Worker) -> None:
        calls = [ask(worker) for _ in range(3)]
        for call in calls:
            error = await call.error()
            assert isinstance(error, RemoteProtocolError) and error.sent
            assert str(error).startswith("worker living#1 broke the protocol: not a JSON-RPC message")
        assert not worker.has_room
        assert (await worker.gone).reason.startswith("broke the protocol")

    with_worker(peer_spec(tmp_path, source, window=3), then=then)


BREACHES = {
    "noise": "noise\\n",
    "a frame over the limit": "x" * 2000,
    "a line over the limit": "x" * 2000 + "\\n",
    "an unknown id": '{"jsonrpc":"2.0","id":99,"result":{}}\\n',
}


@pytest.mark.parametrize("breach", BREACHES)
def test_what_came_before_a_breach_in_one_read_counts(tmp_path: Path, breach: str) -> None:
    """And nothing behind it does."""
    source = (
        "shake_hands()\nseen = [json.loads(sys.stdin.readline()) for _ in range(2)]\n"
        'good, forged = (\'{"jsonrpc":"2.0","id":%d,"result":{}}\\n\' % m[\'id\'] for m in seen)\n'
        f"os.write(1, (good + '{BREACHES[breach]}' + forged).encode())\nsys.stdin.read()"
    )

    async def then(worker: Worker) -> None:
        first, second = ask(worker), ask(worker)
        assert await first.answer() == {}
        assert isinstance(await second.error(), RemoteProtocolError)

    with_worker(peer_spec(tmp_path, source, window=2, max_frame_bytes=1000), then=then)


def test_a_plugins_requests_are_refused_and_life_goes_on(tmp_path: Path) -> None:
    source = (
        "shake_hands()\nm = json.loads(sys.stdin.readline())\n"
        'say(\'{"jsonrpc":"2.0","id":"mine","method":"sampling/create"}\')\n'
        "answer(m, {'out': json.loads(sys.stdin.readline())})\nsys.stdin.read()"
    )

    async def then(worker: Worker) -> None:
        assert (await ask(worker).answer())["out"] == {
            "jsonrpc": "2.0",
            "id": "mine",
            "error": {"code": -32601, "message": "the host offers no 'sampling/create'"},
        }

    with_worker(peer_spec(tmp_path, source), then=then)


def test_a_plugin_that_asks_and_never_reads_the_refusals_is_ended(tmp_path: Path) -> None:
    source = 'shake_hands()\nline = b\'{"jsonrpc":"2.0","id":1,"method":"x"}\\n\' * 1000\nwhile True: os.write(1, line)'

    async def then(worker: Worker) -> None:
        report = await asyncio.wait_for(asyncio.shield(worker.gone), PATIENCE_SECONDS)
        assert report.reason == "broke the protocol: asks and does not read the answers"

    with_worker(peer_spec(tmp_path, source), then=then)


def test_a_request_beside_a_large_call_is_no_breach(tmp_path: Path) -> None:
    """What has not been read yet is our frame, not our refusals."""
    source = (
        "shake_hands()\nos.read(0, 1)\n"
        'for _ in range(3): say(\'{"jsonrpc":"2.0","id":1,"method":"x"}\')\n'
        "rest = '{' + sys.stdin.readline()\nanswer(json.loads(rest), {})\nsys.stdin.read()"
    )

    async def then(worker: Worker) -> None:
        assert await ask(worker, payload={"q": "x" * 5_000_000}).answer() == {}

    with_worker(peer_spec(tmp_path, source), then=then)


# Errors of the plugin's.

ERRORS: dict[int, tuple[type[CallError], str]] = {
    -32800: (CallCancelled, "penstock.cancelled"),
    -32801: (RetryableError, "penstock.plugin_error"),
    -32802: (PluginBusy, "penstock.busy"),
    -32803: (DeadlineExceeded, "penstock.timeout"),
    -32804: (PluginError, "penstock.plugin_error"),
    -1: (PluginError, "penstock.plugin_error"),
}


def test_the_number_of_an_error_decides_what_its_caller_sees(tmp_path: Path) -> None:
    source = (
        "shake_hands()\nfor line in sys.stdin:\n    m = json.loads(line)\n"
        "    if 'id' in m and m['method'] == 'stage/invoke':\n"
        "        error = {'code': int(m['params']['payload']['code']), 'message': 'no', 'data': {'a': 1}}\n"
        "        say(json.dumps({'jsonrpc': '2.0', 'id': m['id'], 'error': error}))\n"
    )

    async def then(worker: Worker) -> None:
        for number, (kind, code) in ERRORS.items():
            error = await ask(worker, payload={"code": str(number)}).error()
            assert type(error) is kind and error.code == code and str(error) == "no"
            if isinstance(error, PluginError):
                assert (error.number, error.data) == (number, {"a": 1})

    with_worker(peer_spec(tmp_path, source), then=then)


# Configurations, logs, the end.


def test_a_new_table_of_configurations_can_be_refused_without_harm(tmp_path: Path) -> None:
    source = SEQUENTIAL + (
        "\n@plugin.configure\ndef check(config):\n    if config.get('bad'):\n        raise ValueError('bad it is')\n"
    )

    async def then(worker: Worker) -> None:
        with pytest.raises(PluginError, match="bad it is"):
            await worker.configure({"c1": {"with": {"bad": True}, "secrets": {}}, "c2": {"with": {"bad": 1}}})
        await worker.configure(CONFIGS)
        await ask(worker, "echo").answer()

    with_worker(spec_of(tmp_path, source, "echo"), then=then)


def test_configuring_a_worker_that_is_gone_fails_at_once(tmp_path: Path) -> None:
    async def then(worker: Worker) -> None:
        worker.kill("the test says so")
        await asyncio.shield(worker.gone)
        with pytest.raises(WorkerLost, match="the test says so"):
            await worker.configure(CONFIGS)

    with_worker(spec_of(tmp_path, SEQUENTIAL, "echo", startup_seconds=60.0), then=then)


def test_a_killed_worker_takes_no_call_from_that_moment(tmp_path: Path) -> None:
    """Not only once its end is known."""

    async def then(worker: Worker) -> None:
        worker.kill("the test says so")
        assert not worker.has_room and not worker.gone.done()

    with_worker(spec_of(tmp_path, SEQUENTIAL, "echo"), then=then)


def test_a_worker_can_be_stopped_twice_and_tells_of_its_retirement_once(tmp_path: Path) -> None:
    async def main() -> None:
        watcher = Watcher()
        worker = Worker(spec_of(tmp_path, SEQUENTIAL, "echo"), 1, watcher, asyncio.get_running_loop())
        await worker.start(CONFIGS)
        first, second = await asyncio.gather(worker.stop(), worker.stop())
        assert first is second is await worker.stop()
        assert (first.status, first.reason) == (0, "was stopped")
        assert watcher.retirements == 1

    run(main())


def test_a_start_that_is_given_up_leaves_no_child(tmp_path: Path) -> None:
    async def main() -> None:
        before = descriptors()
        worker = Worker(peer_spec(tmp_path, "sys.stdin.read()"), 1, Watcher(), asyncio.get_running_loop())
        starting: Coroutine[Any, Any, None] = worker.start(CONFIGS)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(starting, 0.1)
        assert worker.gone.result().reason == "start was given up"
        assert descriptors() == before

    run(main())


def test_what_a_plugin_logs_carries_plugin_and_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines: list[dict[str, object] | None] = [
        {"level": "warning", "message": "careful", "run": "R1", "stage": "act"},
        {"level": "no such level", "message": "still here"},
        {"message": 7},
        None,
    ]
    said = [json.dumps({"jsonrpc": "2.0", "method": "log", **({"params": line} if line else {})}) for line in lines]
    talk = f"for line in {said!r}: say(line)\nanswer(m, {{}})\nsys.stdin.read()"
    source = f"shake_hands()\nm = json.loads(sys.stdin.readline())\n{talk}"

    async def then(worker: Worker) -> None:
        await ask(worker).answer()

    with caplog.at_level(logging.INFO, "penstock.plugin"):
        with_worker(peer_spec(tmp_path, source), then=then)
    records = [record for record in caplog.records if record.name == "penstock.plugin"]
    assert [(record.getMessage(), record.levelname) for record in records] == [
        ("careful", "WARNING"),
        ("still here", "INFO"),
    ]
    assert [vars(record)["worker"] for record in records] == ["living#1"] * 2
    assert vars(records[0])["line"].run == "R1"


PRINTING = """
import ctypes, os
from penstock_plugin import Plugin

plugin = Plugin()

@plugin.stage("act")
def act(call):
    print("from print")
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    os.write(2, b"\\n  \\nin two ")
    os.write(2, b"pieces\\n")
    os.write(2, b"no end of line")
"""


def test_what_a_plugin_prints_is_logged_line_by_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An author who prints to see what happens sees it, without waiting for a crash."""

    async def then(worker: Worker) -> None:
        await ask(worker).answer()

    with caplog.at_level(logging.INFO, "penstock.plugin"):
        with_worker(spec_of(tmp_path, PRINTING), then=then)
    records = [record for record in caplog.records if record.name == "penstock.plugin"]
    assert [record.getMessage() for record in records] == ["from print", "from C", "in two pieces", "no end of line"]
    assert {(vars(record)["worker"], vars(record)["line"].logger) for record in records} == {("living#1", "stderr")}


def test_of_a_flood_of_printed_lines_only_some_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "penstock.plugin"):
        Printed("living", "living#1", lambda line: None).feed(b"y\n" * 30_000)
    assert len(caplog.records) == PRINTED_LINES + 1
    assert caplog.records[-1].getMessage() == f"({30_000 - PRINTED_LINES} more lines)"


def test_a_printed_line_without_end_is_not_kept_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    printed = Printed("living", "living#1", lambda line: None)
    with caplog.at_level(logging.INFO, "penstock.plugin"):
        for _ in range(3):
            printed.feed(b"y" * (PRINTED_LINE_BYTES + 1))
    assert [len(record.getMessage()) for record in caplog.records] == [PRINTED_LINE_BYTES] * 3


def test_who_listens_hears_what_the_hosts_own_log_does_not_let_through() -> None:
    """Lines must be there to look at later, whatever the terminal shows."""
    heard: list[LogLine] = []
    log = logging.getLogger("penstock.plugin")
    assert not log.isEnabledFor(logging.INFO)
    Printed("living", "living#1", heard.append).feed(b"printed\n")
    pass_on(b'{"level": "debug", "message": "small"}', heard.append, plugin="living", worker="living#1")
    pass_on(b'{"level": 7}', heard.append, plugin="living", worker="living#1")
    assert [(line.message, level_of(line)) for line in heard] == [("printed", logging.INFO), ("small", logging.DEBUG)]


# Liveness.

NO_PONG = """
shake_hands()
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] != "ping":
        answer(message, {})
"""
PONG = """
shake_hands()
pings = 0
for line in sys.stdin:
    message = json.loads(line)
    pings += message["method"] == "ping"
    answer(message, {"out": {"pings": pings}})
"""


def test_an_idle_worker_that_misses_a_ping_is_killed(tmp_path: Path) -> None:
    async def then(worker: Worker) -> None:
        report = await asyncio.wait_for(asyncio.shield(worker.gone), PATIENCE_SECONDS)
        assert report.reason == "missed a ping" and not worker.planned_end

    with_worker(peer_spec(tmp_path, NO_PONG, ping_every_seconds=0.05, ping_within_seconds=0.1), then=then)


def test_a_ping_never_goes_behind_a_call_of_a_sequential_worker(tmp_path: Path) -> None:
    """It would wait for the call and say nothing about the worker."""

    async def then(worker: Worker) -> None:
        gate = Gate(tmp_path)
        calls = [ask(worker, "gate", gate.payload), ask(worker, "hang")]
        await asyncio.wait([worker.gone], timeout=0.2)
        assert worker.outstanding == 2 and worker.state is State.READY
        await gate.reached()
        await calls[0].answer()
        worker.kill("the test is over")
        assert isinstance(await calls[1].error(), WorkerLost)

    spec = spec_of(tmp_path, SEQUENTIAL, "gate", "hang", ping_every_seconds=0.02, ping_within_seconds=0.02)
    with_worker(spec, then=then)


def test_workers_that_answer_their_pings_live_on(tmp_path: Path) -> None:
    async def then(worker: Worker) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await ask(worker).answer())["out"]["pings"] < 3:
                assert worker.state is State.READY

    with_worker(peer_spec(tmp_path, PONG, ping_every_seconds=0.02, ping_within_seconds=5.0), then=then)


@pytest.mark.parametrize("value", ["\ud800", {None: 1}, "x" * 100_000], ids=["surrogate", "key", "size"])
def test_a_configuration_that_cannot_be_written_is_the_starts_error(tmp_path: Path, value: object) -> None:
    async def main() -> None:
        spec = spec_of(tmp_path, SEQUENTIAL, "echo", max_frame_bytes=50_000)
        worker = Worker(spec, 1, Watcher(), asyncio.get_running_loop())
        with pytest.raises(StartError, match="failed while it was warming up: `configure` cannot be written"):
            await worker.start({"c1": {"with": {"words": value}}})

    run(main())


def test_a_configuration_that_is_never_answered_is_a_timeout(tmp_path: Path) -> None:
    async def then(worker: Worker) -> None:
        with pytest.raises(DeadlineExceeded, match=f"not answered within {startup:g} s"):
            await worker.configure(CONFIGS)

    for startup in STARTUPS_SECONDS:
        try:
            spec = peer_spec(tmp_path, "shake_hands()\nsys.stdin.read()", startup_seconds=startup)
            return with_worker(spec, then=then)
        except StartError as error:
            late = error
    raise late
