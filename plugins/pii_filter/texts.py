"""Where the text of a call is: which members of a payload are looked at, and which strings in them are no text.

The same file lies in every plugin that reads text, for each is complete in itself; a test of the project holds the
copies equal. It knows nothing of what is searched for and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["FIELDS", "Key", "Region", "Spot", "spelled", "spots"]

FIELDS: Mapping[str, tuple[str, ...]] = {
    "tool_pre_invoke": ("args",),
    "tool_post_invoke": ("result",),
    "prompt_pre_fetch": ("args",),
    "prompt_post_fetch": ("result",),
    "resource_pre_fetch": ("metadata",),
    "resource_post_fetch": ("content",),
    "agent_pre_invoke": ("messages", "system_prompt", "parameters"),
    "agent_post_invoke": ("messages", "tool_calls"),
    "http_pre_request": ("headers",),
    "http_post_request": ("response_headers",),
    "completion_pre_request": ("messages", "parameters"),
    "completion_post_response": ("messages",),
    "cache_pre_put": ("value",),
    "cache_post_get": ("value",),
    "stream_pre_update": ("data",),
    "error_pre_report": ("message", "details"),
}
"""The members of each hook's payload that hold what people and tools wrote. The manifest declares the same ones."""

# Headers that prove who calls. Their values are opaque, and a change in one would end the caller's session.
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"})

# The host bounds what it forwards to 16 MiB; this many values of it take about a second.
MAX_VALUES = 1_000_000

# What MCP gives a fixed meaning in a content item or a message. Only the listed values are passed over, so that
# nothing can be hidden in a member by giving it one of these names.
_FIXED = {
    "type": frozenset({"text", "image", "audio", "resource", "resource_link", "function", "tool_use", "tool_result"}),
    "role": frozenset({"user", "assistant", "system", "tool", "developer"}),
}
_MEDIA_TYPE = re.compile(r"(?:application|audio|font|image|model|multipart|text|video)/[\w.+-]{1,80}")
# Shorter strings are searched even where base64 is expected: they cannot be a picture, but they can be a word.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")

Key = str | int
Trail = tuple["Trail | None", Key]


@dataclass(frozen=True, slots=True)
class Spot:
    """A value worth a look: a text, a whole number, or (`is_key`) the name of a member."""

    trail: Trail
    value: str | int
    is_key: bool = False

    @property
    def path(self) -> tuple[Key, ...]:
        """Member names and array indexes from the payload down."""
        keys: list[Key] = []
        trail: Trail | None = self.trail
        while trail is not None:
            trail, key = trail
            keys.append(key)
        return tuple(reversed(keys))

    @property
    def name(self) -> str:
        """The nearest member name: an array's items go by the name of the array."""
        trail: Trail | None = self.trail
        while trail is not None:
            trail, key = trail
            if isinstance(key, str):
                return key
        return ""


@dataclass(frozen=True, slots=True)
class Region:
    """Which part of a payload is searched: under one of `fields` (or anywhere), and under none of `skip`."""

    fields: tuple[tuple[str, ...], ...] = ()
    skip: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(
        cls, fields: Sequence[str], skip: Sequence[str], known: Mapping[str, Sequence[str]], setting: str = ""
    ) -> Region:
        """Build one from settings; raises ValueError for a path that begins with no member of `known`."""
        members = sorted({member for names in known.values() for member in names})
        for name, paths in (("fields", fields), ("skip", skip)):
            for index, path in enumerate(paths):
                if path.split(".")[0] not in members:
                    raise ValueError(f"{setting}{name}[{index}]: '{path}' must begin with one of {', '.join(members)}")
        return cls(tuple(tuple(p.split(".")) for p in fields), tuple(tuple(p.split(".")) for p in skip))

    def holds(self, path: Sequence[Key]) -> bool:
        """Tell whether what lies at `path` is to be searched."""
        if self.fields and not any(_leads_to(start, path) for start in self.fields):
            return False
        return not any(_leads_to(start, path) for start in self.skip)


def _leads_to(start: Sequence[str], path: Sequence[Key]) -> bool:
    return len(start) <= len(path) and all(want in ("*", str(key)) for want, key in zip(start, path, strict=False))


def spots(
    payload: Mapping[str, Any],
    fields: Sequence[str],
    region: Region | None = None,
    *,
    keys: bool = False,
    numbers: bool = False,
) -> Iterator[Spot]:
    """Walk the named fields in document order, without recursion. Raises ValueError over `MAX_VALUES` values."""
    region = region if region and (region.fields or region.skip) else None
    stack: list[tuple[Trail, Any]] = [((None, name), payload[name]) for name in reversed(fields) if name in payload]
    left = MAX_VALUES
    while stack:
        trail, value = stack.pop()
        left -= 1
        if left < 0:
            raise ValueError(f"the payload has more than {MAX_VALUES} values")
        kind = type(value)
        if kind is str or (numbers and kind is int):
            spot = Spot(trail, value)
            if region is None or region.holds(spot.path):
                yield spot
        elif kind is dict:
            members = [(key, child) for key, child in value.items() if not _is_fixed(value, key, child)]
            if keys:
                named = (Spot((trail, key), key, is_key=True) for key, _ in members)
                yield from (spot for spot in named if region is None or region.holds(spot.path))
            stack.extend(((trail, key), child) for key, child in reversed(members))
        elif kind is list:
            stack.extend(((trail, index), value[index]) for index in range(len(value) - 1, -1, -1))


def _is_fixed(owner: Mapping[str, object], key: str, value: object) -> bool:
    """Tell whether a member is none of ours: a word of the protocol, base64, or a credential."""
    if type(value) is not str:
        return False
    if key in _FIXED:
        return value in _FIXED[key]
    if key == "mimeType":
        return _MEDIA_TYPE.fullmatch(value) is not None
    if key == "blob" or (key == "data" and "mimeType" in owner):
        return _BASE64.fullmatch(value) is not None
    return key.lower() in _CREDENTIAL_HEADERS


def spelled(path: Sequence[Key], limit: int = 200) -> str:
    """Write a path as `args.items[3].note`, cut to `limit` characters: names in it come from the caller."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
