"""A journal of one's own, closed at the end whatever happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from keeper import Keeper


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Keeper]]:
    """Opens journals: `opened()` the test's own, `opened(folder)` another."""
    with ExitStack() as stack:

        def keep(folder: Path | None = None, **options: object) -> Keeper:
            keeper = Keeper(folder or tmp_path / "journal", **options)
            stack.callback(keeper.close)
            return keeper

        yield keep


@pytest.fixture
def keeper(opened: Callable[..., Keeper]) -> Keeper:
    return opened()
