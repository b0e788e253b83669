"""A JSON object as it travels: checked bytes of our own writing, decoded only when somebody looks.

Whatever comes from outside goes through `accept` once. The bytes it yields are one line of valid UTF-8 with finite
numbers and no key twice, and may be forwarded untouched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import msgspec

__all__ = ["MAX_BODY_BYTES", "MAX_DEPTH", "Body", "Unacceptable", "accept", "deeper_than", "encode"]

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Largest object that is accepted; half a frame, so that a changed payload and its context still fit into one."""

MAX_DEPTH = 200
"""Deepest nesting that is accepted; JSON readers of plugins in other languages give up at a few hundred levels."""

Tree = Mapping[str, object]

_decode = msgspec.json.Decoder(dict[str, object]).decode
encode = msgspec.json.Encoder().encode


class Unacceptable(ValueError):
    """The bytes are no JSON object within the limits. The message says why."""


class Body:
    """An immutable JSON object. `raw` is its bytes; whoever holds `tree` must not change it."""

    __slots__ = ("_tree", "raw")

    def __init__(self, raw: bytes, tree: Tree | None = None) -> None:
        self.raw = raw
        self._tree = tree

    @property
    def tree(self) -> Tree:
        """The object, decoded at the first look."""
        if self._tree is None:
            self._tree = _decode(self.raw)
        return self._tree

    @classmethod
    def of(cls, tree: Tree) -> Body:
        """Encode an object that we made ourselves from accepted parts."""
        return cls(encode(tree), tree)


def accept(data: bytes | Mapping[str, object], *, limit: int = MAX_BODY_BYTES) -> Body:
    """Check an object from outside and write it anew. Of a key that is there twice the last one counts.

    Raises Unacceptable.
    """
    if not isinstance(data, bytes):
        data = _dump(data)
    if len(data) > limit:
        raise Unacceptable(f"{len(data)} bytes; the limit is {limit}")
    try:
        tree = _decode(data)
        raw = encode(tree)
    except RecursionError:
        raise Unacceptable(f"nested deeper than {MAX_DEPTH} levels") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Unacceptable(_reason(error, data)) from None
    except ValueError as error:
        raise Unacceptable(f"a number is too long: {error}") from None
    if len(raw) > limit:
        raise Unacceptable(f"{len(raw)} bytes when its numbers are written out; the limit is {limit}")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and deeper_than(MAX_DEPTH, raw):
        raise Unacceptable(f"nested deeper than {MAX_DEPTH} levels")
    return Body(raw, tree)


def _dump(data: Mapping[str, object]) -> bytes:
    try:
        return json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise Unacceptable(f"nested deeper than {MAX_DEPTH} levels") from None
    except (TypeError, ValueError) as error:
        raise Unacceptable(f"not JSON: {error}") from None


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, UnicodeError):
        return "not valid UTF-8"
    text = str(error)
    if "truncated" in text and _SURROGATE.search(data):
        return "half of a surrogate pair stands alone in a text"  # which the library takes for the end of the input
    return text.replace("Expected `object`, got", "an object was expected, not").removeprefix("JSON is malformed: ")


_SHAPE = bytes.maketrans(b"{}", b"[]")
_NO_SHAPE = bytes(byte for byte in range(256) if byte not in b'"[]{}')
_STRING = re.compile(rb'"[^"]*"')


def deeper_than(limit: int, raw: bytes) -> bool:
    """Whether compact JSON nests deeper than `limit` levels. A walk over the values takes ten times as long."""
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    shape = raw.translate(_SHAPE, _NO_SHAPE).replace(b'""', b"")
    if b'"' in shape:
        shape = _STRING.sub(b"", shape)
    for _ in range(limit):
        # Each pass takes the innermost level away, everywhere at once.
        shape = shape.replace(b"[]", b"")
        if not shape:
            return False
    return True
