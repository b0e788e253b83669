"""A plan with its generations as journal and history keep it: enough to run it again another day, or to say why not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from isolation.store.store import Prepared
from orchestrator.loading import Archive, Loaded, reload, source_of
from pipelines.file.overriding import Override
from pipelines.plan import Mode

__all__ = [
    "ArchivedPlan",
    "ArchivedRevision",
    "archived",
    "archived_plan",
    "read_archive",
    "read_archived_revision",
]


class ArchivedPlugin(msgspec.Struct, array_like=True, frozen=True):
    """A plugin as it was prepared. `source` is the absolute path in the file, `script` its file where it is one.

    What the path led to is no matter: a link may be turned, and a plan that was read back lies in the store.
    """

    source: str
    script: str | None
    plugin: str
    snapshot: str
    environment: str | None
    python: str
    fingerprint: str | None
    digest: str
    data: str | None

    @property
    def prepared(self) -> Prepared:
        """What the store gave."""
        return Prepared(
            self.plugin,
            Path(self.snapshot),
            None if self.environment is None else Path(self.environment),
            Path(self.python),
            self.fingerprint,
            self.digest,
            None if self.data is None else Path(self.data),
        )


class ArchivedOverride(msgspec.Struct, array_like=True, frozen=True):
    """A mode that was set by command; see `pipelines/file/overriding.py`."""

    stage: str
    mode: Mode
    until: float
    reason: str
    by: str


class ArchivedPlan(msgspec.Struct, array_like=True, frozen=True):
    """Everything that a plan was made from."""

    path: str
    profile: str | None
    files: dict[str, bytes]
    plugins: dict[str, ArchivedPlugin]
    overrides: tuple[ArchivedOverride, ...] = ()

    @property
    def names(self) -> Iterator[str]:
        """The fingerprints and digests that it needs of the store."""
        for plugin in self.plugins.values():
            yield plugin.digest
            if plugin.fingerprint is not None:
                yield plugin.fingerprint

    def load(self, overrides: tuple[Override, ...] | None = None) -> Loaded:
        """Make the plan again, from the snapshots of its plugins. Raise SpecError.

        `overrides`, where they are given, are laid over it instead of those that were then.
        """
        sources = {
            plugin.source: Path(plugin.snapshot) / plugin.script if plugin.script else Path(plugin.snapshot)
            for plugin in self.plugins.values()
        }
        if overrides is None:
            then = self.overrides
            overrides = tuple(Override(one.stage, one.mode, one.until, one.reason, one.by) for one in then)
        return reload(Archive(self.path, self.profile, self.files, overrides), sources)


class ArchivedRevision(msgspec.Struct, array_like=True, frozen=True):
    """A plan as it was in service. `processes` has what PluginOutline.process was of each plugin."""

    plan: ArchivedPlan
    processes: dict[str, str]


def archived_plan(loaded: Loaded, prepared: Mapping[str, Prepared]) -> ArchivedPlan:
    """Everything that a plan was made from, its plugins as the store has them."""
    plugins = {name: _plugin(loaded, name, one) for name, one in sorted(prepared.items())}
    archive = loaded.archive
    overrides = tuple(ArchivedOverride(o.stage, o.mode, o.until, o.reason, o.by) for o in archive.overrides)
    return ArchivedPlan(archive.path, archive.profile, dict(sorted(archive.files.items())), plugins, overrides)


def archived(loaded: Loaded, prepared: Mapping[str, Prepared]) -> tuple[str, bytes]:
    """A plan's digest, and itself as bytes."""
    body = msgspec.msgpack.encode(archived_plan(loaded, prepared))
    return hashlib.sha256(body).hexdigest(), body


def _plugin(loaded: Loaded, name: str, prepared: Prepared) -> ArchivedPlugin:
    manifest = loaded.manifests[name]
    return ArchivedPlugin(
        source_of(loaded, name),
        None if manifest.script is None else manifest.script.name,
        prepared.plugin,
        str(prepared.snapshot),
        None if prepared.environment is None else str(prepared.environment),
        str(prepared.python),
        prepared.fingerprint,
        prepared.digest,
        None if prepared.data is None else str(prepared.data),
    )


def read_archive(body: bytes) -> ArchivedPlan:
    """Raise msgspec.DecodeError for what is none."""
    return msgspec.msgpack.decode(body, type=ArchivedPlan)


def read_archived_revision(body: bytes) -> ArchivedRevision:
    """Raise msgspec.DecodeError for what is none."""
    return msgspec.msgpack.decode(body, type=ArchivedRevision)
