"""What uv's last lines mean for the reader: one clear error each, with the next action. Recognises, never repairs."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from isolation.errors import EnvironmentBuildError
from isolation.store.uv import UvOutcome

__all__ = ["Doing", "failure"]

RESOLVER_LINES = 20

# The last one names a remedy of uv's that is not ours.
_NOISE = ("Using Python", "Using CPython", "hint: To update the lockfile")


class Doing(enum.Enum):
    """What uv was asked to do when it failed."""

    LOCK = "its requirements could not be locked"
    READ_LOCK = "its lock could not be read"
    VENV = "its environment could not be made"
    INSTALL = "its requirements could not be installed"


@dataclass(frozen=True, slots=True)
class _Sign:
    pattern: re.Pattern[str]
    message: str
    hint: str


def _sign(pattern: str, message: str, hint: str) -> _Sign:
    return _Sign(re.compile(pattern, re.IGNORECASE), message, hint)


_RELOCK = "look at what changed, then `penstock plugin lock {folder}`"

_STALE = _sign(r"`--locked` was provided", "its requirements no longer match their lock", _RELOCK)

# In this order: the first that fits is the reason, later ones are its echoes.
_SIGNS = (
    _sign(
        r"hash mismatch",
        "a download does not have the hash that its lock demands; nothing was installed",
        f"do not use the file until you know why it differs; if the lock is wrong, {_RELOCK}",
    ),
    _STALE,
    _sign(
        r"marked as `--(?:no-build|only-binary)`|building (?:source distributions|from source)\b.* is disabled"
        r"|no binary distribution",
        "there is no wheel for a requirement, and building from source runs its code as you, which nobody has allowed",
        'choose a version with a wheel, or allow the build: `sdists = ["NAME"]` in [tool.penstock]',
    ),
    _sign(
        r"network connectivity is disabled|network was disabled",
        "offline, and uv's cache does not hold what is needed",
        "run once online, or point UV_FIND_LINKS at a folder of wheels, or ship them in the plugin's `wheels` folder",
    ),
    _sign(r"no space left|disk quota", "the disk is full", "free some space, `penstock env gc` helps"),
    _sign(
        r"permission denied|read-only file system|operation not permitted|failed to initialize cache",
        "uv may not write where it has to",
        "see the path in the lines above; UV_CACHE_DIR and PENSTOCK_STORE say where else to write",
    ),
    _sign(
        r"error sending request|failed to (?:fetch|download)|dns error|connection refused|timed out|connect error",
        "the package index cannot be reached",
        "check the network and the proxy, or work offline from a warm cache or a folder of wheels",
    ),
    _sign(
        r"missing hash|require-hashes|hashes",
        "a requirement has no hash, so nobody can tell what would be installed",
        "only distributions from an index or a folder of wheels can be used, not folders or repositories",
    ),
    _sign(
        r"no solution found",
        "no set of versions satisfies its requirements",
        "loosen the requirement that the lines above name",
    ),
)


def failure(plugin: str, doing: Doing, outcome: UvOutcome, *, folder: str) -> EnvironmentBuildError:
    """Make the one error for a run of uv that failed."""
    lines = [line for line in outcome.lines if not line.startswith(_NOISE)]
    text = "\n".join(lines)
    sign = next((sign for sign in _SIGNS if sign.pattern.search(text)), None)
    if sign is not None and doing is Doing.READ_LOCK and "network" in sign.pattern.pattern:
        # uv goes to the network while it reads a lock only when the lock does not answer the requirements.
        sign = _STALE
    message = doing.value if sign is None else f"{doing.value}: {sign.message}"
    if sign is _STALE:
        message = sign.message
    hint = "the resolver's lines above say why" if sign is None else sign.hint.format(folder=folder)
    return EnvironmentBuildError(plugin, message, hint=hint, resolver="\n".join(lines[-RESOLVER_LINES:]))
