"""Generated examples are not kept on disk: the plugin's folder is what its digest is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from attest.verdict import Findings
from hypothesis import settings

settings.register_profile("plugin", database=None, deadline=None)
settings.load_profile("plugin")


@pytest.fixture
def timed() -> Iterator[None]:
    """Have every check take a second: each look at the timer finds it a second later."""
    seconds = count()
    yield from _timing_by(lambda: float(next(seconds)))


@pytest.fixture
def untimed() -> Iterator[None]:
    """Verify as whoever has no clock does."""
    yield from _timing_by(lambda: 0.0)


def _timing_by(timer: Callable[[], float]) -> Iterator[None]:
    before = Findings.timer
    Findings.timer = timer
    yield
    Findings.timer = before
