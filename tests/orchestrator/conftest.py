"""A bench, and a store, for every test that wants one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from surviving import Bench

from isolation.store.store import Store


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on a clock and a journal that the test moves."""
    loop = asyncio.new_event_loop()
    yield Bench(tmp_path, loop)
    loop.close()


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An empty store."""
    with Store(tmp_path_factory.mktemp("store"), offline=True) as made:
        yield made
