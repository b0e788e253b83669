"""docs/cli.md says what the commands are."""

from __future__ import annotations

import runpy
from pathlib import Path

from orchestrator.cli.failures import Exit

ROOT = Path(__file__).parents[3]
MADE = runpy.run_path(str(ROOT / "docs" / "cli_page.py"))


def test_the_page_is_what_the_commands_make_it() -> None:
    """`python docs/cli_page.py` writes it."""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == MADE["cli_page"]()


def test_every_exit_status_is_documented() -> None:
    assert set(MADE["EXITS"]) == set(Exit)
