"""Writes docs/run.svg, a picture of a real run: `python docs/run_picture.py [PATH]`. The README shows it."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from orchestrator.cli.running import Wish, perform
from orchestrator.cli.tables import run_report
from orchestrator.loading import load

ROOT = Path(__file__).parent.parent
EXAMPLE = Path("examples/gateway-guard")
WIDTH = 92
CELL = 12.2
"""How wide rich draws a character."""

# Fonts of the reader's own machine: a picture in a README must not fetch anything.
FORMAT = re.sub(r"@font-face\s*{{.*?}}|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code", "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono'"
)

THEME = TerminalTheme(
    (24, 26, 31),
    (214, 218, 224),
    [(24, 26, 31), (232, 103, 103), (126, 196, 122), (226, 184, 92), (97, 160, 232), (190, 132, 214), (86, 190, 196),
     (214, 218, 224)],
    [(110, 118, 129), (240, 128, 128), (152, 216, 148), (240, 204, 122), (130, 184, 244), (208, 160, 228),
     (120, 210, 214), (240, 242, 245)],
)  # fmt: skip


def picture(folder: Path) -> str:
    """Run `folder` on its own input and draw what the terminal would show."""
    with (folder / "input.jsonl").open("rb") as calls:
        wish = Wish(calls.fileno(), "input.jsonl", None, False, 1, False, False, 0)
        tally, seconds = perform(load(folder), wish)
    console = Console(record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ penstock run {folder}", style="bold"))
    console.print(run_report(tally, seconds))
    drawn = console.export_svg(title="penstock", theme=THEME, code_format=FORMAT, unique_id="run")
    return re.sub(
        r'x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"([^>]*)>((?:&#160;)*)(.*?)((?:&#160;)*)<', _aligned, drawn
    )


def _aligned(text: re.Match[str]) -> str:
    """Put a text where its first visible character is: some viewers drop the blanks that would push it there."""
    x, y, length, rest, before, visible, after = text.groups()
    blanks = len(before) // len("&#160;"), len(after) // len("&#160;")
    left, width = float(x) + blanks[0] * CELL, float(length) - sum(blanks) * CELL
    return f'x="{left:.1f}" y="{y}" textLength="{width:.1f}"{rest}>{visible}<'


if __name__ == "__main__":
    os.chdir(ROOT)
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLE
    (ROOT / "docs" / "run.svg").write_text(picture(chosen), encoding="utf-8")
