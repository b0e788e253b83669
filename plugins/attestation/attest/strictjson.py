"""JSON from strangers: one meaning or none. No key twice, nothing infinite, bounded depth, UTF-8, no lone surrogate."""

from __future__ import annotations

import base64
import binascii
import json
from typing import NoReturn, TypeAlias

__all__ = ["Json", "NotJson", "TwiceKey", "b64url", "read_object"]

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_MAX_DEPTH = 16
_MAX_NUMBER_CHARACTERS = 32
"""Numbers of claims are times and sequences; a million digits would take seconds to read."""


class NotJson(ValueError):
    """The bytes are not JSON of one meaning."""


class TwiceKey(NotJson):
    """A key stands twice in one object: two readers may take either."""


def read_object(data: bytes) -> dict[str, Json]:
    """Read one object. Raises NotJson."""
    try:
        text = data.decode("utf-8")
        found = _DECODER.decode(text)
    except RecursionError:
        raise NotJson("nested too deep") from None
    except ValueError as error:
        raise error if isinstance(error, NotJson) else NotJson(str(error)) from None
    if not isinstance(found, dict):
        raise NotJson("not an object")
    if not _is_shallow(found, _MAX_DEPTH):
        raise NotJson("nested too deep")
    if "\\ud" in text.lower():
        _refuse_surrogates(found)
    return found


def b64url(text: str) -> bytes:
    """Decode base64url without padding, in its one canonical spelling (RFC 4648 section 3.5). Raises NotJson."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise NotJson("not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode():
        raise NotJson("base64url that is not canonical")
    return data


def _pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TwiceKey("a key stands twice")
    return found


def _constant(text: str) -> NoReturn:
    raise NotJson(f"{text} is no number of JSON")


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER_CHARACTERS:
        raise NotJson("a number of too many digits")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if len(text) > _MAX_NUMBER_CHARACTERS or number in (float("inf"), float("-inf")):
        raise NotJson("a number that is infinite or of too many digits")
    return number


# Made once: to make one costs as much as to read a token's header.
_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer, parse_float=_float)


def _is_shallow(value: Json, left: int) -> bool:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return left > 0 and all(_is_shallow(member, left - 1) for member in members)


def _refuse_surrogates(value: dict[str, Json]) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotJson("half a character") from None
