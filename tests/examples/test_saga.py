"""Every command of the example's README does what the README shows, one after the other over one journal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "examples" / "saga" / "README.md").read_text()
# An environment may have to be built first, on a machine that is busy with other tests.
SECONDS = 300


def shell(command: str, state: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PENSTOCK_STATE": str(state)}
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, env=environment, check=False
    )


def told() -> list[tuple[str, list[str]]]:
    """The commands of the README, each with the lines that it shows."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(plain(line))
    return found


def plain(line: str) -> str:
    """A line without what is different every time: ids, times, how wide a table is."""
    line = re.sub(r"\b01[0-9A-Z]{18}(?=\d{6}\b)", "ID", line)
    line = re.sub(r"\b(\d+|\d+\.\d+) (µs|ms|s)\b", "TIME", line)
    line = re.sub(r"just now|\d+ \w+ ago", "AGE", line)
    return re.sub(r"─+", "─", " ".join(line.split()))


def fits(came: list[str], shown: list[str]) -> bool:
    """Whether the lines are those shown; `...` stands for any number of them."""
    if not shown:
        return not came
    if shown[0] == "...":
        return any(fits(came[skipped:], shown[1:]) for skipped in range(len(came) + 1))
    return came[:1] == shown[:1] and fits(came[1:], shown[1:])


def test_each_command_does_what_the_readme_shows(tmp_path: Path) -> None:
    commands = told()
    assert len(commands) == 9
    for command, shown in commands:
        ended = shell(command, tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        came = [plain(line) for line in ended.stdout.splitlines()]
        assert not shown or fits(came, shown), f"{command}\n{ended.stdout}"


def test_each_order_becomes_what_the_readme_says_and_a_second_run_the_same(tmp_path: Path) -> None:
    rows = re.findall(r"^\| \d \|.*\| (allow|deny), (\w+)", README, re.MULTILINE)
    for _ in range(2):
        ended = shell("penstock run examples/saga --json", tmp_path)
        assert ended.returncode == 0, ended.stderr
        records = [json.loads(line) for line in ended.stdout.splitlines()]
        assert [(record["verdict"], record["status"]) for record in records] == rows
    charged = records[3]["stages"]["charge"]
    assert charged["attempts"] == 2, "its worker was killed once"
