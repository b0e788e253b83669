"""Writing to stdout without holding up the loop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from orchestrator.cli.output import Output


def test_everything_arrives_although_the_reader_is_slow() -> None:
    """More than a pipe holds is written while the loop goes on; here the loop itself is the reader."""

    async def through() -> bytes:
        near, far = os.pipe()
        os.set_blocking(near, False)
        heard = bytearray()
        loop = asyncio.get_running_loop()
        loop.add_reader(near, lambda: heard.extend(os.read(near, 65536)))
        await asyncio.wait_for(Output(far).write(b"x" * 1_000_000), 10)
        os.close(far)
        loop.remove_reader(near)
        os.set_blocking(near, True)
        while rest := os.read(near, 65536):
            heard += rest
        return bytes(heard)

    assert asyncio.run(through()) == b"x" * 1_000_000


def test_a_reader_that_went_away_is_a_broken_pipe() -> None:
    near, far = os.pipe()
    os.close(near)
    with pytest.raises(BrokenPipeError):
        asyncio.run(Output(far).write(b"x"))
    os.close(far)


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    asyncio.run(Output(descriptor).write(b"x" * 100_000))
    os.close(descriptor)
    assert (tmp_path / "out").read_bytes() == b"x" * 100_000
