"""From a path on disk to a checked plan: reads the pipeline file, what it includes and the manifests it names.

What is right or wrong is decided in `pipelines.lint`; this file only fetches, and says names as the user types them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isolation.errors import ManifestError, ManifestProblem
from isolation.manifest import HookRule, Manifest, StageManifest, read_manifest
from orchestrator.reload.versions import api_deprecation, python_problem
from pipelines.declaration import Asks, HookUse, PluginDeclaration, StageDeclaration
from pipelines.file.layers import Layers, Unreadable, overlay, stack
from pipelines.file.overriding import Override, override
from pipelines.file.spec import PROFILE
from pipelines.file.tree import Table
from pipelines.lint.check import check
from pipelines.lint.draft import BadPlugin
from pipelines.plan import Plan
from pipelines.problem import Mark, Problem, SpecError
from pipelines.suggest import nearest

__all__ = ["Archive", "Footprint", "Loaded", "load", "load_tree", "reload", "source_of"]

FILE_NAME = "pipeline.yaml"

MAX_READ_BYTES = 64 * 2**20
"""No word list or schema is this long; what reads a file sets tighter bounds of its own."""


@dataclass(frozen=True, slots=True)
class Archive:
    """All that a plan was made from but the plugins, so that it can be made again: every file by its absolute path.

    `overrides` are those that were laid over the file, whether their time is over by now or not.
    """

    path: str
    profile: str | None
    files: Mapping[str, bytes]
    overrides: tuple[Override, ...] = ()


@dataclass(slots=True)
class Footprint:
    """The absolute paths of all that was looked at, there or not: the files, and the folder or file of each plugin."""

    files: set[str] = field(default_factory=set)
    plugins: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked file. `manifests` has those of `plan.plugins`; `tree` is the merged text with every value's place."""

    plan: Plan
    manifests: Mapping[str, Manifest]
    path: Path
    tree: Table
    archive: Archive
    profile: str | None = None
    footprint: Footprint = field(default_factory=Footprint, compare=False)


def load(
    path: Path, *, profile: str | None = None, overrides: Sequence[Override] = (), footprint: Footprint | None = None
) -> Loaded:
    """Load a pipeline file, or the `pipeline.yaml` of a folder. Raise SpecError with every mistake found.

    `overrides` are laid over it: what they make of it has to be right, too. `footprint` is filled also when it is not.
    """
    disk = _Disk(Footprint() if footprint is None else footprint)
    return _load(path / FILE_NAME if path.is_dir() else path, profile, tuple(overrides), disk)


def reload(archive: Archive, sources: Mapping[str, Path]) -> Loaded:
    """Make a plan again. `sources` has the folder or file of each plugin as it was, by the absolute path of its source.

    Raise SpecError when this penstock does not take what an earlier one took.
    """
    archived = _Archived(Footprint(), files=archive.files, sources=sources)
    return _load(Path(archive.path), archive.profile, archive.overrides, archived)


def source_of(loaded: Loaded, plugin: str) -> str:
    """The absolute path of a plugin's source as its file names it, whatever it leads to: what `reload` asks by."""
    plan = loaded.plan.plugins[plugin]
    assert plan.mark is not None
    return os.path.abspath(_beside(plan.source, plan.mark.file))


def _load(file: Path, profile: str | None, overrides: tuple[Override, ...], disk: _Disk) -> Loaded:
    layers = stack(_shown(file), disk)
    plan = check(layers, disk, disk, profile, overrides)
    manifests = {name: disk.manifest(plugin.source, plugin.mark) for name, plugin in plan.plugins.items()}
    archive = Archive(os.path.abspath(file), profile, disk.seen, overrides)
    return Loaded(
        plan, manifests, file, override(_merged(layers, profile), overrides).root, archive, profile, disk.footprint
    )


def load_tree(path: Path, *, profile: str | None = None) -> Table:
    """The merged text alone, whatever it says. Raise SpecError when there is no reading it, or no such profile."""
    layers = stack(_shown(path / FILE_NAME if path.is_dir() else path), _Disk(Footprint()))
    if profile is not None and profile not in layers.profiles:
        near = nearest(profile, layers.profiles)
        missing = Problem(layers.root.mark, "unknown-profile", "profiles", f"the file has no profile {profile!r}", near)
        raise SpecError((missing,))
    if not layers.root.entries and layers.problems:
        raise SpecError(layers.problems)
    return _merged(layers, profile)


def _merged(layers: Layers, profile: str | None) -> Table:
    return layers.root if profile is None else overlay(layers.root, layers.profiles[profile], profile, PROFILE.keys, [])


def _beside(written: str, beside: str) -> Path:
    return Path(beside).parent / Path(written).expanduser()


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

    footprint: Footprint
    seen: dict[str, bytes] = field(default_factory=dict)
    _manifests: dict[Path, Manifest | ManifestError] = field(default_factory=dict)

    def resolve(self, written: str, beside: str) -> str:
        return _shown(_beside(written, beside))

    def read(self, name: str) -> bytes:
        absolute = os.path.abspath(name)
        self.footprint.files.add(absolute)
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
        self.footprint.plugins.add(os.path.abspath(path))
        if not self.source(path).exists():
            raise BadPlugin(f"there is no folder or file {_shown(path)}")
        found = self._read(path)
        if isinstance(found, ManifestError):
            raise BadPlugin(str(found), tuple(_problem(p) for p in found.problems))
        return _declaration(found, self.unfit(found))

    def unfit(self, manifest: Manifest) -> str:
        """Why a plugin cannot run on this machine, or nothing."""
        problem = python_problem(manifest.requires_python, (platform.python_version(),))
        for versions in _installed_pythons() if problem is not None else ():
            problem = python_problem(manifest.requires_python, versions)
            if problem is None:
                break
        return problem or ""

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

    def unfit(self, manifest: Manifest) -> str:
        """Nothing: it ran, and its environment has the interpreter of then."""
        return ""


def _installed_pythons() -> Iterator[tuple[str, ...]]:
    """The versions that the user's store can choose from, ever more of them, as they are found."""
    from isolation.store.interpreters import Interpreters
    from isolation.store.places import default_store_root
    from isolation.store.uv import Uv, uv_environment

    yield from Interpreters(default_store_root() / "interpreters.json", Uv(uv_environment(os.environ))).versions()


def _problem(found: ManifestProblem) -> Problem:
    mark = Mark(_shown(Path(found.file)), found.line, found.column)
    return Problem(mark, "manifest", found.path, found.message, found.suggestion)


def _declaration(manifest: Manifest, unfit: str) -> PluginDeclaration:
    asks = manifest.permissions
    deprecated = f"the plugin is deprecated: {manifest.deprecated}" if manifest.deprecated else None
    return PluginDeclaration(
        name=manifest.name,
        version=manifest.version,
        stages={name: _stage(stage) for name, stage in manifest.stages.items()},
        config_schema=manifest.config_schema,
        available_extras=manifest.available_extras,
        asks=Asks(asks.network, asks.filesystem, asks.subprocess, asks.secrets, asks.optional_secrets),
        deprecations=tuple(filter(None, (deprecated, api_deprecation(manifest.api)))),
        unfit=unfit,
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
        counts=stage.counts,
    )


def _use(rule: HookRule) -> HookUse:
    return HookUse(_paths(rule.reads), _paths(rule.writes))


def _paths(written: tuple[str, ...] | None) -> tuple[tuple[str, ...], ...] | None:
    return None if written is None else tuple(tuple(path.split(".")) for path in written)
