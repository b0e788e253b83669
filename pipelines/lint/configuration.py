"""`with`: the plugin's values, the stage's over them, files read in, and all of it held against the plugin's schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.file.layers import Unreadable
from pipelines.file.source import MAX_DEPTH, MAX_FILE_BYTES, parse
from pipelines.file.tree import Entry, Leaf, Listing, Path, Table, Tree, find, plain
from pipelines.lint.draft import Draft
from pipelines.lint.schema_errors import Judge, Misfit
from pipelines.problem import Mark

__all__ = ["Configurations"]

_TEXT_LIMIT_BYTES = 16 * MAX_FILE_BYTES
"""A word list of this size is the largest that can still be handed to a worker in one frame."""


@dataclass(slots=True)
class Configurations:
    """Every distinct `with` of the file, by plugin and id."""

    draft: Draft
    by_plugin: dict[str, dict[str, Mapping[str, object]]] = field(default_factory=dict)
    _judges: dict[str, Judge | None] = field(default_factory=dict)
    _files: dict[tuple[str, str], Tree | None] = field(default_factory=dict)

    def add(self, plugin: str, *paths: Path) -> str:
        """Merge the `with` at each path over the plugin's, check the result and give its id."""
        config = self.judge(plugin, *paths)
        # The order of keys says nothing, so it makes no other configuration.
        text = json.dumps(config, sort_keys=True, separators=(",", ":"))
        config_id = "c" + hashlib.sha256(text.encode()).hexdigest()[:12]
        self.by_plugin.setdefault(plugin, {})[config_id] = config
        return config_id

    def judge(self, plugin: str, *paths: Path) -> Mapping[str, object]:
        """Merge and check as `add` does, without keeping what comes of it."""
        merged: dict[str, tuple[Path, Entry]] = {}
        for path in (("plugins", plugin, "with"), *paths):
            table = self.draft.tree(path)
            if isinstance(table, Table):
                for key, entry in table.entries.items():
                    below = (*path, key)
                    value = self._with_files(entry.value, below)
                    if value is not None:
                        merged[key] = below, entry._replace(value=value)
        config = {key: plain(entry.value) for key, (_, entry) in merged.items()}
        home = next(
            (path for path in reversed(paths) if self.draft.tree(path) is not None), ("plugins", plugin, "with")
        )
        self._check(plugin, config, merged, home)
        return config

    def _check(
        self, plugin: str, config: Mapping[str, object], merged: Mapping[str, tuple[Path, Entry]], home: Path
    ) -> None:
        judge = self._judge_of(plugin)
        for misfit in [] if judge is None else judge.misfits(config):
            path, mark = self._place(misfit, merged, home)
            # A key of the plugin's own `with` is reported there, once, however many stages inherit it.
            self.draft.error(path, "bad-with", misfit.message, misfit.suggestion, at=mark)

    def _judge_of(self, plugin: str) -> Judge | None:
        """The plugin's schema; None where it has none, or a bad one, which is reported once."""
        if plugin not in self._judges:
            declaration = self.draft.declarations.get(plugin)
            schema = None if declaration is None else declaration.config_schema
            try:
                self._judges[plugin] = None if schema is None else Judge(schema)
            except ValueError as error:
                self._judges[plugin] = None
                message = f"the schema that {plugin} ships for `with` is not valid: {error}"
                self.draft.error(("plugins", plugin, "source"), "bad-schema", message)
        return self._judges[plugin]

    def _place(self, misfit: Misfit, merged: Mapping[str, tuple[Path, Entry]], home: Path) -> tuple[Path, Mark]:
        if not misfit.path or misfit.path[0] not in merged:
            return (*home, *misfit.path), self.draft.key(home)
        base, entry = merged[str(misfit.path[0])]
        rest = misfit.path[1:]
        found = find(Table({entry.key: entry}, entry.mark, ""), (entry.key, *rest))
        at_key = misfit.at_key or not found.whole
        return (*base, *rest), found.key if at_key else found.value.mark

    def _with_files(self, tree: Tree, path: Path) -> Tree | None:
        """The same value with the content of files in the place of `{file: PATH}`; None where one cannot be read."""
        if isinstance(tree, Leaf):
            return tree
        if isinstance(tree, Listing):
            items = [self._with_files(item, (*path, i)) for i, item in enumerate(tree.items)]
            return tree._replace(items=tuple(item for item in items if item is not None))
        name = tree.get("file")
        if tuple(tree.entries) == ("file",) and isinstance(name, Leaf) and isinstance(name.value, str):
            return self._content(name, name.value, (*path, "file"))
        entries = {}
        for key, entry in tree.entries.items():
            value = self._with_files(entry.value, (*path, key))
            if value is not None:
                entries[key] = entry._replace(value=value)
        return tree._replace(entries=entries)

    def _content(self, leaf: Leaf, written: str, path: Path) -> Tree | None:
        name = self.draft.files.resolve(written, leaf.mark.file)
        if (name, str(leaf.mark)) not in self._files:
            self._files[name, str(leaf.mark)] = _read(self.draft, leaf, name, path)
        return self._files[name, str(leaf.mark)]


def _read(draft: Draft, leaf: Leaf, name: str, path: Path) -> Tree | None:
    try:
        data = draft.files.read(name)
    except Unreadable as error:
        draft.log.spoil(path, leaf.mark, "unreadable", f"{name}: {error}")
        return None
    if name.endswith((".yaml", ".yml")):
        tree, problems = parse(data, name)
        draft.log.problems += problems
        return tree
    try:
        if len(data) > _TEXT_LIMIT_BYTES:
            raise ValueError(f"has {len(data)} bytes, at most {_TEXT_LIMIT_BYTES} are read")
        text = data.decode("utf-8-sig")
        return from_plain(_json(text), leaf) if name.endswith(".json") else leaf._replace(value=text, raw="")
    except (ValueError, RecursionError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeError) else str(error)
        draft.log.spoil(path, leaf.mark, "unreadable", f"{name}: {reason}")
        return None


def _json(text: str) -> object:
    def refuse(word: str) -> object:
        raise ValueError(f"{word} is no number that JSON can carry")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None


def from_plain(value: object, place: Leaf, depth: int = 0) -> Tree:
    """A tree all of whose values stand at one place. Raise ValueError for what YAML would not be let say either."""
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        entries = {key: Entry(key, place.mark, from_plain(item, place, depth + 1)) for key, item in value.items()}
        return Table(entries, place.mark, place.layer)
    if isinstance(value, list):
        return Listing(tuple(from_plain(item, place, depth + 1) for item in value), place.mark, place.layer)
    if isinstance(value, str):
        value.encode()  # half a surrogate pair is no character
    assert value is None or isinstance(value, str | int | float | bool)
    return Leaf(value, place.mark, place.layer)
