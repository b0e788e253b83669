"""What uv may build while it resolves: nothing, but for the distributions that the author allows by name.

Resolving runs builds too: a folder, or an sdist whose metadata is not static, tells its requirements only when its
build backend is run, as the user who runs the host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from packaging.utils import canonicalize_name

from isolation.store.uv import UvOutcome

__all__ = ["NO_BUILD", "resolving"]

NO_BUILD = "--no-build"

_WANTED = re.compile(
    r"(?:wheels are required for|building source distributions for) `([^`]+)`[^`]* is disabled", re.IGNORECASE
)


def resolving(run: Callable[[Sequence[str]], UvOutcome], allowed: frozenset[str], exception: str) -> UvOutcome:
    """Let uv resolve without builds; what it then says it must build, and may, is excepted by name in another try.

    Not all of `allowed` at once: to uv, a name taken out of "no build" is one whose wheels do not count.
    """
    excepted: frozenset[str] = frozenset()
    while True:
        outcome = run([NO_BUILD, *(f"{exception}={name}" for name in sorted(excepted))])
        wanted = frozenset(canonicalize_name(name) for name in _WANTED.findall("\n".join(outcome.lines)))
        if outcome.status == 0 or not (wanted & allowed) - excepted:
            return outcome
        excepted |= wanted & allowed
