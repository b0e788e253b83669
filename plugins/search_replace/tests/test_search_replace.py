"""The stage as a pipeline calls it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from texts import FIELDS

FOLDER = Path(__file__).parent.parent


def test_the_manifest_declares_what_the_walk_looks_at() -> None:
    stage = tomllib.loads((FOLDER / "pyproject.toml").read_text())["tool"]["penstock"]["stages"]["replace"]
    declared = {
        hook: tuple(path.removeprefix("payload.") for path in use["writes"]) for hook, use in stage["hooks"].items()
    }
    assert declared == FIELDS
    assert all(use["reads"] == use["writes"] for use in stage["hooks"].values())
