"""What a request is known by outside: its W3C trace context and its request id, checked where they come in.

Penstock opens no span of its own: what came in goes on to plugins, logs and records as it is.
"""

from __future__ import annotations

import os
import re

__all__ = ["MAX_REQUEST_ID_CHARACTERS", "accepted_request_id", "accepted_trace", "fresh_trace"]

MAX_REQUEST_ID_CHARACTERS = 200

_VERSION_ZERO = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LATER = re.compile(r"(?!00|ff)[0-9a-f]{2}(-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(?:-.*)?")
_REQUEST_ID = re.compile(r"[!-~]+")


def accepted_trace(header: str) -> str:
    """The `traceparent` as version 00 writes it, "" where it is none (W3C Trace Context, 3.2)."""
    if _VERSION_ZERO.fullmatch(header):
        return header
    later = _LATER.fullmatch(header)
    return f"00{later[1]}" if later else ""


def fresh_trace() -> str:
    """A `traceparent` for a request that came without one; nobody records it yet, so it is not sampled."""
    drawn = os.urandom(24).hex()
    return f"00-{drawn[:32]}-{drawn[32:]}-00"


def accepted_request_id(header: str) -> str:
    """A request id as it came, "" where it is too long or holds what is not to be seen."""
    fits = len(header) <= MAX_REQUEST_ID_CHARACTERS and _REQUEST_ID.fullmatch(header)
    return header if fits else ""
