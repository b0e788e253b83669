"""The example with a hook of its own does what its README says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own-hook"
# An environment may have to be built first, on a machine that is busy with other tests.
SECONDS = 300


def penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("penstock")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, check=False)


def test_each_line_has_the_verdict_of_the_readme() -> None:
    run = penstock("run", "examples/own-hook", "--locked", "--json")
    assert run.returncode == 0, run.stderr
    records = [json.loads(line) for line in run.stdout.splitlines()]
    came = [(record["verdict"], (record["violation"] or {}).get("code", "")) for record in records]
    told = re.findall(
        r"^\| \d \|.*\| (allow|deny)(?: `([\w.]+)`)? \|$", (EXAMPLE / "README.md").read_text(), re.MULTILINE
    )
    assert came == told


def test_its_own_tests_pass() -> None:
    run = penstock("test", "examples/own-hook")
    assert run.returncode == 0, run.stdout + run.stderr
