"""What a pipeline has to know about a plugin: its stages, what they touch, what they put out.

The orchestrator fills these values from the plugin's manifest; nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Asks", "HookUse", "Path", "PluginDeclaration", "StageDeclaration"]

Path = tuple[str, ...]
"""Member names from the root, `("payload", "args")` for `payload.args`."""


@dataclass(frozen=True, slots=True)
class HookUse:
    """What a stage looks at and may change on one hook; None where the author declared nothing."""

    reads: tuple[Path, ...] | None = None
    writes: tuple[Path, ...] | None = None


@dataclass(frozen=True, slots=True)
class StageDeclaration:
    """One stage that a plugin offers. `hooks` is None when it may be used on any hook.

    `undoes` names the stage of the same plugin that this one compensates; it is called for nothing else. `admits` makes
    it an admission stage: where it is offered on an admission hook, nothing is let in without it. `signs` names the
    outputs that the host signs, `counts` those whose values it counts.
    """

    name: str
    effects: str = "none"
    idempotent: bool = False
    outputs: Mapping[str, str] = field(default_factory=dict)
    hooks: Mapping[str, HookUse] | None = None
    undoes: str | None = None
    admits: bool = False
    signs: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asks:
    """Permissions a plugin asks for; each must be granted in the pipeline file, but for `optional_secrets`."""

    network: tuple[str, ...] = ()
    filesystem: tuple[str, ...] = ()
    subprocess: bool = False
    secrets: tuple[str, ...] = ()
    optional_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PluginDeclaration:
    """A plugin as its manifest describes it. `config_schema` is JSON Schema 2020-12 of `with`.

    `deprecations` are sentences that say why it should not be used any more; `unfit` says why it cannot run on this
    host, and is empty where it can.
    """

    name: str
    version: str
    stages: Mapping[str, StageDeclaration]
    config_schema: Mapping[str, object] | None = None
    available_extras: frozenset[str] = frozenset()
    asks: Asks = Asks()
    deprecations: tuple[str, ...] = ()
    unfit: str = ""
