"""The plugins in their own environments: their own tests, and two that could not share one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
# An environment may have to be built first, on a machine that is busy with other tests.
SECONDS = 900


def penstock(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PENSTOCK, *arguments], input=text, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, check=False
    )


@pytest.mark.parametrize("name", ["search_replace", "deny_filter", "pii_filter", "schema_guard", "attestation"])
def test_the_own_tests_of_a_plugin_pass_in_its_own_environment(name: str) -> None:
    run = penstock("plugin", "test", f"plugins/{name}")
    assert run.returncode == 0, run.stdout + run.stderr
    assert not (ROOT / "plugins" / name / ".venv").exists()


def test_two_versions_of_one_library_run_in_one_pipeline() -> None:
    line = json.dumps({"hook": "tool_pre_invoke", "payload": {"name": "t", "args": {"q": "x"}}})
    run = penstock("run", "tests/plugins/pydantic_pipeline.yaml", "--input", "-", "--json", text=line)
    assert run.returncode == 0, run.stderr
    stages = json.loads(run.stdout)["stages"]
    assert stages["first"]["out"]["version"].startswith("1.")
    assert stages["second"]["out"]["version"].startswith("2.")
    assert stages["first"]["out"]["host_modules"] == stages["second"]["out"]["host_modules"] == 0


@pytest.mark.parametrize("values", ["action: hash", "actions: { email: hash }", 'actions: { email: hash }, salt: ""'])
def test_hashing_without_a_salt_is_found_by_lint(values: str, tmp_path: Path) -> None:
    """Not only by the plugin when it starts: the mistake has a line and a column."""
    file = tmp_path / "pipeline.yaml"
    plugins = f"plugins:\n  pii:\n    source: {ROOT / 'plugins' / 'pii_filter'}\n    with: {{ {values} }}\n"
    stages = "pipelines: { p: { hook: tool_pre_invoke, stages: { a: { uses: pii/mask } } } }\n"
    file.write_text(f"version: 1\nname: hashing\n{plugins}{stages}")
    run = penstock("lint", str(file))
    assert run.returncode == 78
    assert f"{file}:6:" in run.stdout + run.stderr
    assert "bad-with plugins.pii.with.salt: " in run.stdout + run.stderr
