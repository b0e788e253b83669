"""Lines are cut and written whole, in whatever pieces they come."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.runtime.penstock_plugin.serving.frames import FrameTooLarge, Lines, Sink

TEXTS = st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")), max_size=8)


@given(TEXTS, st.lists(st.integers(1, 30), max_size=60))
def test_lines_come_out_as_they_went_in_however_they_are_cut(texts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(text + b"\n" for text in texts)
    lines, found = Lines(1000), []
    for cut in cuts:
        piece, stream = stream[:cut], stream[cut:]
        found += lines.feed(piece) if piece else []
    found += lines.feed(stream) if stream else []
    assert found == texts


@pytest.mark.parametrize(
    "pieces", [[b"x" * 11], [b"x" * 6, b"x" * 5], [b"ok\n" + b"x" * 11 + b"\n"], [b"x" * 9, b"xx\n"]]
)
def test_a_line_over_the_limit_is_refused_as_soon_as_it_is_clear(pieces: list[bytes]) -> None:
    lines = Lines(10)
    for piece in pieces[:-1]:
        lines.feed(piece)
    with pytest.raises(FrameTooLarge):
        lines.feed(pieces[-1])


def test_a_line_of_exactly_the_limit_passes() -> None:
    assert Lines(10).feed(b"x" * 10 + b"\n") == [b"x" * 10]


def test_threads_do_not_cut_each_others_lines() -> None:
    reader, writer = os.pipe()
    sink = Sink(writer)

    def write(letter: bytes) -> None:
        for _ in range(50):
            sink.write(letter * 9000 + b"\n")

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    with os.fdopen(reader, "rb") as pipe:
        found = [pipe.readline() for _ in range(150)]
    for thread in threads:
        thread.join()
    os.close(writer)
    assert {line[:1] * 9000 + b"\n" for line in found} == set(found)


def test_a_silent_sink_writes_nothing() -> None:
    reader, writer = os.pipe()
    sink = Sink(writer)
    sink.silence()
    sink.write(b"from a fork\n")
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b""
