"""Lines from files and pipes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from orchestrator.cli.lines import MAX_LINE_BYTES, LineReader


async def numbered(descriptor: int) -> list[tuple[int, bytes | None]]:
    return [(line.number, line.text) async for line in LineReader(descriptor).lines()]


def read_file(folder: Path, content: bytes) -> list[tuple[int, bytes | None]]:
    path = folder / "input"
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return asyncio.run(numbered(descriptor))
    finally:
        os.close(descriptor)


def test_blank_lines_count_but_are_not_given(tmp_path: Path) -> None:
    assert read_file(tmp_path, b"a\n\n  \r\nb\n") == [(1, b"a"), (4, b"b")]


def test_the_last_line_may_lack_its_end(tmp_path: Path) -> None:
    assert read_file(tmp_path, b"a\nb") == [(1, b"a"), (2, b"b")]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert read_file(tmp_path, b"") == []


def test_a_line_longer_than_one_read_is_whole(tmp_path: Path) -> None:
    long = b"x" * 1_000_000
    assert read_file(tmp_path, long + b"\nend\n") == [(1, long), (2, b"end")]


def test_a_line_too_long_to_hold_is_named_and_the_next_one_is_whole(tmp_path: Path) -> None:
    assert read_file(tmp_path, b"x" * (MAX_LINE_BYTES + 1) + b"\nend\n") == [(1, None), (2, b"end")]


def test_a_line_from_a_pipe_comes_before_the_next_one_is_written() -> None:
    """Somebody may wait for the answer to the first call before making the second."""

    async def talk() -> list[bytes | None]:
        near, far = os.pipe()
        lines = LineReader(near).lines()
        heard = []
        for word in (b"one\n", b"two\n"):
            os.write(far, word)
            heard.append((await anext(lines)).text)
        os.close(far)
        return heard + [line.text async for line in lines]

    assert asyncio.run(asyncio.wait_for(talk(), 10)) == [b"one", b"two"]


def test_waiting_for_a_pipe_can_be_cancelled() -> None:
    """A thread blocked in read() would keep Ctrl-C from ending the program."""

    async def give_up() -> bool:
        near, _far = os.pipe()
        waiting = asyncio.ensure_future(anext(LineReader(near).lines()))
        await asyncio.wait([waiting], timeout=0)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=10)
        return waiting.cancelled()

    assert asyncio.run(give_up())


def test_dev_null_reads_as_empty() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    assert asyncio.run(numbered(descriptor)) == []
    os.close(descriptor)
