"""What it takes to start one worker: a value that holds every choice, so that starting decides nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.manifest.values import Manifest
from isolation.protocol.frames import MAX_FRAME_BYTES
from isolation.protocol.messages import PROTOCOL_VERSION

if TYPE_CHECKING:
    from isolation.store.store import Prepared

__all__ = ["LAUNCHER", "PASSED_VARIABLES", "WorkerSpec", "child_environment", "host_version"]

LAUNCHER = Path(__file__).parent / "runtime" / "launch.py"
"""The one program that every worker starts through."""

PASSED_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""All that a worker sees of the host's environment unless its manifest passes more."""


def child_environment(
    host: Mapping[str, str], passed: tuple[str, ...] = (), fixed: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Build a worker's environment from the allow-list, the manifest's `pass` and its `set`."""
    chosen = {name: host[name] for name in (*PASSED_VARIABLES, *passed) if name in host}
    return {**chosen, **(fixed or {})}


def host_version() -> str:
    """The version of the penstock distribution."""
    return version("penstock")


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Everything about a worker that is the same for all replicas of its generation.

    `plugin` is its name in the pipeline file, `plugin_name` the one in its manifest.
    `site` is False for a plugin without an environment: it sees no package of the host's interpreter.
    An idle worker or an event loop that misses a ping is killed.
    `window` is how many calls a `command` plugin takes at once; our own runtime says so itself in the handshake.
    `undoes` maps each stage of `stages` that is an undo to the stage that it undoes.
    """

    plugin: str
    plugin_name: str
    version: str
    python: Path
    root: Path
    stages: tuple[str, ...]
    digest: str
    entry: str | None = None
    command: tuple[str, ...] | None = None
    window: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    startup_seconds: float = 10.0
    kill_after_seconds: float = 1.0
    max_frame_bytes: int = MAX_FRAME_BYTES
    ping_every_seconds: float = 10.0
    ping_within_seconds: float = 5.0
    data: Path | None = None
    site: bool = True
    undoes: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`plugin@digest`, shortened for people."""
        return f"{self.plugin}@{self.digest[:8]}"

    @classmethod
    def of(cls, name: str, manifest: Manifest, prepared: Prepared, host: Mapping[str, str]) -> WorkerSpec:
        """Choose for a plugin that the store has prepared; `host` is the host's own environment."""
        return cls(
            plugin=name,
            plugin_name=manifest.name,
            version=manifest.version,
            python=prepared.python,
            root=prepared.snapshot,
            stages=tuple(manifest.stages),
            digest=prepared.digest,
            entry=manifest.entry,
            command=manifest.command,
            window=manifest.concurrency,
            environment=child_environment(host, manifest.env_pass, manifest.env_set),
            startup_seconds=manifest.limits.startup_seconds,
            kill_after_seconds=manifest.limits.kill_after_seconds,
            data=prepared.data,
            site=prepared.environment is not None,
            undoes=manifest.undoes,
        )

    def argv(self) -> list[str]:
        """The command line of the launcher; it holds no secret."""
        launch = {
            "parent": os.getpid(),
            "root": str(self.root),
            "entry": self.entry,
            "command": list(self.command) if self.command else None,
            "max_frame": self.max_frame_bytes,
            "site": self.site,
        }
        return [str(self.python or sys.executable), "-I", "-S", "-B", str(LAUNCHER), json.dumps(launch)]

    def initialize(self) -> dict[str, object]:
        """The parameters of `initialize`."""
        return {
            "protocol": {"min": PROTOCOL_VERSION, "max": PROTOCOL_VERSION},
            "host": {"name": "penstock", "version": host_version()},
            "plugin": {"name": self.plugin_name, "version": self.version},
            "stages": list(self.stages),
            "max_frame": self.max_frame_bytes,
            "data": str(self.data) if self.data else None,
        }
