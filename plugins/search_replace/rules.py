"""Rules as the operator writes them, compiled by RE2: its time is linear in the text, so no pattern can hang a call."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import re2
from texts import FIELDS, Key, Region

__all__ = ["MAX_TEXT_CHARS", "Rule", "RuleError", "Rules"]

# Rules that double a text twenty times over would fill the memory before the host's frame limit is met. An answer may
# have as many bytes, so texts that are longer together are refused as well.
MAX_TEXT_CHARS = 8 * 1024 * 1024

_ESCAPES = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
_REFERENCE = re.compile(r"\\(?:(?P<number>[1-9]\d?)|g<(?P<name>\w+)>|(?P<other>.|$))", re.DOTALL)


class RuleError(ValueError):
    """A rule that cannot work, by its number and, for a pattern, the column where it goes wrong (both from 1)."""


class TextTooLong(Exception):
    """The texts of a call become longer than any answer may be."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One replacement and where it applies; the numbers in `template` are groups of the pattern."""

    pattern: re2._Regexp
    template: tuple[str | int, ...]
    region: Region

    def apply(self, text: str) -> tuple[str, int]:
        """Return the new text and how many places changed in it. Raises TextTooLong before the memory is spent."""
        room = MAX_TEXT_CHARS

        def expand(match: re2._Match) -> str:
            nonlocal room
            new = self._expand(match)
            room -= len(new)
            if room < 0:
                raise TextTooLong
            return new

        return self.pattern.subn(expand, text)

    def _expand(self, match: re2._Match) -> str:
        return "".join(part if isinstance(part, str) else match[part] or "" for part in self.template)


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules in order: each sees what the earlier ones left."""

    rules: tuple[Rule, ...]
    region: Region
    keys: bool

    @classmethod
    def of(cls, config: Mapping[str, object]) -> Rules:
        """Compile `with`. Raises RuleError that names the first rule at fault."""
        written: Sequence[Mapping[str, object]] = config.get("rules", ())
        rules = tuple(_rule(number, rule) for number, rule in enumerate(written, 1))
        if not rules:
            raise RuleError("rules: write at least one {search, replace}")
        return cls(
            rules, Region.of(config.get("fields", ()), config.get("skip", ()), FIELDS), config.get("keys", False)
        )

    def apply(self, text: str, path: Sequence[Key]) -> tuple[str, int]:
        """Return what becomes of the text at `path`, and how many replacements that took."""
        total = 0
        for number, rule in enumerate(self.rules, 1):
            if not rule.region.holds(path):
                continue
            try:
                text, count = rule.apply(text)
            except TextTooLong:
                raise RuleError(f"rule {number} makes a text longer than {MAX_TEXT_CHARS} characters") from None
            total += count
        return text, total


def _rule(number: int, rule: Mapping[str, object]) -> Rule:
    pattern = _compiled(number, rule)
    replace = rule["replace"]
    template = (replace,) if rule.get("literal", False) else _template(number, replace, pattern)
    try:
        return Rule(pattern, template, Region.of(rule.get("fields", ()), (), FIELDS))
    except ValueError as error:
        raise RuleError(f"rule {number}: {error}") from None


def _compiled(number: int, rule: Mapping[str, object]) -> re2._Regexp:
    search = rule["search"]
    if not search:
        raise RuleError(f"rule {number}: search is empty")
    options = re2.Options()
    options.log_errors = False  # the error below says it, once
    options.case_sensitive = not rule.get("ignore_case", False)
    options.literal = rule.get("literal", False)
    try:
        return re2.compile(search, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise RuleError(f"rule {number}: search {search!r}{_position(search, reason)}: {reason}") from None


def _position(search: str, reason: str) -> str:
    """Say where the fragment that RE2 quotes after its last colon begins."""
    column = search.find(reason.rpartition(": ")[2]) if ": " in reason else -1
    return f", column {column + 1}" if column >= 0 else ""


def _template(number: int, replace: str, pattern: re2._Regexp) -> tuple[str | int, ...]:
    """Split a replacement into texts and group numbers.

    RE2's own expansion reads a replacement beyond ASCII as if it were Latin-1, and reports a bad group only at the
    first match.
    """
    parts: list[str | int] = []
    end = 0
    for match in _REFERENCE.finditer(replace):
        parts += replace[end : match.start()], _part(match, pattern, f"rule {number}: replace {replace!r}")
        end = match.end()
    return (*parts, replace[end:])


def _part(match: re.Match[str], pattern: re2._Regexp, where: str) -> str | int:
    where = f"{where}, column {match.start() + 1}"
    if match["other"] is not None:
        if match["other"] not in _ESCAPES:
            raise RuleError(f"{where}: write \\\\ for a backslash, \\1 or \\g<name> for a group")
        return _ESCAPES[match["other"]]
    name = match["number"] or match["name"]
    group = int(name) if name.isdecimal() else pattern.groupindex.get(name)
    if group is None:
        raise RuleError(f"{where}: there is no group named {name}")
    if group > pattern.groups:
        raise RuleError(f"{where}: there is no group {group}, the pattern has {pattern.groups}")
    return group
