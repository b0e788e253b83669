"""What somebody outside the store still needs: a journal whose runs must be able to go on with their own generation."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from isolation.store.layout import Layout, read_json, write_json
from isolation.store.resolution import digest_of

__all__ = ["Holds"]


class Holds:
    """The holds of one store: one file for each owner, a folder. They end with the owner's folder."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def write(self, owner: Path, names: Collection[str]) -> None:
        """Let `owner` hold these fingerprints and digests, and no others any more."""
        path = self._layout.root / "holds" / f"{digest_of(str(owner))}.json"
        if names:
            write_json(path, {"owner": str(owner), "names": sorted(names)})
        else:
            path.unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Everything that is held."""
        for path in self._layout.entries("holds"):
            found = read_json(path) or {}
            owner, names = found.get("owner"), found.get("names")
            if isinstance(owner, str) and isinstance(names, list) and Path(owner).is_dir():
                yield from (name for name in names if isinstance(name, str))
