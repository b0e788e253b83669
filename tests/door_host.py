"""A file whose plugin waits where a test wants it to, `penstock serve` as a process, and a client for its socket."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

__all__ = ["WAIT_SECONDS", "Client", "Fifo", "Host", "gate_payload", "serving", "until", "write_gate"]

PENSTOCK = Path(sysconfig.get_path("scripts")) / "penstock"

WAIT_SECONDS = 60.0
"""The longest that a host here may take to start, to answer or to end."""

LOOK_SECONDS = 0.02

MANIFEST = """\
[tool.penstock]
name = "gate"
version = "1.0.0"

[tool.penstock.stages.take]
effects = "external"
idempotent = true

[tool.penstock.stages.give_back]
undoes = "take"

[tool.penstock.stages.hold]

[tool.penstock.stages.mark]

[tool.penstock.stages.judge]
"""

CODE = '''\
"""Tells what it does, and waits for a word, through the FIFOs of the folder that a payload names."""

import logging
import os
from pathlib import Path

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.startup
def wait_to_begin(start):
    place = Path(@BEGIN@)
    if place.is_fifo():
        with place.open("rb", buffering=0) as stream:
            stream.read(1)


def tell(call, name):
    place = Path(call.payload["args"].get("folder", ""), name)
    if place.is_fifo():
        with place.open("wb", buffering=0) as stream:
            stream.write(b".")


@plugin.stage("take")
def take(call):
    tell(call, "taken")


@plugin.compensation("give_back", undoes="take")
def give_back(call):
    tell(call, "given_back")


@plugin.stage("hold")
def hold(call):
    tell(call, "held")
    place = Path(call.payload["args"]["folder"], "go")
    with place.open("rb", buffering=0) as stream:
        stream.read(1)


@plugin.stage("mark")
def mark(call):
    logging.getLogger("gate").info("marked")
    seen = {"trace": call.trace, "request_id": call.context["request_id"], "key": call.key}
    return call.modify({**call.payload, "args": {**call.payload["args"], "seen": seen}})


@plugin.stage("judge")
def judge(call):
    wish = call.payload["args"].get("wish")
    if wish == "die":
        os._exit(3)
    if wish == "fail":
        raise RuntimeError("as you wish")
    if wish == "deny":
        return call.deny("gate.no", "not today", http_status=403)
'''

PIPELINE = """\
version: 1
name: gates
plugins:
  gate: { source: ./gate, replicas: 2, restart: { intensity: 0, period: 1m } }
policies:
  breakers:
    steady: { window: 20, minimum_calls: 10, failure_rate: 0.5, open_for: 30s, probes: 3 }
hooks:
  pass: { summary: Something passes, payload: { name: string, args: object }, can_deny: true }
  keep: { summary: Something is kept, payload: { name: string, args: object }, can_deny: true }
  pay: { summary: Something is paid, payload: { name: string, args: object }, can_deny: true }
  see: { summary: Something is seen, payload: { name: string, args: object }, can_deny: true }
pipelines:
  pass:
    hook: pass
    deadline: 50s
    stages:
      judge: { uses: gate/judge, breaker: steady, timeout: 40s }
  see:
    hook: see
    deadline: 50s
    stages:
      mark: { uses: gate/mark, timeout: 40s }
  keep:
    hook: keep
    deadline: 100s
    durable: false
    stages:
      take: { uses: gate/take, timeout: 40s, compensate: { uses: gate/give_back } }
      hold: { uses: gate/hold, needs: [take], timeout: 40s }
  pay:
    hook: pay
    deadline: 50s
    durable: true
    stages:
      take: { uses: gate/take, timeout: 40s, compensate: { uses: gate/give_back } }
"""


def write_gate(folder: Path) -> Path:
    """Write the pipeline file and its plugin; return the folder."""
    plugin = folder / "gate"
    plugin.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (plugin / "pyproject.toml").write_text(MANIFEST)
    # A worker runs from a snapshot: where its author's folder is, it cannot see.
    (plugin / "plugin.py").write_text(CODE.replace("@BEGIN@", repr(str(folder / "begin"))))
    return folder


def gate_payload(wish: str = "", folder: Path | None = None, **more: object) -> dict[str, object]:
    """What a call of any of the hooks hands over."""
    return {"name": "t", "args": {"wish": wish, "folder": "" if folder is None else str(folder), **more}}


def until(holds: Callable[[], bool]) -> None:
    """Wait for what nobody tells."""
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(LOOK_SECONDS)


class Fifo:
    """A word between a test and a plugin. Nobody waits to open it; reading is bounded."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        os.mkfifo(self.path)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def heard(self) -> None:
        """Wait until the plugin has told."""
        ready, _, _ = select.select([self._descriptor], [], [], WAIT_SECONDS)
        assert ready, f"nothing came through {self.path.name}"
        os.read(self._descriptor, 1)

    def tell(self, count: int = 1) -> None:
        """Let so many plugins go on."""
        os.write(self._descriptor, b"." * count)

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


class Client(http.client.HTTPConnection):
    """One connection to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("penstock", timeout=WAIT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_SECONDS)
        self.sock.connect(str(self._path))

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, object]:
        """Make one request; a body that is no bytes is sent as JSON. What is answered is decoded, where it is JSON."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.request(method, path, sent, dict(headers or {}))
        response = self.getresponse()
        said = response.read()
        kind = response.headers["content-type"] or ""
        return response.status, json.loads(said) if kind.startswith("application/json") else said


class Host:
    """A `penstock serve` that is ready, or on its way there. `said` is its stderr, once it is gone."""

    said = ""

    def __init__(self, process: subprocess.Popen[str], path: Path, notices: socket.socket) -> None:
        self.process = process
        self.path = path
        self._notices = notices

    def client(self) -> closing[Client]:
        """A new connection."""
        return closing(Client(self.path))

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, object]:
        """One request over a connection of its own."""
        with self.client() as client:
            return client.ask(method, path, body, headers)

    def call(
        self, hook: str, payload: Mapping[str, object], headers: Mapping[str, str] | None = None, **more: object
    ) -> dict[str, object]:
        """One call; its answer, which is a verdict."""
        status, answer = self.ask("POST", f"/v1/hooks/{hook}", {"payload": payload, **more}, headers)
        assert isinstance(answer, dict)
        assert status == 200, answer
        return answer

    def command(self, name: str, params: Mapping[str, object] | None = None) -> Any:
        """Have a command followed; its answer."""
        status, answer = self.ask("POST", f"/v1/commands/{name}", params or {})
        assert status == 200, answer
        return answer

    def revision(self) -> int:
        """The number of what serves."""
        answer = self.ask("GET", "/v1/status")[1]
        assert isinstance(answer, dict)
        return int(answer["revision"]["number"])

    def serves(self, number: int) -> None:
        """Wait until a revision serves. Events come one by one; their stream is bounded by the client's patience."""
        with self.client() as client:
            client.request("GET", "/v1/events")
            stream = client.getresponse()
            while self.revision() < number:
                line = stream.readline()
                assert line, "the stream ended"
        assert self.revision() == number

    def ready(self) -> None:
        """Wait until it says so."""
        assert self._notices.recv(100) == b"READY=1"

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stopping(self) -> None:
        """Wait until it says that it heard the signal."""
        assert self._notices.recv(100) == b"STOPPING=1"

    def ended(self) -> int:
        """Wait until it is gone; its exit status."""
        return self.process.wait(WAIT_SECONDS)


@contextmanager
def serving(
    folder: Path,
    environment: Mapping[str, str],
    *options: object,
    wait: bool = True,
    fails: bool = False,
    within: Path | None = None,
) -> Iterator[Host]:
    """`penstock serve`, started in the folder `within`. It has to end with 0, unless it `fails`."""
    with (
        tempfile.TemporaryDirectory() as short,
        tempfile.TemporaryFile("w+") as errors,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices,
    ):
        notices.bind(f"{short}/notice")
        notices.settimeout(WAIT_SECONDS)
        path = Path(short, "serve.sock")
        process = subprocess.Popen(
            [str(PENSTOCK), "serve", str(folder), "--socket", str(path), *map(str, options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            cwd=within,
            env={**os.environ, **environment, "NOTIFY_SOCKET": f"{short}/notice"},
        )
        host = Host(process, path, notices)
        try:
            if wait:
                host.ready()
            yield host
            if process.poll() is None and not fails:
                host.signal()
            assert host.ended() == 0 or fails
        except BaseException:
            errors.seek(0)
            print(errors.read())  # pytest shows it beside what failed
            raise
        finally:
            process.kill()
            process.wait(WAIT_SECONDS)
            errors.seek(0)
            host.said = errors.read()
