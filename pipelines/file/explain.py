"""What may stand at a path of a pipeline file, what does, and which layer set it. Made from the tables of `spec`."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipelines.file.containers import Free, FreeTable, ListOf, MapOf, OneOrMany
from pipelines.file.durations import Amount
from pipelines.file.reading import Shape
from pipelines.file.section import NONE, Overlay, OwnOrNone, Policy, Record, Section, Short, keys_of
from pipelines.file.spec import FileSpec, PluginDefaults, StageDefaults
from pipelines.file.tree import Listing, Path, Table, Tree, find, plain, show_path
from pipelines.file.units import show_seconds
from pipelines.plan import DEFAULT_QUEUE
from pipelines.problem import Mark
from pipelines.suggest import nearest

__all__ = ["Explanation", "Member", "NoSuchPath", "explain", "read_path"]


class NoSuchPath(ValueError):
    """The language has no such place, or the file has not; `suggestion` is a path that there is."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        self.message, self.suggestion = message, suggestion
        super().__init__(message if suggestion is None else f"{message}; did you mean {suggestion!r}?")


@dataclass(frozen=True, slots=True)
class Member:
    """A key that may stand below: `layer` and `mark` say who set it, None where nobody did."""

    name: str
    documentation: str
    layer: str | None = None
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything known of one path.

    `layer` is `file`, `include`, `profile NAME` or `default`; `inherited` is the path a value comes from that is
    not written at its own place. `value` is as JSON has it, None where nothing is set and there is no default.
    """

    path: str
    documentation: str
    type: str
    required: bool
    value: object
    layer: str
    mark: Mark | None
    inherited: str | None = None
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the language a path leads."""

    shape: Shape
    documentation: str
    required: bool = False
    default: object = None


# What holds where neither the place itself nor `defaults` says anything. `*` is any name.
_BUILT_IN: Mapping[tuple[str, ...], object] = {
    ("plugins", "*", "replicas"): 1,
    ("plugins", "*", "concurrency"): "as many as its workers take",
    ("plugins", "*", "queue"): DEFAULT_QUEUE,
    ("pipelines", "*", "durable"): False,
    ("pipelines", "*", "recover"): "undo",
    ("pipelines", "*", "stages", "*", "mode"): "enforce",
    ("pipelines", "*", "stages", "*", "on_error"): "fail where the mode is enforce, else continue",
    ("pipelines", "*", "stages", "*", "timeout"): "the deadline of the pipeline",
    ("pipelines", "*", "stages", "*", "retry"): NONE,
    ("pipelines", "*", "stages", "*", "breaker"): NONE,
    ("pipelines", "*", "stages", "*", "compensate"): NONE,
    ("pipelines", "*", "stages", "*", "compensate", "timeout"): "the undo_deadline of the pipeline",
    (
        "pipelines",
        "*",
        "stages",
        "*",
        "compensate",
        "retry",
    ): "up to 5 attempts, after any error that another one may mend",
    ("pipelines", "*", "finally", "*", "mode"): "audit",
    ("pipelines", "*", "finally", "*", "timeout"): "the deadline of the pipeline",
    ("pipelines", "*", "finally", "*", "retry"): NONE,
    ("pipelines", "*", "finally", "*", "breaker"): NONE,
    ("pipelines", "*", "fallback", "verdict"): "deny",
    (
        "hooks",
        "*",
        "unmatched",
    ): "deny on admission hooks that the file has a pipeline or an admission stage for",
    ("hooks", "*", "can_deny"): True,
}

_STAGE: tuple[str, ...] = ("pipelines", "*", "stages", "*")
_FINAL: tuple[str, ...] = ("pipelines", "*", "finally", "*")
_INHERITED: Mapping[tuple[str, ...], Path] = {
    **{("plugins", "*", key): ("defaults", "plugin", key) for key in keys_of(PluginDefaults)},
    **{(*_STAGE, key): ("defaults", "stage", key) for key in keys_of(StageDefaults)},
    **{(*_STAGE, "compensate", key): ("defaults", "stage", key) for key in ("timeout", "retry")},
    **{(*_FINAL, key): ("defaults", "stage", key) for key in ("timeout", "retry", "breaker")},
}

# After these parts of a path stands a name that the operator chose.
_NAMED: frozenset[tuple[str, ...]] = frozenset(
    {
        ("secrets",),
        ("plugins",),
        ("pipelines",),
        ("hooks",),
        ("pipelines", "*", "stages"),
        ("pipelines", "*", "finally"),
    }
)


def read_path(text: str) -> Path:
    """Take `pipelines.guard.stages.pii.needs[0]` apart. Raise NoSuchPath where it is no path at all."""
    parts: list[str | int] = []
    for piece in text.strip().removeprefix(".").split(".") if text.strip(" .") else []:
        match = re.fullmatch(r"([^\[\]]+)((?:\[[0-9]+\])*)", piece)
        if match is None:
            raise NoSuchPath(f"{text!r} is not a path such as pipelines.guard.stages.pii.needs[0]")
        parts += [match[1], *(int(number) for number in re.findall(r"[0-9]+", match[2]))]
    return tuple(parts)


def explain(root: Table, text: str) -> Explanation:
    """Explain the path `text` of the merged file `root`. Raise NoSuchPath."""
    path = read_path(text)
    place = _place(root, path)
    found = find(root, path)
    members = _members(place.shape, found.value if found.whole else None)
    words = place.shape.words.rstrip(",")  # a comma there is for the middle of a sentence
    result = Explanation(
        show_path(path), place.documentation, words, place.required, None, "default", None, members=members
    )
    if found.whole:
        return replace(result, value=plain(found.value), layer=found.value.layer, mark=found.value.mark)
    return _unset(result, root, path, place)


def _unset(result: Explanation, root: Table, path: Path, place: _Place) -> Explanation:
    pattern = _pattern(path)
    inherited = _INHERITED.get(pattern, ())
    found = find(root, inherited)
    if inherited and found.whole:
        mark, layer = found.value.mark, found.value.layer
        return replace(result, value=plain(found.value), layer=layer, mark=mark, inherited=show_path(inherited))
    return replace(result, value=_BUILT_IN.get(pattern, _shown(place)))


def _shown(place: _Place) -> object:
    """A default as the file would have it."""
    default = place.default
    if isinstance(place.shape, Amount) and isinstance(default, float):
        return show_seconds(default)
    if isinstance(default, enum.Enum):
        return default.value
    return default if isinstance(default, str | int | float | bool) else None


def _pattern(path: Path) -> tuple[str, ...]:
    """The path with `*` for the names that the operator chose."""
    pattern: tuple[str, ...] = ()
    for part in path:
        pattern += ("*",) if pattern in _NAMED else (str(part),)
    return pattern


def _place(root: Table, path: Path) -> _Place:
    place = _Place(Record(FileSpec), FileSpec.__doc__ or "")
    here: Tree | None = root
    for i, part in enumerate(path):
        place = _step(place, part, path[:i], here)
        found = find(root, path[: i + 1])
        here = found.value if found.whole else None
    return place


def _step(place: _Place, part: str | int, above: Path, here: Tree | None) -> _Place:
    shape = place.shape
    section = _section_of(shape)
    if section is not None and isinstance(part, str):
        return _key(section, part, above)
    if isinstance(shape, MapOf) and isinstance(part, str):
        _demand(part, above, here)
        return _Place(shape.value, _doc(shape.value) or place.documentation)
    if isinstance(shape, ListOf | OneOrMany) and isinstance(part, int):
        if not isinstance(here, Listing) or part >= len(here.items):
            raise NoSuchPath(f"{show_path(above)} has no item {part}")
        return _Place(shape.item, _doc(shape.item) or place.documentation)
    if isinstance(shape, Free | FreeTable):
        _demand(part, above, here)
        return _Place(Free(), place.documentation)
    raise NoSuchPath(f"nothing stands below {show_path(above)}: it is {shape.words}", show_path(above))


def _key(section: type[Section], name: str, above: Path) -> _Place:
    known = keys_of(section)
    if name not in known:
        near = nearest(name, known)
        if name in section.LATER:
            raise NoSuchPath(f"this version of penstock does not build {section.LATER[name]} yet")
        where = show_path(above) or "the file"
        raise NoSuchPath(f"{where} has no key {name!r}", None if near is None else show_path((*above, near)))
    about = known[name]
    return _Place(about.shape, about.doc, about.required, about.default)


def _demand(part: str | int, above: Path, here: Tree | None) -> None:
    """A name that the operator chooses must be in the file: nothing else says that it exists."""
    names = list(here.entries) if isinstance(here, Table) else []
    inside = isinstance(here, Listing) and isinstance(part, int) and part < len(here.items)
    if not inside and part not in names:
        near = nearest(str(part), names)
        message = f"{show_path(above)} has no {part!r} in this file"
        raise NoSuchPath(message, None if near is None else show_path((*above, near)))


def _section_of(shape: Shape) -> type[Section] | None:
    if isinstance(shape, Overlay):
        return FileSpec
    return shape.section if isinstance(shape, Record | Short | Policy | OwnOrNone) else None


def _doc(shape: Shape) -> str:
    section = _section_of(shape)
    return "" if section is None else (section.__doc__ or "").strip()


def _members(shape: Shape, tree: Tree | None) -> tuple[Member, ...]:
    section = _section_of(shape)
    entries = tree.entries if isinstance(tree, Table) else {}
    if section is not None:
        listed = {name: about.doc for name, about in keys_of(section).items()}
    else:
        listed = {name: _doc(shape.value) if isinstance(shape, MapOf) else "" for name in entries}
    return tuple(
        Member(name, doc, entries[name].value.layer, entries[name].mark) if name in entries else Member(name, doc)
        for name, doc in listed.items()
    )
