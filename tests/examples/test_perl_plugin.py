"""A plugin without Python stands in a pipeline like any other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "perl-plugin"
SECONDS = 120

pytestmark = pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl")


def penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("penstock")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_it_runs_on_its_input() -> None:
    run = penstock("run", str(EXAMPLE), "--json")
    assert run.returncode == 0, run.stderr
    records = [json.loads(line) for line in run.stdout.splitlines()]
    assert [record["hook_verdict"] for record in records] == ["allow", "deny", "modify", "allow", "deny"]
    assert records[1]["violation"]["code"] == "secret_found"
    assert records[2]["payload"]["result"]["content"][0]["text"] == "user=app\nAuthorization: [secret]"
    assert records[3]["payload"]["result"] == json.loads(
        '{"content": [{"type": "text", "text": "nothing to see"}], "size": 12345678901234567890, "ratio": 0.1}'
    )


@pytest.mark.parametrize("command", [("lint",), ("test",), ("plugin", "check")])
def test_it_holds_up(command: tuple[str, ...]) -> None:
    """Its pipeline file, its tests, and the protocol."""
    done = penstock(*command, str(EXAMPLE))
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_needs_no_module_that_is_not_perls_own() -> None:
    source = (EXAMPLE / "secret_filter.pl").read_text()
    used = {line.split()[1].rstrip(";") for line in source.splitlines() if line.startswith("use ")}
    assert used == {"strict", "warnings", "B", "JSON::PP", "constant"}
