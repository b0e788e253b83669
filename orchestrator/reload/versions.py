"""Which versions go together: a plugin's API and Python with the host's, and a plugin's version with the one before.

Specifiers are those of PEP 440. Every rule is a function of texts that says in a sentence what is wrong, or None. What
an operator asks of a plugin's version is judged in `pipelines.versions`, and that the host speaks the plugin's API at
all, with its exact place, where the manifest is read.
`packaging` is imported where a rule needs it: most files name no version, and it costs as much as reading them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from isolation.manifest.standards import HOST_PROTOCOL

__all__ = [
    "DEPRECATED_APIS",
    "SPOKEN_APIS",
    "Direction",
    "api_deprecation",
    "direction",
    "python_problem",
]

SPOKEN_APIS = (HOST_PROTOCOL,)
"""Every version of the protocol that this host speaks."""

DEPRECATED_APIS: Mapping[str, str] = MappingProxyType({})
"""Those of them that a later host will not speak any more, with what to do about it."""


class Direction(enum.Enum):
    """Where a version goes."""

    UP = "up"
    DOWN = "down"
    ADDED = "added"
    REMOVED = "removed"
    ASIDE = "aside"
    """Neither of the two is later: they are equal in meaning, or one is no version."""


def direction(before: str | None, after: str | None) -> Direction:
    """Compare two versions as PEP 440 orders them."""
    if before is None or after is None:
        return Direction.ADDED if before is None else Direction.REMOVED
    from packaging.version import InvalidVersion, Version

    try:
        old, new = Version(before), Version(after)
    except InvalidVersion:
        return Direction.ASIDE
    if old == new:
        return Direction.ASIDE
    return Direction.UP if new > old else Direction.DOWN


def api_deprecation(
    api: str, spoken: Iterable[str] = SPOKEN_APIS, deprecated: Mapping[str, str] = DEPRECATED_APIS
) -> str | None:
    """What to say of a plugin whose best version of the API, of those spoken here, goes out of use."""
    best = _best(api, tuple(spoken)) if deprecated else None
    if best is None or best not in deprecated:
        return None
    return f"it is written for api {api}, and {best} is deprecated: {deprecated[best]}"


def python_problem(requires_python: str | None, versions: Iterable[str]) -> str | None:
    """Why a plugin finds no interpreter among those of these versions."""
    have = tuple(dict.fromkeys(versions))
    if requires_python is None or _plainly(requires_python, have) or _best(requires_python, have) is not None:
        return None
    return f"it needs Python {requires_python}, and no interpreter here satisfies that; there are {', '.join(have)}"


_LEAST = re.compile(r"\s*>=\s*(\d+)\.(\d+)\s*")
_FINAL = re.compile(r"(\d+)\.(\d+)\.\d+")


def _plainly(specifier: str, versions: tuple[str, ...]) -> bool:
    """Whether one satisfies, seen without `packaging`: nearly every plugin asks for a least version and no more."""
    least = _LEAST.fullmatch(specifier)
    finals = [final for each in versions if (final := _FINAL.fullmatch(each)) is not None]
    return least is not None and any(
        (int(final[1]), int(final[2])) >= (int(least[1]), int(least[2])) for final in finals
    )


def _best(specifier: str, versions: tuple[str, ...]) -> str | None:
    """The latest of the versions that satisfies."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    fit = SpecifierSet(specifier)
    return max((each for each in versions if fit.contains(each, prereleases=True)), key=Version, default=None)
