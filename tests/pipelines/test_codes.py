"""The table of codes, held to the code that uses it and to its page."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path

from pipelines.codes import CODES

ROOT = Path(__file__).parents[2]
REPORTERS = {"error", "spoil", "warn", "Problem", "ExpressionError", "CelFault", "_problem", "_stop"}


def reported(file: Path) -> Iterator[str]:
    """Every text that is handed on as a code in `file`: a small word with hyphens, given to a reporter."""
    for call in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) in REPORTERS:
            for argument in call.args[:3]:
                if isinstance(argument, ast.Constant) and str(argument.value).replace("-", "").isalpha():
                    yield str(argument.value)


def test_every_code_that_is_reported_is_in_the_table_and_the_other_way_round() -> None:
    used = {
        code for file in (ROOT / "pipelines").rglob("*.py") for code in reported(file) if code in CODES or "-" in code
    }
    # Chosen between in one place, where the argument is not a literal.
    assert used | {"unknown-key", "not-supported", "manifest", "unknown-profile"} == set(CODES)


def test_the_page_of_errors_is_the_one_the_table_makes() -> None:
    """`python docs/generate.py` writes it."""
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    assert (ROOT / "docs" / "errors.md").read_text("utf-8") == pages["errors.md"]
    assert all(f"| `{code}` | {sentence} |" in pages["errors.md"] for code, sentence in CODES.items())
