"""What a daemon with many plugins and nothing to do uses of a CPU."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from reloading.burden import cpu_seconds, living
from reloading.hosts import Daemon

__all__ = ["Idle", "idle", "write_many"]

SETTLE_SECONDS = 5.0
"""A first start compiles bytecode in the background."""

_CODE = """\
from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("look")
def look(call):
    pass
"""


@dataclass(frozen=True, slots=True)
class Idle:
    """Shares of one CPU, 0 to 1."""

    daemon: float
    others: float
    processes: int


def write_many(folder: Path, plugins: int) -> None:
    """Write a file of so many plugins, each in a stage."""
    names = [f"plugin_{number}" for number in range(plugins)]
    for name in names:
        (folder / name).mkdir(parents=True)
        manifest = f'[tool.penstock]\nname = "{name}"\nversion = "1.0.0"\n\n[tool.penstock.stages.look]\n'
        (folder / name / "pyproject.toml").write_text(manifest)
        (folder / name / "plugin.py").write_text(_CODE)
    document = {
        "version": 1,
        "name": "idle",
        "hooks": {"ask": {"summary": "A question", "payload": {"name": "string"}}},
        "plugins": {name: {"source": f"./{name}"} for name in names},
        "pipelines": {"all": {"hook": "ask", "stages": {name: {"uses": f"{name}/look"} for name in names}}},
    }
    (folder / "pipeline.yaml").write_text(json.dumps(document))


async def idle(host: Daemon, seconds: float) -> Idle:
    """Look at a host that does nothing."""
    await host.call("ask", b'{"name":"x"}')
    await asyncio.sleep(SETTLE_SECONDS)
    alone, together = cpu_seconds(host.pid, alone=True), cpu_seconds(host.pid)
    await asyncio.sleep(seconds)
    used = cpu_seconds(host.pid, alone=True) - alone
    others = cpu_seconds(host.pid) - together - used
    return Idle(used / seconds, others / seconds, sum(1 for _ in living(host.pid)))
