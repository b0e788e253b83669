"""What is served and changed: a pipeline file and three plugins in a folder, and what an answer must show of them.

Two pipelines answer the hook `ask`, each by the plugins `a` and `b`; the hook `alone` is answered by `c`, of which there
can be only one generation. Every stage appends to `args.said` of the payload where it stands, its plugin, the plugin's
version, its configuration and the version of what it depends on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from reloading.wheels import DISTRIBUTION, write_wheels

__all__ = ["ALONE", "ASK", "Face", "Look", "Scene"]

ASK = "ask"
ALONE = "alone"

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
            return (("alone/c", "c", self.c, None, None),)
        said = {"a": ("a", self.a, None, None), "b": ("b", self.b, self.n, self.probe)}
        return tuple((f"{pipeline}/{stage}", *said[plugin]) for pipeline, stage, plugin in self._stages())

    def _stages(self) -> list[tuple[str, str, str]]:
        order = "ba" if self.b_first else "ab"
        stages = [(pipeline, plugin, plugin) for pipeline in ("first", "second") for plugin in order]
        return [*stages, ("second", "more", "a")] if self.more else stages

    def document(self) -> dict[str, object]:
        """The pipeline file."""
        hook = {"payload": {"name": "string", "args": "object"}, "can_deny": True}
        chains: dict[str, dict[str, object]] = {"first": {}, "second": {}}
        for pipeline, stage, plugin in self._stages():
            needs = list(chains[pipeline])[-1:]
            chains[pipeline][stage] = _stage(f"{pipeline}/{stage}", plugin, needs)
        pipelines = {name: _pipeline(ASK, stages) for name, stages in chains.items()}
        return {
            "version": 1,
            "name": "reload",
            "hooks": {ASK: {"summary": "A question", **hook}, ALONE: {"summary": "Another", **hook}},
            "plugins": {
                "a": {"source": "./a", "replicas": self.replicas},
                "b": {"source": "./b", "with": {"n": self.n}},
                "c": {"source": "./c"},
            },
            "pipelines": {**pipelines, ALONE: _pipeline(ALONE, {"c": _stage("alone/c", "c", [])})},
        }


def _stage(at: str, plugin: str, needs: list[str]) -> dict[str, object]:
    return {"uses": f"{plugin}/mark", "needs": needs, "with": {"at": at}}


def _pipeline(hook: str, stages: Mapping[str, object]) -> dict[str, object]:
    return {"hook": hook, "deadline": "30s", "stages": stages}


@dataclass
class Scene:
    """The files of a look below `folder`, with a store and a state of their own. Every save is one rename."""

    folder: Path
    look: Look = field(default_factory=Look)

    def __post_init__(self) -> None:
        for name in ("drafts", "served/a", "served/b", "served/c"):
            (self.folder / name).mkdir(parents=True)
        write_wheels(self.folder / "wheels", ("1.0", "2.0"))
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

    def show(self, look: Look) -> None:
        """Save whatever differs from what is there."""
        self.look = look
        for name in "abc":
            self._save(f"{name}/pyproject.toml", self.manifest(name))
            self._save(f"{name}/plugin.py", self.code(name))
        self._save("pipeline.yaml", json.dumps(look.document(), indent=1))

    def change(self, **fields: object) -> None:
        """Save another look."""
        self.show(replace(self.look, **fields))  # type: ignore[arg-type]  # the fields of Look, by name

    def code(self, name: str, head: str = "", *, fit: bool = True) -> str:
        """The code of a plugin."""
        version = getattr(self.look, name)
        depends = f"{DISTRIBUTION}.VERSION" if name == "b" else "None"
        head = head or ("import probe" if name == "b" else "")
        return _CODE.format(head=head, name=name, version=version, depends=depends, fit=fit)

    def manifest(self, name: str, *more: str) -> str:
        """The manifest of a plugin."""
        own = (f"{DISTRIBUTION}=={self.look.probe}",) if name == "b" else ()
        reload = "replace" if name == "c" else "overlap"
        return _MANIFEST.format(name=name, requires=json.dumps([*own, *more]), reload=reload)

    def spoil(self, name: str, text: str) -> None:
        """Save something else in one of the files; `show` puts it right."""
        self._save(name, text)

    def _save(self, name: str, text: str) -> None:
        path = self.served / name
        if path.exists() and path.read_text() == text:
            return
        # Drafts lie elsewhere: a plugin's folder never holds anything that is not a part of it.
        draft = self.folder / "drafts" / "draft"
        draft.write_text(text)
        os.replace(draft, path)
