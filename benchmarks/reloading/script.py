"""The changes of a soak, in the order in which they are made: of every kind, sound and broken, by every way."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reloading.scene import Scene

__all__ = ["BROKEN_KINDS", "Way", "Wish", "script"]


class Way(enum.Enum):
    """How a change gets into service."""

    SAVED = "saved, and seen by the watch"
    APPLIED = "saved, and applied by command"
    BACK = "rolled back by command"
    AGAIN = "applied by command, nothing saved"


@dataclass(frozen=True, slots=True)
class Wish:
    """One change. `edit` saves it, and is told a number that was never told before; `broken` has to be refused."""

    name: str
    edit: Callable[[Scene, int], None] = lambda scene, number: None
    way: Way = Way.SAVED
    broken: bool = False


def _lint_error(scene: Scene, number: int) -> None:
    text = (scene.served / "pipeline.yaml").read_text()
    scene.save("pipeline.yaml", text.replace('"uses"', f'"used_{number}"', 1))


def _missing_dependency(scene: Scene, number: int) -> None:
    scene.need(f"nowhere=={number}")


_CIRCLE = (
    Wish("code", lambda scene, number: scene.change(a=number)),
    Wish("`with`", lambda scene, number: scene.change(n=number)),
    Wish("lint error", _lint_error, broken=True),
    Wish("dependency", lambda scene, number: scene.change(probe="1.0" if scene.look.probe == "2.0" else "2.0")),
    Wish("stage added or removed", lambda scene, number: scene.change(more=not scene.look.more)),
    Wish("syntax error", lambda scene, number: scene.save("a/plugin.py", f"def {number}:\n"), broken=True),
    Wish("replicas", lambda scene, number: scene.change(replicas=3 - scene.look.replicas)),
    Wish("plugin that is replaced", lambda scene, number: scene.change(c=number)),
    Wish(
        "self-test fails",
        lambda scene, number: scene.save("a/plugin.py", scene.code("a", f"# {number}", fit=False)),
        broken=True,
    ),
    Wish("code, by command", lambda scene, number: scene.change(b=number), Way.APPLIED),
    Wish("rollback", way=Way.BACK),
    Wish("the same again", way=Way.AGAIN),
    Wish("missing dependency", _missing_dependency, broken=True),
    Wish("`needs`", lambda scene, number: scene.change(b_first=not scene.look.b_first)),
    Wish(
        "crash at start",
        lambda scene, number: scene.save("a/plugin.py", scene.code("a", f"raise RuntimeError({number})")),
        broken=True,
    ),
)

BROKEN_KINDS = frozenset(wish.name for wish in _CIRCLE if wish.broken)


def script(reloads: int) -> Iterator[Wish]:
    """So many sound changes, and the broken ones between them: one for two sound ones; at least one round of all."""
    made = 0
    for turn in itertools.count():
        for wish in _CIRCLE:
            if turn and made == reloads:
                return
            made += not wish.broken
            yield wish
