"""SQLite's write-ahead log, read before SQLite sees it: whether what it would drop can be a torn tail.

SQLite reads the log up to the first frame that does not add up and drops the rest without a word. That is right for the
last transaction, which a crash may leave half written; anything before it had reached the disk, so a bad frame there is
damage. The format is that of https://www.sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["damage"]

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
_MAGIC = 0x377F0682
_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")


def damage(path: Path) -> str | None:
    """Say what is wrong with the log beyond a torn tail; None where nothing is, or there is no log."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return None
    with stream:
        header = stream.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return None
        magic, _, page_bytes, _, *salts, first, second = _HEADER.unpack(header)
        order = ">" if magic & 1 else "<"
        fits = magic & ~1 == _MAGIC and 512 <= page_bytes <= 65536 and page_bytes & (page_bytes - 1) == 0
        if not fits or _sum(order, header[:24], (0, 0)) != (first, second):
            return None if not stream.read(1) else "its header is damaged"
        return _bad_frame(stream, page_bytes, order, salts, (first, second))


def _bad_frame(stream: BinaryIO, page_bytes: int, order: str, salts: list[int], running: tuple[int, int]) -> str | None:
    """Find the first frame that does not add up, and tell whether whole transactions follow it."""
    bad: int | None = None
    ended = False
    for number, frame in enumerate(_frames(stream, page_bytes)):
        _, committed, *found, first, second = _FRAME.unpack(frame[:FRAME_HEADER_BYTES])
        if bad is None:
            running = _sum(order, frame[FRAME_HEADER_BYTES:], _sum(order, frame[:8], running))
            bad = number if running != (first, second) or found != salts else None
        # Frames of other salts are leavings of an older log, which was folded in before this one began.
        if bad is not None and found == salts:
            if ended:
                return f"frame {bad} is damaged, and more was committed after it"
            ended = committed != 0
    return None


def _frames(stream: BinaryIO, page_bytes: int) -> Iterator[bytes]:
    size = FRAME_HEADER_BYTES + page_bytes
    while len(frame := stream.read(size)) == size:
        yield frame


def _sum(order: str, data: bytes, running: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum over pairs of 32-bit words."""
    first, second = running
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = first + one + second & 0xFFFFFFFF
        second = second + other + first & 0xFFFFFFFF
    return first, second
