"""Which versions of a plugin an operator takes: specifiers as PEP 440 writes them.

`packaging` is imported where one is judged: most files have none, and it costs as much CPU as reading them.
"""

from __future__ import annotations

__all__ = ["meant", "refused", "unreadable"]


def unreadable(constraint: str) -> str | None:
    """Why a text is no specifier, or None."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(constraint)
    except InvalidSpecifier:
        return f"{constraint!r} is no version specifier like '>=1.2,<2' (PEP 440)"
    return None


def meant(constraint: str) -> str | None:
    """The specifier that a bare version was probably meant to be."""
    from packaging.version import InvalidVersion, Version

    try:
        return f"=={Version(constraint)}"
    except InvalidVersion:
        return None


def refused(constraint: str, version: str) -> str | None:
    """Why a plugin of this version is not taken, or None. A pre-release counts: it is what stands in the folder."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        if SpecifierSet(constraint).contains(Version(version), prereleases=True):
            return None
    except InvalidVersion:
        return (
            f"the plugin's version {version!r} is none that can be compared (PEP 440), and {constraint!r} is asked for"
        )
    return f"the plugin has version {version}, and {constraint!r} is asked for"
