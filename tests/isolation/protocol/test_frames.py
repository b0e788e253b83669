"""Bytes to frames: however the bytes are cut, the same lines come out, and nothing after a line over the limit."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.protocol.frames import SMALL_PIECE_BYTES, FrameReader, FrameTooLarge

LIMIT = 24

lines = st.lists(st.binary(max_size=LIMIT - 1).map(lambda line: line.replace(b"\n", b" ")), max_size=8)
cuts = st.lists(st.integers(min_value=0, max_value=200), max_size=12)


def pieces(stream: bytes, at: list[int]) -> list[bytes]:
    """`stream` cut at these places, empty pieces included."""
    places = [0, *sorted(min(place, len(stream)) for place in at), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


def read(reader: FrameReader, chunks: list[bytes]) -> tuple[list[bytes], bool]:
    """The frames of all chunks, and whether the limit was met."""
    frames: list[bytes] = []
    for chunk in chunks:
        try:
            frames += reader.feed(chunk)
        except FrameTooLarge as end:
            return [*frames, *end.frames], True
    return frames, False


@given(lines, st.binary(max_size=LIMIT - 1).map(lambda tail: tail.replace(b"\n", b" ")), cuts)
def test_any_chunking_gives_the_same_frames(whole: list[bytes], tail: bytes, at: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in whole) + tail
    reader = FrameReader(LIMIT)
    assert read(reader, pieces(stream, at)) == (whole, False)
    assert reader.pending == len(tail)


@given(lines, st.binary(max_size=100).map(lambda end: end.replace(b"\n", b" ")), lines, cuts)
def test_a_line_over_the_limit_is_the_end_however_it_is_cut(
    before: list[bytes], extra: bytes, after: list[bytes], at: list[int]
) -> None:
    """The lines before it are read, and no byte after it, not even one that looks like a frame."""
    too_long = b"x" * LIMIT + extra
    stream = b"".join(line + b"\n" for line in [*before, too_long, *after])
    reader = FrameReader(LIMIT)
    assert read(reader, pieces(stream, at)) == (before, True)
    for chunk in (b"", b"\n", b'{"forged":1}\n'):
        with pytest.raises(FrameTooLarge) as raised:
            reader.feed(chunk)
        assert raised.value.frames == ()


@pytest.mark.parametrize("cut", [1, LIMIT - 2, LIMIT - 1])
def test_the_limit_counts_the_newline(cut: int) -> None:
    fits = b"x" * (LIMIT - 1) + b"\n"
    assert FrameReader(LIMIT).feed(fits) == [fits[:-1]]
    reader = FrameReader(LIMIT)
    assert reader.feed(fits[:cut]) + reader.feed(fits[cut:]) == [fits[:-1]]


@pytest.mark.parametrize("cut", [0, 1, LIMIT - 1, LIMIT])
def test_one_byte_over_the_limit_is_refused_as_soon_as_it_is_seen(cut: int) -> None:
    """The line need not end first: an endless line would otherwise be kept for ever."""
    endless = b"x" * LIMIT
    reader = FrameReader(LIMIT)
    with pytest.raises(FrameTooLarge):  # noqa: PT012  the first piece may or may not be the one too many
        reader.feed(endless[:cut])
        reader.feed(endless[cut:])


def test_a_refused_line_is_not_kept() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(b"x" * (LIMIT - 1))
    with pytest.raises(FrameTooLarge):
        reader.feed(b"x")
    assert reader.pending == 0


@pytest.mark.parametrize("stream", [b"\n", b"\n\n\n", b"\r\n"])
def test_an_empty_line_is_a_frame_for_whoever_judges_it(stream: bytes) -> None:
    assert FrameReader(LIMIT).feed(stream) == stream.split(b"\n")[:-1]


def test_a_line_that_comes_byte_by_byte_is_kept_in_few_pieces() -> None:
    """One object a byte would cost forty times the line."""
    reader = FrameReader(1 << 20)
    line = bytes(range(32, 127)) * 1000
    for place in range(len(line)):
        assert reader.feed(line[place : place + 1]) == []
    assert len(reader._parts) <= len(line) // SMALL_PIECE_BYTES + 1
    assert reader.feed(b"\n") == [line]
