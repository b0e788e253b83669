"""Make `input.jsonl`: the calls recorded from a gateway, in Penstock's form, and behind them the lines of `own.jsonl`.

    uv run python examples/gateway-guard/make_input.py RECORDING

A line of RECORDING is what the gateway wrote to its plugin server: a `tools/call` of `invoke_hook` with `hook_type`,
`payload` and `context`. A payload stays as it is; a context is put into the shape that every pipeline sees, by the
same code that does it for a live gateway. No call is left out, guarded or not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.contexts import normalise

HERE = Path(__file__).parent


def recorded(recording: Path) -> Iterator[dict[str, object]]:
    """Yield each recorded call as an input line."""
    for text in recording.read_text(encoding="utf-8").splitlines():
        call = json.loads(text)["params"]["arguments"]
        yield {"hook": call["hook_type"], "payload": call["payload"], "context": dict(normalise(call["context"]))}


def own() -> Iterator[dict[str, object]]:
    """Yield the lines written for the example, their contexts filled up in the same way."""
    for text in (HERE / "own.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        yield {**line, "context": dict(normalise(line["context"]))}


def main(recording: str) -> None:
    """Write the file and say how many lines it has."""
    lines = [*recorded(Path(recording)), *own()]
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    (HERE / "input.jsonl").write_text(text, encoding="utf-8")
    print(f"{len(lines)} lines", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
