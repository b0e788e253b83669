"""What files hold, told without waiting for anybody."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.loading import Footprint
from orchestrator.revisions.content import content_of


def test_what_stands_where_a_file_stood_is_told_from_it_and_not_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody writes into would hold up the watch for ever."""
    path = tmp_path / "words.txt"
    footprint = Footprint(files={str(path)})
    seen = [content_of(footprint)]
    path.write_text("one")
    seen.append(content_of(footprint))
    path.unlink()
    os.mkfifo(path)
    seen.append(content_of(footprint))
    path.unlink()
    path.mkdir()
    seen.append(content_of(footprint))
    assert len({content[str(path)] for content in seen}) == 4
