"""A bench for every test that wants one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from surviving import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on a clock and a journal that the test moves."""
    loop = asyncio.new_event_loop()
    yield Bench(tmp_path, loop)
    loop.close()
