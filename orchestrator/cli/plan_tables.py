"""A change for the eye: what is built, started, stopped and kept, and what differs, from the record of a change.

The record may be another host's answer, so nothing in it is taken for granted but that it is JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.failures import printable
from orchestrator.cli.records import Record, members, records, text
from orchestrator.cli.tables import plain_table

__all__ = ["change_view"]

_Row = TypeVar("_Row")

ROWS_SHOWN = 40
"""Of one kind of difference; whoever needs every one reads `--json`."""

LONGEST_VALUE = 60
"""Characters of a value before or after: a whole policy does not fit into a line."""

_SHORT_NAME = 8
_LEAD_CHARACTERS = 20

_ACTIONS = {
    "start": ("start", "green"),
    "swap": ("swap, beside the old one", "yellow"),
    "replace": ("replace, after the old one stopped", "bold yellow"),
    "reconfigure": ("reconfigure, the same processes", "cyan"),
    "stop": ("stop", "red"),
}
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
_DOWN = "bold red"


def change_view(record: Record, nothing: str = "nothing differs from what serves") -> RenderableType:
    """The whole change, short; `nothing` where there is nothing to do."""
    told = [*_said(record, "problems", "bold red"), *_said(record, "warnings", "yellow")]
    if record.get("empty"):
        return Group(Text(printable(nothing)), *told)
    parts: list[RenderableType] = []
    for section in (_plugins(record), _processes(record), _permissions(record), _packages(record), _places(record)):
        if section.row_count:
            parts += [Text(), section] if parts else [section]
    return Group(*parts, *_kept(record), *([Text(), *told] if told else []))


def _plugins(record: Record) -> Table:
    """The plugins of which something becomes."""
    table = _table("plugin", "what becomes of it", "why", "version")
    why = members(record, "why")
    versions = {text(each, "plugin"): each for each in records(record, "versions")}
    for name, action in members(record, "plugins").items():
        words, style = _ACTIONS.get(str(action), (str(action), ""))
        version = versions.get(name, {})
        if action != "keep" or version:
            reasons = ", ".join(_texts(why.get(name)))
            table.add_row(Text(printable(name)), Text(printable(words), style), _dim(reasons), _arrow(version))
    return table


def _processes(record: Record) -> Table:
    table = _table("", "", head=False)
    for build in records(record, "build"):
        names = ", ".join(_texts(build.get("plugins")))
        table.add_row(Text("build"), _shown(f"environment {_short(build, 'fingerprint')} for {names}"))
    for key, style in (("start", "green"), ("stop", "red")):
        for each in records(record, key):
            table.add_row(Text(key, style), _shown(f"{text(each, 'plugin')}@{_short(each, 'digest')}"))
    for trial in records(record, "trial"):
        names = ", ".join(_texts(trial.get("plugins")))
        share = f"{trial.get('percent')} % of {text(trial, 'hook')} to the new {names}, until promoted"
        table.add_row(Text("trial", "yellow"), _shown(share))
    return table


def _permissions(record: Record) -> Table:
    table = _table("permissions", "", "")
    for each in _some(table, records(record, "permissions")):
        of = "asks for" if each.get("of") == "asks" else "is granted"
        parts = [(f"+{value} ", "green") for value in _texts(each.get("added"))]
        parts += [(f"-{value} ", "red") for value in _texts(each.get("removed"))]
        values = Text.assemble(*((printable(text), style) for text, style in parts))
        table.add_row(_shown(text(each, "plugin")), _shown(f"{of} {text(each, 'kind')}"), values)
    return table


def _packages(record: Record) -> Table:
    table = _table("locked", "", "")
    for each in _some(table, records(record, "packages")):
        table.add_row(_shown(text(each, "plugin")), _shown(text(each, "package")), _arrow(each))
    return table


def _places(record: Record) -> Table:
    """Hooks, pipelines and stages that differ, with what differs of them."""
    table = _table("", "in the file", "what", head=True)
    rows: list[tuple[str, str, Record]] = []
    name = record.get("name")
    if isinstance(name, Mapping):
        rows.append(("changed", "name of the file", {"name": name}))
    for key in ("hooks", "pipelines", "stages"):
        rows += [(text(each, "kind"), _place(key, each), members(each, "what")) for each in records(record, key)]
    for each in records(record, "orders"):
        order = {word: ", ".join(_texts(each.get(word))) for word in ("before", "after")}
        rows.append(("changed", f"pipelines of {text(each, 'hook')}", {"order": order}))
    rows += [("changed", f"secret {name}", {"found": pair}) for name, pair in members(record, "secrets").items()]
    canary = members(record, "canary")
    rows += [("changed", f"split of {hook}", {"canary": pair}) for hook, pair in canary.items()]
    for kind, place, what in _some(table, rows):
        sign, style = _SIGNS.get(kind, ("?", ""))
        table.add_row(Text(sign, style), _shown(place), _differences(what))
    return table


def _place(key: str, each: Record) -> str:
    if key == "hooks":
        return f"hook {text(each, 'hook')}"
    singular = key.removesuffix("s")
    return f"{singular} {text(each, singular)} on {', '.join(_texts(each.get('hooks')))}"


def _differences(what: Record) -> Text:
    lines = [_named(word, pair) for word, pair in what.items() if isinstance(pair, Mapping)]
    return Text("\n").join(lines)


def _named(word: str, pair: Record) -> Text:
    text = Text(f"{printable(word)} ", style="dim")
    return text.append_text(_arrow(pair))


def _arrow(pair: Record) -> Text:
    """From one value to another; a version that goes back is told as such."""
    if "before" not in pair and "after" not in pair:
        return Text()
    down = pair.get("direction") == "down"
    before, after = _value(pair.get("before")), _value(pair.get("after"))
    alike = _alike(before, after) if max(len(before), len(after)) > LONGEST_VALUE else 0
    line = f"{_cut(before, alike)} → {_cut(after, alike)}"
    return Text(f"{line}, a downgrade" if down else line, style=_DOWN if down else "not dim")


def _value(value: object) -> str:
    return "nothing" if value is None else printable(str(value)).replace("\n", " ")


def _alike(before: str, after: str) -> int:
    """How many characters of a long value say nothing, because both begin with them; a few stay to tell where."""
    pairs = enumerate(zip(before, after, strict=False))
    shorter = min(len(before), len(after))
    return max(0, next((place for place, (one, other) in pairs if one != other), shorter) - _LEAD_CHARACTERS)


def _cut(text: str, alike: int) -> str:
    rest = f"…{text[alike:]}" if alike else text
    return rest if len(rest) <= LONGEST_VALUE else f"{rest[:LONGEST_VALUE]}…"


def _kept(record: Record) -> list[Text]:
    names = [name for name, action in members(record, "plugins").items() if action == "keep"]
    return [Text(), _dim(f"kept as they are: {', '.join(names)}")] if names else []


def _said(record: Record, key: str, style: str) -> list[Text]:
    return [Text(f"{key.removesuffix('s')}: {printable(text)}", style) for text in _texts(record.get(key))]


def _table(*names: str, head: bool = True) -> Table:
    table = plain_table()
    table.show_header = head
    if not head:
        table.box = None
    for place, name in enumerate(names):
        table.add_column(name, no_wrap=place == 0, overflow="fold")
    return table


def _some(table: Table, rows: Sequence[_Row]) -> Iterable[_Row]:
    """As many rows as fit on a screen; of the others it is said that they are."""
    yield from rows[:ROWS_SHOWN]
    if len(rows) > ROWS_SHOWN:
        table.add_row(*[""] * (len(table.columns) - 1), _dim(f"and {len(rows) - ROWS_SHOWN} more"))


def _shown(text: str) -> Text:
    return Text(printable(text))


def _dim(text: str) -> Text:
    return Text(printable(text), style="dim")


def _short(record: Record, name: str) -> str:
    return text(record, name)[:_SHORT_NAME]


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else []
