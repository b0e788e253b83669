"""docs/resilience.md: its diagrams and tables are the code's, its files load, its figures and codes are right."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import click
import pytest

from isolation import supervision
from orchestrator.cli.main import penstock
from orchestrator.faults import CODES
from orchestrator.loading import load
from orchestrator.resilience import states
from pipelines.plan import DEFAULT_UNDO_RETRY
from pipelines.run import phase_diagram, undo_diagram

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "resilience.md").read_text(encoding="utf-8")
FILES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)

LEDGER = """
[tool.penstock]
name = "ledger"
version = "1.0.0"
command = ["./ledger"]

[tool.penstock.stages.check]

[tool.penstock.stages.append]

[tool.penstock.stages.reserve]
effects = "external"
outputs = { ticket = "string" }

[tool.penstock.stages.release]
undoes = "reserve"

[tool.penstock.stages.charge]
effects = "external"

[tool.penstock.stages.refund]
undoes = "charge"
"""


def test_the_page_is_the_generated_one() -> None:
    """`python docs/generate.py` writes it."""
    assert runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()["resilience.md"] == PAGE


@pytest.mark.parametrize("diagram", [phase_diagram(), undo_diagram(), states.diagram(), supervision.diagram()])
def test_every_diagram_of_a_table_is_there(diagram: str) -> None:
    assert f"```mermaid\n{diagram}\n```" in PAGE


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert set(re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)) == {"yaml", "mermaid", "console"}


@pytest.mark.parametrize("line", re.findall(r"^\$ penstock ([^#\n]*)", PAGE, re.MULTILINE))
def test_every_command_is_there_with_its_options(line: str) -> None:
    words = shlex.split(line)
    command: click.Command = penstock
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("place", range(len(FILES)))
def test_every_file_loads_without_a_warning(tmp_path: Path, place: int) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "pyproject.toml").write_text(LEDGER)
    program = tmp_path / "ledger" / "ledger"
    program.write_text("")
    program.chmod(0o700)
    (tmp_path / "pipeline.yaml").write_text(FILES[place])
    assert load(tmp_path / "pipeline.yaml").plan.warnings == ()


def test_every_code_is_one_of_the_hosts() -> None:
    assert set(re.findall(r"`(penstock\.\w+)`", PAGE)) <= set(CODES)


def test_an_undo_is_tried_as_often_as_the_page_says() -> None:
    assert DEFAULT_UNDO_RETRY.attempts == 5
    assert "up to five times" in PAGE
