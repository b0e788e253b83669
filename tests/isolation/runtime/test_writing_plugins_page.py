"""docs/writing-plugins.md runs as it is printed, and names everything a call has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from isolation.runtime import penstock_plugin
from isolation.spec import LAUNCHER

PAGE = (Path(__file__).parents[3] / "docs" / "writing-plugins.md").read_text(encoding="utf-8")


UNDO_TEST = """
import tempfile
from pathlib import Path

class stock:
    reserved, released = [], []

    @classmethod
    def reserve(cls, item, *, reference):
        cls.reserved.append(reference)
        return "T1"

    @classmethod
    def release(cls, *, reference):
        cls.released.append(reference)

def test_what_is_reserved_is_released_once():
    data = Path(tempfile.mkdtemp())
    for _ in range(2):
        outcome = testing.call(shop, "reserve", payload={"args": {"item": "tea"}}, data=data)
        assert outcome.out == {"ticket": "T1"}
    for _ in range(2):
        testing.call(shop, "release", payload={"args": {"item": "tea"}}, data=data)
    assert stock.reserved == stock.released == [testing.KEY]
"""
"""What the page leaves to its reader: a stock, and a test that the block about effects does what it says."""


def test_its_code_runs(tmp_path: Path) -> None:
    """In a fresh interpreter that knows nothing but the author's package."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    blocks.append(UNDO_TEST)
    tests = re.findall(r"^def (test_\w+)", "".join(blocks), re.MULTILINE)
    program = "\n".join([*blocks, *(f"{name}()" for name in tests), f"print({len(tests)}, 'passed')"])
    (tmp_path / "page.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-S", str(tmp_path / "page.py")],
        env={"PYTHONPATH": str(LAUNCHER.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "3 passed\n"), done.stderr


def test_it_names_every_attribute_and_every_answer() -> None:
    public = {name for name in dir(penstock_plugin.Call) if not name.startswith("_")}
    named = set(re.findall(r"`call\.(\w+)", PAGE))
    assert named == public


def test_it_names_what_an_author_may_raise() -> None:
    for name in ("Violation", "Retryable", "Busy", "Undone"):
        assert hasattr(penstock_plugin, name)
        assert f"`{name}(" in PAGE
