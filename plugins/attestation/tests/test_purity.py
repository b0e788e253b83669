"""The verifiers do no I/O and read no clock; nothing of them names a registry, a socket or a file."""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = Path(__file__).parents[1]
REACHING_OUT = frozenset(
    ("asyncio", "os", "pathlib", "random", "secrets", "socket", "sqlite3", "ssl", "subprocess", "threading", "time")
)


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_verifiers_import_nothing_that_reaches_out() -> None:
    files = sorted((FOLDER / "attest").glob("*.py"))
    assert len(files) > 20
    assert {file.name: imports(file) & (REACHING_OUT | {"world", "OpenSSL"}) for file in files} == {
        file.name: set() for file in files
    }


def test_verifiers_ask_no_clock() -> None:
    for file in sorted((FOLDER / "attest").glob("*.py")):
        assert ".now(" not in file.read_text() and "utcnow" not in file.read_text(), file.name


def test_the_clock_is_read_in_three_places_and_handed_on_from_there() -> None:
    """Where the plugin is made, and in the two commands that say what is true now; `--at` is one of verify's alone."""
    files = [file for file in FOLDER.rglob("*.py") if "tests" not in file.parts and ".venv" not in file.parts]
    asking = {file.relative_to(FOLDER).as_posix() for file in files if "datetime.now(" in file.read_text()}
    assert asking == {"attestation.py", "command_line/anchoring.py", "command_line/verifying.py"}
    taking = {file.name for file in files if '"--at"' in file.read_text()}
    assert taking == {"verifying.py"}
