"""What is served and changed: a pipeline file and three plugins in a folder, and what an answer must show of them.

Two pipelines answer the hook `ask`, each by the plugins `a` and `b`; the hook `alone` is answered by `c`, of which
there can be only one generation. Every stage appends to `args.said` of the payload where it stands, its plugin, the
plugin's version, its configuration and the version of what it depends on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from isolation.manifest import read_manifest
from isolation.store.store import Store
from reloading.wheels import DISTRIBUTION, write_wheels

__all__ = ["ALONE", "ASK", "Face", "Look", "Scene"]

ASK = "ask"
ALONE = "alone"

PROBES = ("1.0", "2.0")
"""The versions of the distribution on which `b` depends."""

_STAGES_OF_C = ("one", "two", "three", "four")
"""As many as the other hook has, so that calls of both take as long."""

Face = tuple[tuple[object, ...], ...]
"""What an answer shows: for each of its stages, in order, what that stage appended."""

_CODE = """\
{head}
from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("mark")
def mark(call):
    args = call.payload["args"]
    mine = [call.config["at"], {name!r}, {version}, call.config.get("n"), {depends}]
    said = [*args.get("said", ()), mine]
    return call.modify({{**call.payload, "args": {{**args, "said": said}}}})


@plugin.stage("self_test")
def self_test(call):
    assert {fit}, "not fit to serve"
"""

_MANIFEST = """\
[project]
name = "{name}"
version = "1.0.0"
requires-python = ">=3.11"
dependencies = {requires}

[tool.penstock]
reload = "{reload}"

[tool.penstock.stages.mark]
[tool.penstock.stages.self_test]
"""


@dataclass(frozen=True, slots=True)
class Look:
    """The scene as a value. Versions are of the code; `probe` is the version of what `b` depends on."""

    a: int = 1
    b: int = 1
    c: int = 1
    n: int = 1
    probe: str = "1.0"
    replicas: int = 1
    more: bool = False
    b_first: bool = False

    def face(self, hook: str) -> Face:
        """What an answer of one revision shows, whichever worker gave it."""
        if hook == ALONE:
            return tuple((f"{ALONE}/{stage}", "c", self.c, None, None) for stage in _STAGES_OF_C)
        said = {"a": ("a", self.a, None, None), "b": ("b", self.b, self.n, self.probe)}
        return tuple((f"{pipeline}/{stage}", *said[plugin]) for pipeline, stage, plugin in self._stages())

    @property
    def workers(self) -> int:
        """How many it takes to serve it."""
        return self.replicas + 2

    def _stages(self) -> list[tuple[str, str, str]]:
        order = "ba" if self.b_first else "ab"
        stages = [(pipeline, plugin, plugin) for pipeline in ("first", "second") for plugin in order]
        return [*stages, ("second", "more", "a")] if self.more else stages

    def document(self) -> dict[str, object]:
        """The pipeline file."""
        hook = {"payload": {"name": "string", "args": "object"}, "can_deny": True}
        stages: dict[str, dict[str, str]] = {"first": {}, "second": {}}
        for pipeline, stage, plugin in self._stages():
            stages[pipeline][stage] = plugin
        pipelines = {name: _pipeline(ASK, _chain(name, chain)) for name, chain in stages.items()}
        return {
            "version": 1,
            "name": "reload",
            "hooks": {ASK: {"summary": "A question", **hook}, ALONE: {"summary": "Another", **hook}},
            "plugins": {
                "a": {"source": "./a", "replicas": self.replicas},
                "b": {"source": "./b", "with": {"n": self.n}},
                "c": {"source": "./c"},
            },
            "pipelines": {**pipelines, ALONE: _pipeline(ALONE, _chain(ALONE, dict.fromkeys(_STAGES_OF_C, "c")))},
        }


def _chain(pipeline: str, plugins: Mapping[str, str]) -> dict[str, object]:
    """Stages in a row, each with its plugin."""
    before: list[str] = []
    stages: dict[str, object] = {}
    for stage, plugin in plugins.items():
        stages[stage] = {"uses": f"{plugin}/mark", "needs": before, "with": {"at": f"{pipeline}/{stage}"}}
        before = [stage]
    return stages


def _pipeline(hook: str, stages: Mapping[str, object]) -> dict[str, object]:
    return {"hook": hook, "deadline": "30s", "stages": stages}


@dataclass
class Scene:
    """The files of a look below `folder`, with a store and a state of their own.

    Every save is one rename. What differs of `b`, a lock beside its manifest among it, is put into a folder of its own,
    and a link swapped, as deployments do.
    """

    folder: Path
    look: Look = field(default_factory=Look)
    _saved: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _locks: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("drafts", "served/a", "served/c", "builds"):
            (self.folder / name).mkdir(parents=True)
        write_wheels(self.folder / "wheels", PROBES)
        with Store(self.store, offline=True, environment=self.environment) as store:
            for probe in PROBES:
                self._locks[probe] = self._locked(store, replace(self.look, probe=probe))
        self.show(self.look)

    @property
    def served(self) -> Path:
        """The folder of the pipeline file and the plugins."""
        return self.folder / "served"

    @property
    def store(self) -> Path:
        """The folder of the store."""
        return self.folder / "store"

    @property
    def state(self) -> Path:
        """The folder of the host's state."""
        return self.folder / "state"

    @property
    def environment(self) -> dict[str, str]:
        """Where hosts find what plugins depend on: beside the scene, and nowhere else."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
        own = {"UV_FIND_LINKS": "wheels", "UV_CACHE_DIR": "uv-cache", "PENSTOCK_STORE": "store"}
        return inherited | {name: str(self.folder / value) for name, value in own.items()} | {"UV_NO_INDEX": "1"}

    def _locked(self, store: Store, look: Look) -> str:
        """The lock of `b` in a look."""
        folder = self.folder / "drafts" / look.probe
        folder.mkdir()
        for name, text in _plugin("b", look).items():
            (folder / name).write_text(text)
        return store.lock(read_manifest(folder)).read_text()

    def show(self, look: Look) -> None:
        """Save whatever differs from what is there."""
        self.look = look
        for name in "abc":
            self.save_plugin(name, _plugin(name, look))
        self.save("pipeline.yaml", json.dumps(look.document(), indent=1))

    def change(self, **fields: object) -> None:
        """Save another look."""
        self.show(replace(self.look, **fields))  # type: ignore[arg-type]  # the fields of Look, by name

    def code(self, name: str, head: str, *, fit: bool = True) -> str:
        """The code of a plugin with another beginning."""
        return _code(name, self.look, head, fit=fit)

    def need(self, requirement: str) -> None:
        """Let `b` depend on something more, which is in no lock; `show` puts it right."""
        self._swap("b", _plugin("b", self.look, requirement))

    def save_plugin(self, name: str, files: Mapping[str, str]) -> None:
        """Save the files of a plugin."""
        if name == "b":
            self._swap(name, {**files, "uv.lock": self._locks[self.look.probe]})
            return
        for file, text in files.items():
            self.save(f"{name}/{file}", text)

    def save(self, name: str, text: str) -> None:
        """Save a file. `show` puts right what was wrong with it."""
        path = self.served / name
        if path.exists() and path.read_text() == text:
            return
        # Drafts lie elsewhere: a plugin's folder never holds anything that is not a part of it.
        draft = self.folder / "drafts" / "draft"
        draft.write_text(text)
        os.replace(draft, path)

    def _swap(self, name: str, files: Mapping[str, str]) -> None:
        if self._saved.get(name) == files:
            return
        self._saved[name] = files
        build = self.folder / "builds" / f"{name}{len(os.listdir(self.folder / 'builds'))}"
        build.mkdir()
        for file, text in files.items():
            (build / file).write_text(text)
        draft = self.folder / "drafts" / "link"
        draft.symlink_to(build)
        os.replace(draft, self.served / name)


def _plugin(name: str, look: Look, *more: str) -> dict[str, str]:
    """A plugin's files."""
    own = (f"{DISTRIBUTION}=={look.probe}",) if name == "b" else ()
    reload = "replace" if name == "c" else "overlap"
    manifest = _MANIFEST.format(name=name, requires=json.dumps([*own, *more]), reload=reload)
    return {"pyproject.toml": manifest, "plugin.py": _code(name, look)}


def _code(name: str, look: Look, head: str = "", *, fit: bool = True) -> str:
    depends = "None"
    if name == "b":
        head, depends = f"import {DISTRIBUTION}\n{head}", f"{DISTRIBUTION}.VERSION"
    return _CODE.format(head=head, name=name, version=getattr(look, name), depends=depends, fit=fit)
