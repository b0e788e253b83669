"""The example of admission comes to the table of its README, against real TLS servers on loopback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "server-admission"
# An environment may have to be built first, on a machine that is busy with other tests.
SECONDS = 300


def test_every_server_has_the_verdict_and_the_codes_of_the_readme() -> None:
    command = [sys.executable, str(EXAMPLE / "admission.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    readme = (EXAMPLE / "README.md").read_text()
    assert run.stdout in readme
    assert run.stdout.count("\n") == 13


def test_servers_that_kill_their_verifier_cost_nobody_else_anything() -> None:
    """Ten of each here; the script alone registers 200 of each."""
    command = [sys.executable, str(EXAMPLE / "killing.py"), "--each", "10"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "  10 good: allow\n" in run.stdout
    assert "4 workers, 4 starts, 0 ends, 0 changes of breakers\n" in run.stdout
