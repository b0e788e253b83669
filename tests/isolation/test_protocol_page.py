"""docs/protocol.md says what the code does: numbers, tables, the diagram and the conversation."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from isolation import conformance, handshake, spec
from isolation.process import STDERR_KEPT_BYTES
from isolation.protocol import life, messages
from isolation.protocol.frames import MAX_FRAME_BYTES
from isolation.runtime.penstock_plugin.judging import HINTS, VIOLATION
from isolation.runtime.penstock_plugin.serving import faults
from isolation.spec import WorkerSpec

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "protocol.md").read_text(encoding="utf-8")


def test_the_diagram_is_the_table_of_the_code() -> None:
    assert life.diagram() in PAGE


def test_the_errors_are_those_of_the_host_and_of_the_runtime() -> None:
    documented = {int(code) for code in re.findall(r"^\| (-32\d{3}) \|", PAGE, re.MULTILINE)}
    ours = {value for value in vars(faults).values() if isinstance(value, int) and value < -32000}
    hosts = {getattr(messages, name) for name in messages.__all__ if isinstance(getattr(messages, name), int)}
    assert documented == ours
    assert hosts <= documented


def test_the_answer_has_the_members_that_the_check_knows() -> None:
    table = PAGE[PAGE.index("or an object of any of these") : PAGE.index("A change outside the manifest's")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == conformance.ANSWER_MEMBERS
    for name in (*VIOLATION, *HINTS):
        assert f"`{name}`" in table


def _default(name: str) -> float:
    default = next(field.default for field in dataclasses.fields(WorkerSpec) if field.name == name)
    assert isinstance(default, float)
    return default


def test_the_limits_are_the_codes() -> None:
    assert f"{MAX_FRAME_BYTES:_}".replace("_", " ") in PAGE
    assert f"last {STDERR_KEPT_BYTES // 1024} KiB" in PAGE
    assert f"up to {handshake.SEQUENTIAL_WINDOW} calls waiting" in PAGE
    every, within = (_default(name) for name in ("ping_every_seconds", "ping_within_seconds"))
    assert f"pinged every {every:g} s and has {within:g} s" in PAGE
    assert f"at most {faults.TRACEBACK_BYTES // 1024} KiB" in PAGE


def test_the_checks_are_those_of_the_command() -> None:
    section = PAGE[PAGE.index("## What `penstock plugin check` tries") : PAGE.index("## A conversation")]
    named = re.findall(r"^\| (\w[\w ]*) \|", section, re.MULTILINE)
    titles = [name for name in named if name != "check"]
    assert titles == [check.name for check in (*conformance.CHECKS, *conformance.UNDO_CHECKS)]
    assert f"{conformance.NESTED_LEVELS} levels" in section


def test_every_variable_that_passes_is_named() -> None:
    for name in spec.PASSED_VARIABLES:
        assert f"`{name}`" in PAGE


def test_the_conversation_is_from_the_transcript() -> None:
    blocks = PAGE[PAGE.index("## A conversation") : PAGE.index("## Mistakes that")].split("```")[1::2]
    for block, name, count in zip(blocks, ("protocol", "protocol-undo"), (9, 8), strict=True):
        transcript = (DOCS / f"{name}-transcript.jsonl").read_text(encoding="utf-8")
        lines = [line[3:] for line in block.strip().splitlines()]
        assert len(lines) == count
        _are_in(lines, [json.loads(line).get("frame") for line in transcript.splitlines()])


def _are_in(lines: list[str], frames: list[object]) -> None:
    for line in lines:
        head, cut, _ = line.partition(",...,")
        if not cut:
            assert json.loads(line) in frames
        else:
            assert any(json.dumps(frame, separators=(",", ":")).startswith(head) for frame in frames)
