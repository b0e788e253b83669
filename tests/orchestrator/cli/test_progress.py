"""What is said while plugins start and nobody watches a terminal."""

from __future__ import annotations

import pytest

from isolation.store.events import BuildEvent
from orchestrator.cli.progress import Bars

Heard = pytest.CaptureFixture[str]


def test_off_a_terminal_only_what_takes_long_is_said(capsys: Heard) -> None:
    with Bars(shown=False) as bars:
        for phase in ("resolve", "environment", "install", "snapshot", "found", "ready"):
            bars.started(BuildEvent("pii", phase, "on cpython 3.11", 0.5))
        bars.lines(16, 100, 200)
    assert capsys.readouterr().err == "pii: making its environment on cpython 3.11\n"


@pytest.mark.parametrize("shown", [True, False])
def test_a_build_from_source_is_always_told(capsys: Heard, shown: bool) -> None:
    """It runs code of strangers as the user."""
    with Bars(shown=shown) as bars:
        bars.started(BuildEvent("pii", "source", "spam is built from source: its build runs unconfined, as you"))
    expected = "warning: pii: spam is built from source: its build runs unconfined, as you\n"
    assert capsys.readouterr().err == expected
