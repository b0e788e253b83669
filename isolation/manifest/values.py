"""A checked manifest as values. Nothing here reads a file or knows a hook by name."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "Effects",
    "HookRule",
    "Limits",
    "Manifest",
    "Permissions",
    "Reload",
    "SourceKind",
    "StageManifest",
]


class SourceKind(enum.Enum):
    """Where a plugin's requirements are written."""

    PROJECT = "project"
    """`[project]` of `pyproject.toml`, pinned by `uv.lock`."""
    REQUIREMENTS = "requirements"
    """`requirements.txt`, pinned by `pylock.toml`."""
    SCRIPT = "script"
    """The PEP 723 block of a single file, pinned by `NAME.py.lock`."""
    BARE = "bare"
    """Nowhere: it needs nothing but an interpreter, or not even that (`command`)."""


class Effects(enum.Enum):
    """What a stage does to the world besides answering."""

    NONE = "none"
    LOCAL = "local"
    EXTERNAL = "external"


class Reload(enum.Enum):
    """Whether two generations may live side by side."""

    OVERLAP = "overlap"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class HookRule:
    """Paths such as `payload.args` that a stage reads and may write on one hook; None where nothing is declared."""

    reads: tuple[str, ...] | None = None
    writes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class StageManifest:
    """One stage. `outputs` maps names to kinds (string, int, double, bool, list, object, any); `hooks` None: any.

    `undoes` names the stage of this manifest that this one compensates; it is called for nothing else. `admits` says
    that the stage is the one that lets something in on its hooks. `signs` names outputs that the host signs,
    `counts` those whose values it counts.
    """

    name: str
    effects: Effects = Effects.NONE
    idempotent: bool = False
    outputs: Mapping[str, str] = field(default_factory=dict)
    hooks: Mapping[str, HookRule] | None = None
    undoes: str | None = None
    admits: bool = False
    signs: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the plugin asks for; nothing is granted by asking. It works without `optional_secrets`."""

    network: tuple[str, ...] = ()
    filesystem: tuple[str, ...] = ()
    subprocess: bool = False
    secrets: tuple[str, ...] = ()
    optional_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What the plugin asks for. `startup_seconds` is the longest time without progress while starting."""

    memory_bytes: int | None = None
    startup_seconds: float = 10.0
    kill_after_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checked manifest. `root` is the plugin's folder (a script's own folder), absolute; `script` the single file.

    `entry` is `module:object`, None for a `command` plugin. `extras` are the author's choice among `available_extras`.
    `sdists` names the distributions that may be built from source, normalised as in PEP 503. `dependencies` are the
    requirements as written where the manifest itself holds them (`[project]`, PEP 723). `deprecated` says what to use
    instead, and is empty where the plugin may be used. `commands` maps the commands that the plugin brings to their
    `module:function`.
    """

    name: str
    version: str
    kind: SourceKind
    root: Path
    stages: Mapping[str, StageManifest]
    summary: str = ""
    deprecated: str = ""
    api: str = ">=1.0,<2"
    requires_python: str | None = None
    script: Path | None = None
    entry: str | None = None
    command: tuple[str, ...] | None = None
    concurrency: int | None = None
    config_schema: Mapping[str, object] | None = None
    data: bool = False
    reload: Reload = Reload.OVERLAP
    extras: tuple[str, ...] = ()
    available_extras: frozenset[str] = frozenset()
    sdists: frozenset[str] = frozenset()
    dependencies: tuple[str, ...] = ()
    permissions: Permissions = Permissions()
    env_set: Mapping[str, str] = field(default_factory=dict)
    env_pass: tuple[str, ...] = ()
    limits: Limits = Limits()
    commands: Mapping[str, str] = field(default_factory=dict)

    @property
    def undoes(self) -> Mapping[str, str]:
        """Maps each stage that is an undo to the stage that it undoes."""
        return {name: stage.undoes for name, stage in self.stages.items() if stage.undoes is not None}
