"""The plugin of examples/saga: its own tests, the protocol, and the table of its README."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "saga" / "plugins" / "shop"
# An environment may have to be built first, on a machine that is busy with other tests.
SECONDS = 300


def penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("penstock")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_its_own_tests_pass_in_its_own_environment() -> None:
    done = penstock("plugin", "test", str(SHOP))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_promise_of_its_undos_is_proved(tmp_path: Path) -> None:
    """And what the check did outside it has taken back, but for messages and records, which cannot be."""
    ledger = tmp_path / "ledger.jsonl"
    done = penstock("plugin", "check", str(SHOP), "--json", "--with", json.dumps({"ledger": str(ledger)}))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {finding["outcome"] for finding in json.loads(done.stdout)} == {"passed"}
    happened = [json.loads(line) for line in ledger.read_text().splitlines()]
    does = [line["key"] for line in happened if line["what"] == "do" and line["stage"] not in ("notify", "record")]
    undos = [line["key"] for line in happened if line["what"] == "undo"]
    assert len(does) > 8
    assert sorted(does) == sorted(undos) == sorted(set(does))


def test_its_page_names_every_stage_setting_and_trouble() -> None:
    page = (SHOP / "README.md").read_text()
    manifest = tomllib.loads((SHOP / "pyproject.toml").read_text())["tool"]["penstock"]
    schema = json.loads((SHOP / "config.schema.json").read_text())
    source = (SHOP / "trouble.py").read_text()
    kinds = next(line for line in source.splitlines() if line.startswith("KINDS")).split('"')[1::2]
    for name in (*manifest["stages"], *schema["properties"], *kinds):
        assert f"`{name}`" in page
