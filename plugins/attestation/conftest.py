"""No test of a verifier reaches a network: connecting and asking a name server fail, but where a test serves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

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
