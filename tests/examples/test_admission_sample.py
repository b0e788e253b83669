"""The command of the attestation page does what the page says, on the files of the sample, as somebody types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 300
"""An environment may have to be built first, on a machine that is busy with other tests."""


def test_the_first_try_of_the_page_is_admitted() -> None:
    page = (ROOT / "docs" / "attestation.md").read_text()
    (block,) = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    lines = block.replace("\\\n", " ").replace("$ penstock", f"$ {Path(sys.executable).with_name('penstock')}")
    script = "\n".join(line.removeprefix("$ ") for line in lines.splitlines())
    run = subprocess.run(["sh", "-ec", script], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["verdict"] == "admit"
