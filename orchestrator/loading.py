"""From a path on disk to a checked plan: reads the pipeline file, what it includes and the manifests it names.

What is right or wrong is decided in `pipelines.lint`; this file only fetches, and says names as the user types them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isolation.errors import ManifestError, ManifestProblem
from isolation.manifest import HookRule, Manifest, StageManifest, read_manifest
from pipelines.declaration import Asks, HookUse, PluginDeclaration, StageDeclaration
from pipelines.file.layers import Layers, Unreadable, overlay, stack
from pipelines.file.spec import PROFILE
from pipelines.file.tree import Table
from pipelines.lint.check import check
from pipelines.lint.draft import BadPlugin
from pipelines.plan import Plan
from pipelines.problem import Mark, Problem, SpecError
from pipelines.suggest import nearest

__all__ = ["Archive", "Loaded", "load", "load_tree", "reload"]

FILE_NAME = "pipeline.yaml"

MAX_READ_BYTES = 64 * 2**20
"""No word list or schema is this long; what reads a file sets tighter bounds of its own."""


@dataclass(frozen=True, slots=True)
class Archive:
    """All that a plan was made from but the plugins, so that it can be made again: every file by its absolute path."""

    path: str
    profile: str | None
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked file. `manifests` has those of `plan.plugins`; `tree` is the merged text with every value's place."""

    plan: Plan
    manifests: Mapping[str, Manifest]
    path: Path
    tree: Table
    archive: Archive
    profile: str | None = None


def load(path: Path, *, profile: str | None = None) -> Loaded:
    """Load a pipeline file, or the `pipeline.yaml` of a folder. Raise SpecError with every mistake found."""
    return _load(path / FILE_NAME if path.is_dir() else path, profile, _Disk())


def reload(archive: Archive, sources: Mapping[str, Path]) -> Loaded:
    """Make a plan again. `sources` has the folder or file of each plugin as it was, by the absolute path of its source.

    Raise SpecError when this penstock does not take what an earlier one took.
    """
    return _load(Path(archive.path), archive.profile, _Archived(files=archive.files, sources=sources))


def _load(file: Path, profile: str | None, disk: _Disk) -> Loaded:
    layers = stack(_shown(file), disk)
    plan = check(layers, disk, disk, profile)
    manifests = {name: disk.manifest(plugin.source, plugin.mark) for name, plugin in plan.plugins.items()}
    archive = Archive(os.path.abspath(file), profile, disk.seen)
    return Loaded(plan, manifests, file, _merged(layers, profile), archive, profile)


def load_tree(path: Path, *, profile: str | None = None) -> Table:
    """The merged text alone, whatever it says. Raise SpecError when there is no reading it, or no such profile."""
    layers = stack(_shown(path / FILE_NAME if path.is_dir() else path), _Disk())
    if profile is not None and profile not in layers.profiles:
        near = nearest(profile, layers.profiles)
        missing = Problem(layers.root.mark, "unknown-profile", "profiles", f"the file has no profile {profile!r}", near)
        raise SpecError((missing,))
    if not layers.root.entries and layers.problems:
        raise SpecError(layers.problems)
    return _merged(layers, profile)


def _merged(layers: Layers, profile: str | None) -> Table:
    return layers.root if profile is None else overlay(layers.root, layers.profiles[profile], profile, PROFILE.keys, [])


def _shown(path: Path) -> str:
    """The path as the user would type it: from here where it is below, else whole."""
    absolute = Path(os.path.abspath(path))
    try:
        return str(absolute.relative_to(Path.cwd()))
    except ValueError:
        return str(absolute)


@dataclass(slots=True)
class _Disk:
    """Files and manifests of this machine. Each manifest is read once; `seen` keeps what was read of files."""

    seen: dict[str, bytes] = field(default_factory=dict)
    _manifests: dict[Path, Manifest | ManifestError] = field(default_factory=dict)

    def resolve(self, written: str, beside: str) -> str:
        return _shown(Path(beside).parent / Path(written).expanduser())

    def read(self, name: str) -> bytes:
        absolute = os.path.abspath(name)
        self.seen[absolute] = data = self._bytes(name)
        return data

    def _bytes(self, name: str) -> bytes:
        path = Path(name)
        try:
            # A device or a pipe may never end.
            if path.exists() and not path.is_file():
                raise Unreadable("is a folder" if path.is_dir() else "is not a file")
            if path.exists() and path.stat().st_size > MAX_READ_BYTES:
                raise Unreadable(f"has more than {MAX_READ_BYTES} bytes")
            return path.read_bytes()
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from None
        except ValueError as error:
            raise Unreadable(str(error)) from None

    def declaration(self, source: str, beside: str) -> PluginDeclaration:
        path = Path(self.resolve(source, beside))
        if not self.source(path).exists():
            raise BadPlugin(f"there is no folder or file {_shown(path)}")
        found = self._read(path)
        if isinstance(found, ManifestError):
            raise BadPlugin(str(found), tuple(_problem(p) for p in found.problems))
        return _declaration(found)

    def manifest(self, source: str, mark: Mark | None) -> Manifest:
        """The manifest of a plugin that `declaration` has already found good."""
        assert mark is not None
        found = self._read(Path(self.resolve(source, mark.file)))
        assert isinstance(found, Manifest)
        return found

    def source(self, path: Path) -> Path:
        """Where the files of a plugin are."""
        return path

    def _read(self, path: Path) -> Manifest | ManifestError:
        if path not in self._manifests:
            try:
                self._manifests[path] = read_manifest(self.source(path))
            except ManifestError as error:
                self._manifests[path] = error
        return self._manifests[path]


@dataclass(slots=True, kw_only=True)
class _Archived(_Disk):
    """The same as it was when a plan was archived."""

    files: Mapping[str, bytes]
    sources: Mapping[str, Path]

    def _bytes(self, name: str) -> bytes:
        try:
            return self.files[os.path.abspath(name)]
        except KeyError:
            raise Unreadable("was not archived with the plan") from None

    def source(self, path: Path) -> Path:
        return self.sources.get(os.path.abspath(path), path)


def _problem(found: ManifestProblem) -> Problem:
    mark = Mark(_shown(Path(found.file)), found.line, found.column)
    return Problem(mark, "manifest", found.path, found.message, found.suggestion)


def _declaration(manifest: Manifest) -> PluginDeclaration:
    asks = manifest.permissions
    return PluginDeclaration(
        name=manifest.name,
        version=manifest.version,
        stages={name: _stage(stage) for name, stage in manifest.stages.items()},
        config_schema=manifest.config_schema,
        available_extras=manifest.available_extras,
        asks=Asks(asks.network, asks.filesystem, asks.subprocess, asks.secrets),
    )


def _stage(stage: StageManifest) -> StageDeclaration:
    hooks = None if stage.hooks is None else {name: _use(rule) for name, rule in stage.hooks.items()}
    return StageDeclaration(
        name=stage.name,
        effects=stage.effects.value,
        idempotent=stage.idempotent,
        outputs=stage.outputs,
        hooks=hooks,
        undoes=stage.undoes,
        admits=stage.admits,
        signs=stage.signs,
    )


def _use(rule: HookRule) -> HookUse:
    return HookUse(_paths(rule.reads), _paths(rule.writes))


def _paths(written: tuple[str, ...] | None) -> tuple[tuple[str, ...], ...] | None:
    return None if written is None else tuple(tuple(path.split(".")) for path in written)
