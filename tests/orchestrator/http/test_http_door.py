"""Calls over HTTP, with a real host and a real client: verdicts, refusals, bounds, and what goes along with a call."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from door_host import WAIT_SECONDS, Fifo, Host, gate_payload

from orchestrator.control.unix import is_ours
from orchestrator.http.hooks import MAX_REQUEST_BYTES
from orchestrator.http.protocol import MAX_HEAD_BYTES
from pipelines.body import MAX_BODY_BYTES

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ANSWER = {"verdict", "payload", "violation", "error", "hints", "state", "result", "run_id"}


def error_of(answer: object) -> dict[str, str]:
    assert isinstance(answer, dict)
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message", "hint"}
    found: dict[str, str] = answer["error"]
    return found


# Verdicts.


def test_an_allow_is_answered_with_what_came(host: Host) -> None:
    answer = host.call("pass", gate_payload())
    assert set(answer) == ANSWER
    assert (answer["verdict"], answer["payload"], answer["violation"]) == ("allow", gate_payload(), None)
    assert isinstance(answer["run_id"], str) and len(answer["run_id"]) == 26


def test_a_denial_is_answered_with_200_and_its_violation(host: Host) -> None:
    answer = host.call("pass", gate_payload("deny"))
    assert answer["verdict"] == "deny"
    assert answer["violation"] == {"code": "gate.no", "reason": "not today", "http_status": 403}
    assert answer["payload"] == gate_payload("deny")


def test_a_failed_run_is_a_denial_with_its_error(host: Host) -> None:
    answer = host.call("pass", gate_payload("fail"))
    assert answer["verdict"] == "deny"
    error = answer["error"]
    assert isinstance(error, dict)
    assert (error["class"], error["code"]) == ("PluginError", "penstock.plugin_error")


def test_a_change_is_answered_with_the_changed_payload(host: Host) -> None:
    answer = host.call("see", gate_payload())
    payload = answer["payload"]
    assert isinstance(payload, dict)
    assert answer["verdict"] == "modify"
    assert set(payload["args"]) == {"wish", "folder", "seen"}


def test_a_call_has_the_time_that_its_caller_gives_it(host: Host, tmp_path: Path) -> None:
    """The plugin would wait for longer than this test may take."""
    go = Fifo(tmp_path, "go")
    answer = host.call("keep", gate_payload(folder=tmp_path), within_ms=100)
    go.tell()
    assert answer["verdict"] == "deny"
    violation = answer["violation"]
    assert isinstance(violation, dict)
    assert violation["code"] == "penstock.timeout"


def test_a_durable_call_has_the_verdict_of_its_key(host: Host) -> None:
    """Whoever tries again gives the request another id."""
    first, again = (
        host.call("pay", gate_payload(), {"x-request-id": id}, idempotency_key="order 7") for id in ("a", "b")
    )
    assert first["verdict"] == "allow"
    assert again == first


# What goes along.


def seen(answer: dict[str, object]) -> dict[str, str]:
    payload = answer["payload"]
    assert isinstance(payload, dict)
    found: dict[str, str] = payload["args"]["seen"]
    return found


def test_the_trace_and_the_request_id_reach_the_plugin_and_the_record(host: Host) -> None:
    answer = host.call("see", gate_payload(), {"traceparent": TRACE, "x-request-id": "r-7"})
    assert (seen(answer)["trace"], seen(answer)["request_id"]) == (TRACE, "r-7")
    _, record = host.ask("GET", f"/v1/runs/{answer['run_id']}")
    assert isinstance(record, dict)
    assert (record["trace"], record["request_id"]) == (TRACE, "r-7")


def test_the_request_id_of_the_context_counts_more(host: Host) -> None:
    answer = host.call("see", gate_payload(), {"x-request-id": "outer"}, context={"request_id": "inner"})
    assert seen(answer)["request_id"] == "inner"


@pytest.mark.parametrize("context", [None, {}, {"global_context": {"tenant_id": "acme"}}, {"tenant": "acme"}])
def test_the_request_id_of_the_header_is_put_into_any_context(host: Host, context: object) -> None:
    assert seen(host.call("see", gate_payload(), {"x-request-id": "outer"}, context=context))["request_id"] == "outer"


@pytest.mark.parametrize("header", ["", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", TRACE.upper(), "ff" + TRACE[2:]])
def test_a_trace_that_is_none_is_replaced(host: Host, header: str) -> None:
    """W3C Trace Context, 3.2."""
    trace = seen(host.call("see", gate_payload(), {"traceparent": header} if header else {}))["trace"]
    version, trace_id, parent_id, flags = trace.split("-")
    assert (version, len(trace_id), len(parent_id), flags) == ("00", 32, 16, "00")
    assert trace_id != "0" * 32


def test_a_trace_of_a_later_version_is_read_as_far_as_it_is_known(host: Host) -> None:
    assert seen(host.call("see", gate_payload(), {"traceparent": f"01{TRACE[2:]}-more"}))["trace"] == TRACE


# What is refused.


def test_an_unknown_hook_is_no_verdict(host: Host) -> None:
    status, answer = host.ask("POST", "/v1/hooks/passs", {"payload": gate_payload()})
    assert status == 404
    assert error_of(answer)["code"] == "penstock.unknown_hook"
    assert "did you mean 'pass'?" in error_of(answer)["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"payload": 7}',
        b'{"payload": null}',
        b'{"payload": {}, "extra": 1}',
        b'{"payload": {}, "within_ms": 0}',
        b'{"payload": {}, "within_ms": "soon"}',
        b'{"payload": {}, "context": []}',
        b'{"payload": {}, "context": {"tenatn": "x"}}',
        b'{"payload": {}, "idempotency_key": 7}',
        b'{"payload": {"a": 1e999}}',
        b'{"payload": {"a": NaN}}',
        b'{"payload": {"a": "\xff"}}',
        b'{"payload": {"a": "\\ud800"}}',
        b'{"payload": {}} trailing',
        b'{"payload": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"payload": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}",
    ],
)
def test_a_body_that_is_no_call_is_refused_and_the_connection_goes_on(host: Host, body: bytes) -> None:
    with host.client() as client:
        status, answer = client.ask("POST", "/v1/hooks/pass", body)
        assert (status, error_of(answer)["code"]) == (400, "penstock.bad_request")
        assert client.ask("POST", "/v1/hooks/pass", {"payload": gate_payload()})[0] == 200


def test_a_path_that_is_not_there_is_told_as_such(host: Host) -> None:
    status, answer = host.ask("GET", "/v1/hoks/pass")
    assert (status, error_of(answer)["code"]) == (404, "penstock.unknown_path")


def test_another_method_is_told_which_one_is_taken(host: Host) -> None:
    with host.client() as client:
        client.request("PUT", "/v1/hooks/pass", b"{}")
        response = client.getresponse()
        assert (response.status, response.headers["allow"]) == (405, "POST")
        assert error_of(json.loads(response.read()))["code"] == "penstock.method"


def test_a_body_that_announces_too_much_is_refused_unread(host: Host) -> None:
    with host.client() as client:
        client.putrequest("POST", "/v1/hooks/pass")
        client.putheader("content-length", str(MAX_REQUEST_BYTES + 1))
        client.endheaders()
        response = client.getresponse()
        assert (response.status, error_of(json.loads(response.read()))["code"]) == (413, "penstock.too_large")


def test_a_body_that_grows_too_large_is_refused_on_the_way(host: Host) -> None:
    """Its length is not announced; the host keeps no more of it than it may hold."""
    with host.client() as client:
        client.putrequest("POST", "/v1/hooks/pass")
        client.putheader("transfer-encoding", "chunked")
        client.endheaders()
        chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
        sent = 0
        try:
            while sent <= 4 * MAX_REQUEST_BYTES:
                client.send(chunk)
                sent += 2**20
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent <= 2 * MAX_REQUEST_BYTES
        response = client.getresponse()
        assert (response.status, error_of(json.loads(response.read()))["code"]) == (413, "penstock.too_large")


def test_a_payload_that_is_too_large_is_refused(host: Host) -> None:
    body = b'{"payload": {"name": "%b", "args": {}}}' % (b"x" * MAX_BODY_BYTES)
    status, answer = host.ask("POST", "/v1/hooks/pass", body)
    assert (status, error_of(answer)["code"]) == (413, "penstock.too_large")


def test_a_large_payload_comes_back_whole(host: Host) -> None:
    payload = gate_payload(much="x" * 4_000_000)
    assert host.call("pass", payload)["payload"] == payload


# HTTP itself.


def test_a_connection_takes_one_request_after_the_other(host: Host) -> None:
    with host.client() as client:
        for number in range(50):
            status, answer = client.ask("POST", "/v1/hooks/pass", {"payload": gate_payload(number=number)})
            assert isinstance(answer, dict)
            assert (status, answer["payload"]) == (200, gate_payload(number=number))
            if number == 0:
                first = client.sock
        assert client.sock is first


def test_requests_that_come_at_once_are_answered_in_order(host: Host) -> None:
    bodies = [json.dumps({"payload": gate_payload(number=number)}).encode() for number in range(5)]
    head = b"POST /v1/hooks/pass HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    with host.client() as client:
        client.connect()
        client.sock.sendall(b"".join(head % len(body) + body for body in bodies))
        said = b""
        while said.count(b'"run_id"') < len(bodies):
            piece = client.sock.recv(65536)
            assert piece
            said += piece
    numbers = [said.index(b'"number":%d' % number) for number in range(5)]
    assert numbers == sorted(numbers)


def test_a_hundred_calls_at_once_each_have_their_own_answer(host: Host) -> None:
    def call(number: int) -> bool:
        answer = host.call("see", gate_payload(number=number), {"x-request-id": f"r-{number}"})
        payload = answer["payload"]
        assert isinstance(payload, dict)
        return bool(payload["args"]["number"] == number and seen(answer)["request_id"] == f"r-{number}")

    with ThreadPoolExecutor(100) as pool:
        assert all(pool.map(call, range(100)))


def raw(host: Host, sent: bytes) -> bytes:
    """What the host says to these bytes until it hangs up."""
    with host.client() as client:
        client.connect()
        said = b""
        try:
            client.sock.sendall(sent)
            while piece := client.sock.recv(65536):
                said += piece
        except (BrokenPipeError, ConnectionResetError):
            pass
        return said


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /v1/hooks/pass HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/hooks/pass HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /v1/hooks/pass HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nx: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /" + b"y" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * MAX_HEAD_BYTES,
    ],
)
def test_what_is_no_http_ends_its_connection_and_no_other(host: Host, sent: bytes) -> None:
    with host.client() as other:
        assert other.ask("GET", "/healthz")[0] == 200
        said = raw(host, sent)
        assert said.startswith(b"HTTP/1.1 400 ") and b"penstock.bad_http" in said, said[:200]
        assert other.ask("GET", "/healthz")[0] == 200


def test_no_protocol_is_changed_to(host: Host) -> None:
    """The request is answered as what it is, and nothing behind it is read."""
    said = raw(
        host,
        b"GET /healthz HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n",
    )
    assert said.startswith(b"HTTP/1.1 200 ") and said.count(b"HTTP/1.1") == 1


# Who may.


def test_the_socket_is_for_its_owner_alone(host: Host) -> None:
    assert stat.S_IMODE(host.path.stat().st_mode) == 0o600


OTHER_UID = 65534

STRANGER = """
import os, socket, sys
folder = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.connect(f"/proc/self/fd/{folder}/{os.path.basename(sys.argv[1])}")
print(peer.recv(65536).decode())
"""


def test_another_user_is_refused_whatever_the_mode_of_the_socket(host: Host) -> None:
    """Only root can try it; for anybody else the mode stands in front."""
    assert not is_ours(OTHER_UID)
    if os.geteuid() != 0:
        return
    os.chmod(host.path, 0o666)
    os.chmod(host.path.parent, 0o755)
    try:
        done = subprocess.run(
            [sys.executable, "-c", STRANGER, str(host.path)],
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=True,
        )
    finally:
        os.chmod(host.path, 0o600)
    assert done.stdout.startswith("HTTP/1.1 403 ")
    assert "penstock.other_user" in done.stdout
    assert host.ask("GET", "/healthz")[0] == 200
