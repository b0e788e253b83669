"""The story of live changes comes out as its README tells it, and no call fails while it is told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "live-reload"
README = (EXAMPLE / "README.md").read_text()
# Eleven steps, each of some commands, on a machine that is busy with other tests.
SECONDS = 600


def plain(line: str) -> str:
    """A line without what is different every time: how many calls there were, ages, shares, how wide a table is."""
    line = re.sub(r"\| (\d+) \| \d+ \| (\d+) \| \d+ \|$", r"| \1 | calls | \2 | some |", line)
    line = re.sub(r"just now|\d+ min ago", "AGE", line)
    line = re.sub(r"\d+ of \d+ \([\d.]+%\)", "SHARE", line)
    line = re.sub(r"uid:\d+", "uid", line)
    return re.sub(r"─+", "─", " ".join(line.split()))


def test_the_story_comes_out_as_it_is_told() -> None:
    command = [sys.executable, str(EXAMPLE / "live.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    told = [plain(line) for line in README.splitlines()]
    came = [plain(line) for line in run.stdout.splitlines()]
    assert [line for line in came if line not in told] == []
    rows = re.findall(r"\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", run.stdout, re.MULTILINE)
    assert len(rows) == 11
    assert all(int(answered) for _, answered, _, _ in rows), "calls went on in every step"
    assert [failed for _, _, failed, _ in rows] == ["0"] * 11
    unlabelled = [int(count) for _, _, _, count in rows]
    assert sum(unlabelled[:8]) == 0, "only the bad canary and the override cost a label"


def test_every_step_is_in_the_readme() -> None:
    """And the README tells of no other."""
    steps = re.findall(r'^    Step\("(.*?)", "(.*?)",', (EXAMPLE / "live.py").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| (.*?) \| (.*?) \| \d+ \| \d+ \| 0 \| \d+ \|$", README, re.MULTILINE)
    assert rows == steps
