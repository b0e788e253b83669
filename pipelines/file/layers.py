"""One tree from many: included files merged in, a profile laid over. Every value keeps its own place and layer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.file.source import parse
from pipelines.file.tree import Entry, Leaf, Listing, Path, Table, relayer, show_path
from pipelines.problem import Mark, Problem
from pipelines.suggest import nearest

__all__ = ["Files", "Layers", "Unreadable", "overlay", "stack"]


class Unreadable(Exception):
    """A file that cannot be read; the message says why in words."""


class Files(Protocol):
    """The files of the world, as the pure part sees them."""

    def resolve(self, written: str, beside: str) -> str:
        """The name of the file that `written` means in the file `beside`; equal files have equal names."""

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raise Unreadable."""


@dataclass(slots=True)
class Layers:
    """The merged file without its profiles, the profiles, and what was wrong on the way."""

    root: Table
    profiles: dict[str, Table] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


# How deep two files may add to one mapping: a plugin or a pipeline is defined in one place, a section in many.
_SHARED_DEPTH = {"secrets": 1, "plugins": 1, "hooks": 1, "pipelines": 1, "profiles": 1, "policies": 2, "defaults": 2}


def stack(name: str, files: Files) -> Layers:
    """Read the file `name` and all that it includes."""
    layers = Layers(Table({}, Mark(name), "file"))
    reading = _Stack(files, layers)
    root = reading.load(name, (), None)
    if root is not None:
        profiles = root.entries.get("profiles")
        layers.root = root
        if profiles is not None and isinstance(profiles.value, Table):
            layers.profiles = dict(profiles.value.tables())
    return layers


@dataclass(slots=True)
class _Stack:
    files: Files
    layers: Layers

    def load(self, name: str, above: tuple[str, ...], said: Mark | None) -> Table | None:
        """Read one file and what it includes; `said` is where it is included."""
        try:
            data = self.files.read(name)
        except Unreadable as error:
            self._problem(said or Mark(name), "unreadable", "include" if said else "", f"{name}: {error}")
            return None
        if name not in self.layers.files:
            self.layers.files.append(name)
        tree, problems = parse(data, name, "include" if above else "file")
        self.layers.problems += problems
        if tree is None or not isinstance(tree, Table):
            if tree is not None:
                self._problem(
                    tree.mark, "wrong-type", "", "the file holds a mapping: `version: 1`, `name: ...`, `pipelines: ...`"
                )
            return None
        return self._with_includes(tree, name, above)

    def _with_includes(self, own: Table, name: str, above: tuple[str, ...]) -> Table:
        merged = Table({}, own.mark, own.layer)
        for i, item in self._included(own, reported=not above):
            target = self.files.resolve(str(item.value), name)
            if target in (*above, name):
                circle = " -> ".join([*(*above, name)[(*above, name).index(target) :], target])
                self._problem(item.mark, "include-cycle", f"include[{i}]", f"the files include each other: {circle}")
                continue
            if target in self.layers.files:
                self._problem(item.mark, "duplicate-key", f"include[{i}]", f"{target} is included already")
                continue
            part = self.load(target, (*above, name), item.mark)
            merged = merged if part is None else self._join(merged, part, ())
        return self._join(merged, own, ())

    def _included(self, own: Table, *, reported: bool) -> Iterator[tuple[int, Leaf]]:
        """The well-formed entries of `include`; those of the first file are judged with its other keys."""
        tree = own.get("include")
        items = tree.items if isinstance(tree, Listing) else ()
        if tree is not None and not isinstance(tree, Listing) and not reported:
            self._problem(tree.mark, "wrong-type", "include", "a list of paths is expected here")
        for i, item in enumerate(items):
            if isinstance(item, Leaf) and isinstance(item.value, str) and item.value:
                yield i, item
            elif not reported:
                self._problem(item.mark, "wrong-type", f"include[{i}]", "a path is expected here")

    def _join(self, first: Table, second: Table, path: Path) -> Table:
        """Both tables as one; what both define is an error at the second."""
        entries = dict(first.entries)
        for key, entry in second.entries.items():
            earlier = entries.get(key)
            if earlier is None:
                entries[key] = entry
            else:
                entries[key] = self._meet(earlier, entry, (*path, key))
        return second._replace(entries=entries)

    def _meet(self, earlier: Entry, entry: Entry, path: Path) -> Entry:
        a, b = earlier.value, entry.value
        shared = len(path) <= _SHARED_DEPTH.get(str(path[0]), 0)
        if shared and isinstance(a, Table) and isinstance(b, Table):
            return entry._replace(value=self._join(a, b, path))
        if path == ("tests",) and isinstance(a, Listing) and isinstance(b, Listing):
            return entry._replace(value=b._replace(items=a.items + b.items))
        # `include` belongs to each file; `version` says which language a file is in.
        if path == ("include",) or (
            path == ("version",) and isinstance(a, Leaf) and isinstance(b, Leaf) and a.value == b.value
        ):
            return entry
        message = f"is defined twice, also in {earlier.mark}"
        self._problem(entry.mark, "duplicate-key", show_path(path), message)
        return earlier

    def _problem(self, mark: Mark, code: str, path: str, message: str) -> None:
        self.layers.problems.append(Problem(mark, code, path, message))


def overlay(base: Table, profile: Table, name: str, keys: Collection[str], problems: list[Problem]) -> Table:
    """Lay those `keys` of a profile over the file: mappings by key, everything else whole, null deletes."""
    known = {key: entry for key, entry in profile.entries.items() if key in keys}
    layered = relayer(profile._replace(entries=known), f"profile {name}")
    assert isinstance(layered, Table)
    return _lay(base, layered, (), problems)


def _lay(base: Table, over: Table, path: Path, problems: list[Problem]) -> Table:
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        below = (*path, key)
        earlier = entries.get(key)
        if isinstance(entry.value, Leaf) and entry.value.value is None:
            problems += _nothing_there(entries, entry, below)
            entries.pop(key, None)
        elif earlier is not None and isinstance(earlier.value, Table) and isinstance(entry.value, Table):
            entries[key] = earlier._replace(value=_lay(earlier.value, entry.value, below, problems))
        else:
            entries[key] = entry
    return base._replace(entries=entries)


def _nothing_there(entries: dict[str, Entry], entry: Entry, path: Path) -> Iterator[Problem]:
    if entry.key not in entries:
        message = "null deletes a key, and there is none of that name"
        yield Problem(entry.mark, "nothing-to-delete", show_path(path), message, nearest(entry.key, entries))
