"""A shop whose runs are durable, as a folder on disk, and hosts that serve it: real processes with an open stdin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Host", "embedded", "serving", "write_shop"]

PENSTOCK = Path(sysconfig.get_path("scripts")) / "penstock"
EMBEDDED = Path(__file__).parent / "embedded_host.py"

WAIT_SECONDS = 60.0
"""The longest that a host here may take to start, to answer or to end."""

MANIFEST = """\
[tool.penstock]
name = "till"
version = "1.0.0"

[tool.penstock.stages.take]
effects = "external"
idempotent = true
outputs = { receipt = "string" }

[tool.penstock.stages.give_back]
undoes = "take"

[tool.penstock.stages.weigh]
"""

CODE = '''\
"""Takes money, and gives it back unless its drawer is stuck: a file `stuck` beside the pipeline file."""

import os
from pathlib import Path

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("take")
def take(call):
    return call.allow(out={"receipt": "paid " + call.key})


@plugin.compensation("give_back", undoes="take")
def give_back(call):
    if Path(call.payload["args"].get("drawer", ""), "stuck").exists():
        raise RuntimeError("the drawer is stuck")


@plugin.stage("weigh")
def weigh(call):
    wish = call.payload["args"].get("wish")
    if wish == "die":
        os._exit(3)
    if wish == "deny":
        return call.deny("till.no", "not for sale")
'''

PIPELINE = """\
version: 1
name: shop
plugins:
  till: { source: ./till, replicas: 1, restart: { intensity: 0, period: 1m } }
policies:
  breakers:
    steady: { window: 20, minimum_calls: 10, failure_rate: 0.5, open_for: 30s, probes: 3 }
hooks:
  order: { summary: A customer orders, payload: { name: string, args: object }, can_deny: true }
  offer: { summary: A customer may order, payload: { name: string, args: object }, can_deny: true }
  look: { summary: A customer looks, payload: { name: string, args: object }, can_deny: true }
pipelines:
  order:
    hook: order
    deadline: 20s
    durable: true
    stages:
      pay: { uses: till/take, compensate: { uses: till/give_back, in: { receipt: "${stages.pay.out.receipt}" } } }
      weigh: { uses: till/weigh, needs: [pay], breaker: steady }
  offer:
    hook: offer
    deadline: 20s
    durable: true
    confirm_within: 10m
    stages:
      pay: { uses: till/take, compensate: { uses: till/give_back } }
  look:
    hook: look
    deadline: 20s
    stages:
      weigh: { uses: till/weigh, breaker: steady }
"""


def write_shop(folder: Path) -> Path:
    """Write the pipeline file and its plugin; return the folder."""
    plugin = folder / "till"
    plugin.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (plugin / "pyproject.toml").write_text(MANIFEST)
    (plugin / "plugin.py").write_text(CODE)
    return folder


class Host:
    """A process that answers a line of JSON with a line of JSON, and serves commands as long as its stdin is open."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self._folder = folder

    def call(self, hook: str, wish: str = "", **more: object) -> dict[str, object]:
        """Make a call and wait for its record."""
        assert self.process.stdin is not None and self.process.stdout is not None
        payload = {"name": "bread", "args": {"wish": wish, "drawer": str(self._folder)}}
        self.process.stdin.write(json.dumps({"hook": hook, "payload": payload, **more}) + "\n")
        self.process.stdin.flush()
        with _at_most(self.process):
            record: dict[str, object] = json.loads(self.process.stdout.readline())
        return record

    def end(self) -> None:
        """Close its stdin, and wait until it is gone."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(WAIT_SECONDS)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait(WAIT_SECONDS)


@contextmanager
def _at_most(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process that does not answer, so that the read ends."""
    alarm = threading.Timer(WAIT_SECONDS, process.kill)
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()


@contextmanager
def serving(folder: Path, environment: Mapping[str, str], *options: str) -> Iterator[Host]:
    """`penstock run` over an open stdin."""
    command = [str(PENSTOCK), "run", str(folder), "--input", "-", "--json", *options]
    with _process(command, folder, environment) as host:
        yield host


@contextmanager
def embedded(folder: Path, environment: Mapping[str, str]) -> Iterator[Host]:
    """A gateway that embeds the orchestrator and confirms nothing by itself."""
    # -P: beside the script lie folders that bear the names of the packages.
    with _process([sys.executable, "-P", str(EMBEDDED), str(folder)], folder, environment) as host:
        yield host


@contextmanager
def _process(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Host]:
    # stderr goes to a file: nobody reads it before the end, and a full pipe would stop the host.
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **environment},
        )
        host = Host(process, folder)
        try:
            yield host
            host.end()
        except BaseException:
            errors.seek(0)
            print(errors.read())  # pytest shows it beside what failed
            raise
        finally:
            process.kill()
            process.wait(WAIT_SECONDS)
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                if not stream.closed:
                    stream.close()
