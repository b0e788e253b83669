"""Just enough of DER (X.690) to see the frame of a certificate: tags, lengths, and the bytes between."""

from __future__ import annotations

__all__ = ["BIT_STRING", "SEQUENCE", "children", "element", "inside", "read"]

SEQUENCE = 0x30
BIT_STRING = 0x03

_LONGEST_LENGTH = 4
"""Bytes of a length: nothing that is read here comes near 4 GiB."""


def read(data: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, start and end of the content of the element at `at`. Raises ValueError if it is not DER."""
    if at + 2 > len(data):
        raise ValueError("a DER element is cut off")
    tag, first = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise ValueError("a DER tag of several bytes")
    start, length = at + 2, first
    if first >= 0x80:
        count = first & 0x7F
        start += count
        length = int.from_bytes(data[at + 2 : start], "big")
        shortest = (
            length >= 0x80 and data[at + 2] != 0 if 0 < count <= _LONGEST_LENGTH and start <= len(data) else False
        )
        if not shortest:
            raise ValueError("a DER length that is not the shortest")
    if start + length > len(data):
        raise ValueError("a DER element is cut off")
    return tag, start, start + length


def children(data: bytes, start: int = 0, end: int | None = None) -> list[tuple[int, int, int, int]]:
    """Return (tag, begin, start, end) of each element between `start` and `end`; begin is where its tag stands."""
    found = []
    end = len(data) if end is None else end
    while start < end:
        tag, inner, after = read(data, start)
        found.append((tag, start, inner, after))
        start = after
    if start != end:
        raise ValueError("a DER element is longer than what it stands in")
    return found


def inside(data: bytes, at: int = 0, *, least: int = 0) -> list[tuple[int, int, int, int]]:
    """Return the elements inside the one that begins at `at`. Raises ValueError if there are fewer than `least`."""
    _, start, end = read(data, at)
    found = children(data, start, end)
    if len(found) < least:
        raise ValueError("DER elements are missing")
    return found


def element(tag: int, content: bytes) -> bytes:
    """Write one element."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content
