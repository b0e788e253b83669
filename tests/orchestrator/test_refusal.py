"""docs/errors.md knows every code with which a command can fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from orchestrator.control.refusal import REFUSALS
from orchestrator.journal import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def _trees() -> Iterator[ast.AST]:
    for path in (ROOT / "orchestrator").rglob("*.py"):
        yield ast.parse(path.read_text(encoding="utf-8"))


def _codes_of_errors(tree: ast.AST) -> Iterator[str]:
    """What stands as `code = "penstock..."` in a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                    yield str(ast.literal_eval(line.value))


def _codes_of_refusals(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Refused", "_error", "ChangeNotMade"):
            first = node.args[0]
            if isinstance(first, ast.Constant):
                yield str(first.value)


def test_every_error_with_a_code_is_documented() -> None:
    codes = {code for tree in _trees() for code in _codes_of_errors(tree)}
    assert "penstock.no_host" in codes
    assert {code for code in codes if f"| `{code}` |" not in PAGE} == set()


def test_every_refusal_is_documented_and_no_other() -> None:
    """Two are those of denials too; `penstock.change` is nowhere made by its name."""
    codes = {code for tree in _trees() for code in _codes_of_refusals(tree)}
    assert codes - {"penstock.internal", "penstock.shutdown"} == set(REFUSALS) - {"penstock.change"}
    assert {code for code in codes if f"| `{code}` |" not in PAGE} == set()


def test_every_error_of_the_journal_has_a_code_of_its_own_and_a_hint() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(kind.code.startswith("penstock.journal") and kind.hint for kind in kinds)
