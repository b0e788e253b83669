"""No test of a verifier reaches a network: connecting and asking a name server fail, but where a test serves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from attest.verdict import Findings

_REACHING_OUT = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind")
_open_to = [False]


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _REACHING_OUT and not _open_to[0]:
        raise PermissionError(f"a verifier's test may not do this: {event}")


sys.addaudithook(_watch)


@pytest.fixture
def loopback() -> Iterator[None]:
    """Let one test connect to servers that it starts itself."""
    _open_to[0] = True
    yield
    _open_to[0] = False


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
