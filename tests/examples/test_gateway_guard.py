"""The example does what its README says, on the calls that come with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "gateway-guard"
RECORDED = 241
# Environments may have to be built first, on a machine that is busy with other tests.
SECONDS = 300


def penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("penstock")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, check=False)


@pytest.fixture(scope="module")
def records() -> list[dict[str, object]]:
    run = penstock("run", "examples/gateway-guard", "--json")
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def own_lines() -> list[dict[str, object]]:
    return [json.loads(line) for line in (EXAMPLE / "own.jsonl").read_text().splitlines()]


def test_the_input_holds_the_recording_and_then_our_own_lines() -> None:
    lines = [json.loads(line) for line in (EXAMPLE / "input.jsonl").read_text().splitlines()]
    assert len(lines) == RECORDED + len(own_lines())
    for line, own in zip(lines[RECORDED:], own_lines(), strict=True):
        assert (line["hook"], line["payload"]) == (own["hook"], own["payload"])
        assert line["context"].items() >= own["context"].items()  # type: ignore[attr-defined]  # both are objects


def test_each_line_has_the_verdict_of_the_readme(records: list[dict[str, object]]) -> None:
    told = dict(
        re.findall(r"^\| (own-\d\d) \|.*\| (allow|modify|deny)", (EXAMPLE / "README.md").read_text(), re.MULTILINE)
    )
    verdicts = [record["verdict"] for record in records[RECORDED:]]
    assert dict(zip(told, verdicts, strict=True)) == told
    assert [own["context"]["request_id"] for own in own_lines()] == list(told)  # type: ignore[index]


def test_the_recorded_calls_are_let_through_but_for_the_forbidden_ones(records: list[dict[str, object]]) -> None:
    recorded = records[:RECORDED]
    assert Counter(record["hook_verdict"] for record in recorded) == {"allow": 191, "modify": 44, "deny": 6}
    assert all(record["error"] is None for record in recorded)
    assert sum(record["pipeline"] is None for record in recorded) == 62


def test_what_nothing_was_found_in_comes_out_as_it_came(records: list[dict[str, object]]) -> None:
    assert records[RECORDED]["payload"] == own_lines()[0]["payload"]


def test_a_join_waits_for_every_branch(records: list[dict[str, object]]) -> None:
    joined = records[RECORDED + 8]["stages"]
    assert [joined[name]["state"] for name in ("words", "schema", "secrets", "pii", "recheck")] == ["succeeded"] * 5  # type: ignore[index]


def test_its_own_tests_pass() -> None:
    run = penstock("test", "examples/gateway-guard")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "12 tests passed" in run.stdout + run.stderr


def test_nothing_is_denied_in_the_profile_for_development() -> None:
    run = penstock("run", "examples/gateway-guard", "--profile", "dev", "--json")
    assert run.returncode == 0, run.stderr
    assert {json.loads(line)["verdict"] for line in run.stdout.splitlines()} == {"allow", "modify"}
