"""`penstock serve` from its start to its end: readiness, one host for a place, callers that hang up, and the drain."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from door_host import PENSTOCK, WAIT_SECONDS, Client, Fifo, gate_payload, serving, until

from orchestrator.control.socket import ask
from orchestrator.http.place import HTTP_SOCKET, SocketHeld, taken
from orchestrator.state import state_folder

Environment = Mapping[str, str]


class Words:
    """What a test and the plugin say to each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken, self.held, self.go, self.given_back = (
            Fifo(folder, name) for name in ("taken", "held", "go", "given_back")
        )


@pytest.fixture
def words(tmp_path: Path) -> Iterator[Words]:
    """For one test."""
    folder = tmp_path / "words"
    folder.mkdir()
    made = Words(folder)
    yield made
    for fifo in (made.taken, made.held, made.go, made.given_back):
        fifo.tell(8)
        fifo.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for calls under way."""
    with ThreadPoolExecutor(4) as made:
        yield made


def serve(folder: Path, environment: Environment, *options: object) -> subprocess.CompletedProcess[str]:
    """`penstock serve` where it should refuse."""
    return subprocess.run(
        [str(PENSTOCK), "serve", str(folder), *map(str, options)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=WAIT_SECONDS,
        check=False,
    )


def answers_at(path: Path) -> bool:
    """Whether connections are taken in; the socket is there a moment before."""
    with socket.socket(socket.AF_UNIX) as trial:
        return trial.connect_ex(str(path)) == 0


# The start.


def test_a_host_that_starts_says_so_and_takes_no_calls(gates: Path, environment: Environment) -> None:
    begin = Fifo(gates, "begin")
    with serving(gates, environment, wait=False) as host:
        until(lambda: answers_at(host.path))
        assert host.ask("GET", "/healthz") == (200, {"status": "ok"})
        status, readiness = host.ask("GET", "/readyz")
        assert isinstance(readiness, dict)
        assert (status, readiness["ready"], readiness["phase"]) == (503, False, "starting")
        assert readiness["reasons"]
        status, answer = host.ask("POST", "/v1/hooks/pass", {"payload": gate_payload()})
        assert isinstance(answer, dict)
        assert (status, answer["error"]["code"]) == (503, "penstock.not_ready")
        begin.tell(2)
        host.ready()
        status, readiness = host.ask("GET", "/readyz")
        assert isinstance(readiness, dict)
        assert (status, readiness["ready"], readiness["phase"], readiness["reasons"]) == (200, True, "serving", [])
        assert host.call("pass", gate_payload())["verdict"] == "allow"


def test_a_host_whose_plugins_cannot_start_ends_and_leaves_nothing(gates: Path, environment: Environment) -> None:
    (gates / "gate" / "plugin.py").write_text("import no_such_module\n")
    with serving(gates, environment, wait=False, fails=True) as host:
        assert host.ended() == 1
    assert not host.path.exists() and not Path(f"{host.path}.lock").exists()


def test_a_signal_before_it_is_ready_ends_it_like_any_command(gates: Path, environment: Environment) -> None:
    Fifo(gates, "begin")
    with serving(gates, environment, wait=False, fails=True) as host:
        until(lambda: answers_at(host.path))
        host.signal()
        assert host.ended() == 143
    assert not host.path.exists()


def test_a_plugin_that_failed_is_named(gates: Path, environment: Environment) -> None:
    with serving(gates, environment) as host:
        for _ in range(2):
            host.call("pass", gate_payload("die"))
        status, readiness = host.ask("GET", "/readyz")
        assert isinstance(readiness, dict)
        assert (status, readiness["plugins"]["gate"]["state"]) == (503, "failed")
        assert readiness["reasons"][0].startswith("plugin gate is failed: ")
        assert host.ask("GET", "/healthz")[0] == 200
        assert host.ask("POST", "/v1/commands/plugin.restart", {"name": "gate"})[0] == 200
        assert host.ask("GET", "/readyz")[0] == 200


# One host for a place.


def test_without_a_name_the_socket_is_in_the_state_folder(gates: Path, environment: Environment) -> None:
    folder = state_folder(gates / "pipeline.yaml", environment)
    process = subprocess.Popen([str(PENSTOCK), "serve", str(gates)], env={**os.environ, **environment})
    try:
        until(lambda: answers_at(folder / HTTP_SOCKET))
        with closing(Client(folder / HTTP_SOCKET)) as client:
            assert client.ask("GET", "/healthz")[0] == 200
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)


def test_a_second_host_of_a_file_is_refused_with_the_pid_of_the_first(gates: Path, environment: Environment) -> None:
    with serving(gates, environment) as host:
        done = serve(gates, environment, "--socket", f"{host.path}.other")
        assert done.returncode == 1
        assert f"process {host.process.pid} [penstock.state_held]" in done.stderr
        assert host.call("pass", gate_payload())["verdict"] == "allow"


def test_a_second_host_at_a_socket_is_refused_with_the_pid_of_the_first(
    gates: Path, environment: Environment, tmp_path: Path
) -> None:
    with serving(gates, environment) as host:
        done = serve(gates, environment, "--socket", host.path, "--state", tmp_path / "other")
        assert done.returncode == 1
        assert f"process {host.process.pid} [penstock.socket_held]" in done.stderr
        assert host.call("pass", gate_payload())["verdict"] == "allow"


def test_a_place_that_cannot_be_is_refused_in_words(gates: Path, environment: Environment, tmp_path: Path) -> None:
    socket = tmp_path / ("s" * 120)
    done = serve(gates, environment, "--socket", socket)
    assert done.returncode == 1
    assert f"error: {socket}: File name too long [penstock.system]" in done.stderr


def test_a_state_folder_that_others_may_enter_is_refused_with_its_remedy(
    gates: Path, environment: Environment, tmp_path: Path
) -> None:
    state = tmp_path / "open"
    state.mkdir()
    state.chmod(0o755)
    done = serve(gates, environment, "--state", state)
    assert done.returncode == 1
    assert "[penstock.state_held]" in done.stderr
    assert f"chmod 700 {state}" in done.stderr


def test_a_dead_hosts_place_is_taken(gates: Path, environment: Environment) -> None:
    with serving(gates, environment, fails=True) as dead:
        dead.process.kill()
        dead.ended()
        assert dead.path.exists()
        with taken(dead.path) as listener:
            assert stat.S_ISSOCK(dead.path.stat().st_mode)
            assert listener.fileno() >= 0
    with serving(gates, environment) as host:
        assert host.call("pass", gate_payload())["verdict"] == "allow"


def test_a_socket_where_another_program_listens_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(SocketHeld, match="no host of ours"), taken(path):
            pass
    assert path.exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(SocketHeld, match="no socket"), taken(path):
        pass
    assert path.read_text() == "precious"


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 200) / "serve.sock"
    path.parent.mkdir()
    with taken(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == []


# Callers that hang up.


def test_a_caller_that_hangs_up_abandons_its_call(gates: Path, environment: Environment, words: Words) -> None:
    """What the call did is undone, and nothing of it is under way any more."""
    with serving(gates, environment) as host:
        with host.client() as client:
            body = json.dumps({"payload": gate_payload(folder=words.folder)})
            client.request("POST", "/v1/hooks/keep", body)
            words.held.heard()
        words.given_back.heard()
        _, status = host.ask("GET", "/v1/status")
        assert isinstance(status, dict)
        assert status["calls"] == 0
        words.go.tell()


def test_a_caller_that_hangs_up_in_the_middle_of_its_body_calls_nothing(gates: Path, environment: Environment) -> None:
    with serving(gates, environment) as host:
        with host.client() as client:
            client.putrequest("POST", "/v1/hooks/pass")
            client.putheader("content-length", "1000")
            client.endheaders(b'{"payload": ')
        _, runs = host.ask("GET", "/v1/runs")
        assert runs == []


# The end.


def test_a_call_under_way_gets_its_verdict_when_the_host_stops(
    gates: Path, environment: Environment, words: Words, pool: ThreadPoolExecutor
) -> None:
    with serving(gates, environment) as host, host.client() as idle:
        assert idle.ask("GET", "/healthz")[0] == 200
        call = pool.submit(host.call, "keep", gate_payload(folder=words.folder))
        words.held.heard()
        host.signal()
        host.stopping()
        until(lambda: not answers_at(host.path))
        assert idle.sock.recv(1) == b""  # a connection without a call is hung up on
        assert not call.done()
        words.go.tell()
        assert call.result(WAIT_SECONDS)["verdict"] == "allow"
        assert host.ended() == 0
    assert not host.path.exists()


def test_a_call_that_outlives_the_drain_is_denied_and_undone(
    gates: Path, environment: Environment, words: Words, pool: ThreadPoolExecutor
) -> None:
    with serving(gates, environment, "--drain-seconds", 0.1) as host:
        call = pool.submit(host.call, "keep", gate_payload(folder=words.folder))
        words.held.heard()
        host.signal()
        answer = call.result(WAIT_SECONDS)
        violation = answer["violation"]
        assert isinstance(violation, dict)
        assert (answer["verdict"], violation["code"]) == ("deny", "penstock.shutdown")
        words.given_back.heard()
        words.go.tell()
        assert host.ended() == 0


def test_a_second_signal_does_not_wait_for_the_drain(
    gates: Path, environment: Environment, words: Words, pool: ThreadPoolExecutor
) -> None:
    with serving(gates, environment, "--drain-seconds", 3600) as host:
        call = pool.submit(host.call, "keep", gate_payload(folder=words.folder))
        words.held.heard()
        host.signal()
        host.stopping()
        host.signal(signal.SIGINT)
        assert call.result(WAIT_SECONDS)["verdict"] == "deny"
        words.given_back.heard()
        words.go.tell()
        assert host.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_host_without_calls_ends_at_once(gates: Path, environment: Environment, number: signal.Signals) -> None:
    with serving(gates, environment, "--drain-seconds", 3600) as host:
        host.signal(number)
        assert host.ended() == 0
    assert not host.path.exists() and not Path(f"{host.path}.lock").exists()


def test_a_listener_does_not_hold_up_the_end(gates: Path, environment: Environment) -> None:
    """Neither does one that does not read: its stream is ended, and then its connection."""
    with serving(gates, environment, "--drain-seconds", 3600) as host, host.client() as first, host.client() as other:
        for client in (first, other):
            client.request("GET", "/v1/events")
        response = first.getresponse()
        assert b"Listening" in b"".join(response.readline() for _ in range(5))
        for _ in range(3):
            host.call("pass", gate_payload())
        host.signal()
        said = response.read()
        assert said.count(b"event: RunEnded") == 3
        assert host.ended() == 0


def test_what_was_seen_is_there_for_the_next_host(gates: Path, environment: Environment) -> None:
    with serving(gates, environment) as host:
        run = host.call("see", gate_payload(), {"x-request-id": "r-1"})["run_id"]
    with serving(gates, environment) as host:
        _, record = host.ask("GET", f"/v1/runs/{run}")
        assert isinstance(record, dict)
        assert record["request_id"] == "r-1"


# Besides.


def test_the_control_socket_and_the_door_give_the_same_answers(gates: Path, environment: Environment) -> None:
    """One table of commands: what the CLI asks for and what a program asks for."""
    with serving(gates, environment) as host:
        host.call("pass", gate_payload())
        folder = state_folder(gates / "pipeline.yaml", environment)
        assert host.ask("POST", "/v1/commands/runs.list", {"limit": 5}) == (200, ask(folder, "runs.list", {"limit": 5}))


def test_what_a_plugin_logs_names_the_request(gates: Path, environment: Environment) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with serving(gates, environment, "-v") as host:
        run = host.call("see", gate_payload(), {"x-request-id": "r-9", "traceparent": trace})["run_id"]
    (line,) = (line for line in host.said.splitlines() if "marked" in line)
    assert f"run={run} request_id=r-9 trace={trace}" in line
