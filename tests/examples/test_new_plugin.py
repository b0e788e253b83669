"""What `penstock plugin new` writes works in a pipeline as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SECONDS = 120
PIPELINE = """\
version: 1
name: try_it
plugins:
  words: { source: ./word_mask, with: { words: [secret] } }
pipelines:
  arguments:
    hook: tool_pre_invoke
    deadline: 2s
    stages:
      mask: { uses: words/mask, timeout: 1s }
"""
LINE = {"hook": "tool_pre_invoke", "payload": {"name": "search", "args": {"q": "my Secret plan"}}, "context": {}}


def penstock(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("penstock")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=cwd, check=False)


def test_a_new_plugin_stands_in_a_pipeline_at_once(tmp_path: Path) -> None:
    assert penstock("plugin", "new", "word_mask", cwd=tmp_path).returncode == 0
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    (tmp_path / "input.jsonl").write_text(json.dumps(LINE) + "\n")
    run = penstock("run", ".", "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    assert (record["hook_verdict"], record["payload"]["args"]) == ("modify", {"q": "my ****** plan"})
    assert record["stages"]["mask"]["out"] == {"found": 1}
