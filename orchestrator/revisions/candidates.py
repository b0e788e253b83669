"""Where candidates come from: the files as they are now, or a revision as it was. Reads files and asks the store.

Everything here blocks, and is called in a thread.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from isolation.store.preview import Preview
from isolation.store.resolution import digest_of
from isolation.store.store import Prepared, Store
from orchestrator.generations import Report, named_as_in, prepare
from orchestrator.loading import Footprint, Loaded, load, load_tree
from orchestrator.reload.outline import Outline, outline_of
from orchestrator.revisions.archive import ArchivedRevision
from orchestrator.revisions.content import content_of
from orchestrator.revisions.revision import Candidate
from orchestrator.secrets import Handover, Vault, secret_files, without_secrets
from pipelines.file.overriding import LAYER, Override, override
from pipelines.problem import SpecError

__all__ = ["Candidates"]

GIT_SECONDS = 2.0
"""A repository on a slow disk must not hold up a change; then its commit is not told."""


class Candidates:
    """Makes candidates of the file at `path`."""

    def __init__(self, path: Path, profile: str | None, store: Store, vault: Vault) -> None:
        self.path = path
        self.overrides: tuple[Override, ...] = ()
        """What is laid over the file now, whatever candidate is made."""
        self.footprint = Footprint()
        """All that the last reading looked at, whatever came of it."""
        self._profile = profile
        self._store = store
        self._vault = vault
        self._looked_at: dict[str, bytes] = {}

    def from_files(self, report: Report) -> Candidate:
        """What the files say now, its environments built. Raises SpecError and EnvironmentBuildError."""
        return self.prepared(self.read(), report)

    def was_read(self, loaded: Loaded) -> None:
        """Take what somebody else read for the last reading."""
        _add_secrets(loaded)
        self.footprint = loaded.footprint

    def differs(self) -> bool:
        """Whether the files hold something else than when they were looked at last. Blocks."""
        return content_of(self.footprint) != self._looked_at

    def look(self) -> str:
        """Take what the files hold now for looked at: it is not to be applied unless somebody asks for it. Blocks.

        Return a digest of it.
        """
        self._looked_at = content_of(self.footprint)
        return digest_of(sorted((name, content.hex()) for name, content in self._looked_at.items()))

    def read(self) -> Loaded:
        """The checked file. Raises SpecError."""
        before = content_of(self.footprint)
        try:
            return self._read()
        finally:
            # What is watched already has to be what it was before it was read; the rest is not known any earlier.
            self._looked_at = {**content_of(self.footprint), **_still(before, self.footprint)}

    def _read(self) -> Loaded:
        footprint = Footprint()
        try:
            loaded = self._load(footprint)
            _add_secrets(loaded)
            return loaded
        except SpecError:
            # What was there before may be needed to mend what is not: an include that is gone, and all behind it.
            footprint.files |= self.footprint.files
            footprint.plugins |= self.footprint.plugins
            raise
        finally:
            self.footprint = footprint

    def _load(self, footprint: Footprint) -> Loaded:
        """Load the file with its overrides, but for those whose stage is gone."""
        try:
            return load(self.path, profile=self._profile, overrides=self.overrides, footprint=footprint)
        except SpecError as error:
            if not any(problem.path == LAYER for problem in error.problems):
                raise
        tree = load_tree(self.path, profile=self._profile)
        kept = [one for one in self.overrides if not override(tree, [one]).problems]
        return load(self.path, profile=self._profile, overrides=kept, footprint=footprint)

    def prepared(self, loaded: Loaded, report: Report) -> Candidate:
        """A checked file with its environments built. Raises EnvironmentBuildError."""
        previews = self._previews(loaded)
        made = prepare(loaded, self._store, report)
        try:
            # Between the two somebody may have saved a file: what was prepared is what will run.
            seen = {name: _as_made(previews[name], self._store.describe(made[name])) for name in made}
            handed = self._vault.hand_over(loaded.plan)
            return Candidate(loaded, made, handed, _outline(loaded, seen, handed))
        except BaseException:
            self._release(made)
            raise

    def outline_of_files(self) -> Outline:
        """The same in outline, nothing built. Raises SpecError and EnvironmentBuildError.

        That is only looking: what was not applied before is applied by the watch all the same.
        """
        footprint, looked_at = self.footprint, self._looked_at
        try:
            loaded = self.read()
        finally:
            self.footprint, self._looked_at = footprint, looked_at
        return _outline(loaded, self._previews(loaded), self._vault.hand_over(loaded.plan))

    def _previews(self, loaded: Loaded) -> dict[str, Preview]:
        plugins = loaded.plan.plugins
        wanted = [(loaded.manifests[name], plugin.extras) for name, plugin in plugins.items()]
        with named_as_in(loaded):
            return dict(zip(plugins, self._store.preview_all(wanted), strict=True))

    def from_archive(self, archive: ArchivedRevision) -> Candidate:
        """A revision as it was. Raises SpecError, and EnvironmentBuildError where the store has it no more."""
        made: dict[str, Prepared] = {}
        try:
            # The files first: a plan whose plugins are gone would be said to be wrong.
            for name, plugin in archive.plan.plugins.items():
                made[name] = self._store.revive(plugin.prepared)
            loaded = archive.plan.load(self.overrides)
            handed = self._vault.hand_over(loaded.plan)
            return Candidate(loaded, made, handed, self._as_archived(loaded, made, handed, archive))
        except BaseException:
            self._release(made)
            raise

    def _as_archived(
        self, loaded: Loaded, made: Mapping[str, Prepared], handed: Mapping[str, Handover], archive: ArchivedRevision
    ) -> Outline:
        """The outline of a revision. Its processes were archived: they name folders that may be elsewhere now."""
        fresh = _outline(loaded, {name: self._store.describe(one) for name, one in made.items()}, handed)
        plugins = {name: replace(one, process=archive.processes[name]) for name, one in fresh.plugins.items()}
        return replace(fresh, plugins=plugins)

    def _release(self, made: Mapping[str, Prepared]) -> None:
        for one in made.values():
            self._store.release(one)

    def commit(self) -> str:
        """The git commit of the folder of the file, with "+" where files differ from it; "" where there is none."""
        folder = self.path if self.path.is_dir() else self.path.parent
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        return head and head + "+" * bool(_git(folder, "status", "--porcelain", "--", "."))


def _add_secrets(loaded: Loaded) -> None:
    """Count the files of secrets among those that a file names."""
    loaded.footprint.files |= {str(path) for path in secret_files(loaded.plan)}


def _still(content: Mapping[str, bytes], footprint: Footprint) -> dict[str, bytes]:
    """What of the content belongs to the footprint."""
    names = footprint.files | footprint.plugins | {f"{plugin}.lock" for plugin in footprint.plugins}
    return {name: digest for name, digest in content.items() if name in names}


def _outline(loaded: Loaded, seen: Mapping[str, Preview], handed: Mapping[str, Handover]) -> Outline:
    environ = without_secrets(loaded.plan, os.environ)
    secrets = {name: handover.fingerprint for name, handover in handed.items()}
    return outline_of(loaded.plan, loaded.manifests, seen, environ, secrets)


def _git(folder: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def _as_made(preview: Preview, made: Preview) -> Preview:
    return replace(made, environment_ready=preview.environment_ready, snapshot_ready=preview.snapshot_ready)
