"""The transcript of docs/protocol.md holds for our runtime and for a plugin in another language alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from started import Message, Started, line_of

HERE = Path(__file__).resolve()
TOP = HERE.parents[3]
TRANSCRIPT = TOP / "docs" / "protocol-transcript.jsonl"
EXCHANGES = [json.loads(line) for line in TRANSCRIPT.read_text(encoding="utf-8").splitlines()]


def _replay(plugin: Started) -> None:
    for exchange in EXCHANGES:
        if exchange["from"] == "plugin":
            _compare(plugin.next_message(), exchange["frame"])
        else:
            plugin.send(line_of(exchange["frame"]) if "frame" in exchange else exchange["text"].encode() + b"\n")
    assert plugin.ended()[0] == 0


def _compare(said: Message, written: Message) -> None:
    """Texts for people may differ; everything a program looks at may not."""
    if "error" in written:
        assert (said["id"], said["error"]["code"]) == (written["id"], written["error"]["code"])
    elif "method" in written:
        assert said["params"].items() >= {**written["params"], "logger": said["params"]["logger"]}.items()
    elif written["id"] == 1:
        assert said["result"].items() >= written["result"].items()
    else:
        assert said == written


@pytest.mark.parametrize("site", [False, True], ids=["json", "msgspec"])
def test_our_runtime_speaks_as_the_transcript(site: bool) -> None:
    """With the standard library's JSON, and with the msgspec of this environment."""
    with Started("secret_filter:plugin", site=site) as plugin:
        _replay(plugin)


@pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl")
def test_the_perl_example_speaks_as_the_transcript() -> None:
    with Started(command=["./secret_filter.pl"], root=TOP / "examples" / "perl-plugin") as plugin:
        _replay(plugin)


def test_the_transcript_writes_frames_as_the_host_does() -> None:
    """`bytes` is first and counts the payload, which is last."""
    calls = [entry["frame"]["params"] for entry in EXCHANGES if entry.get("frame", {}).get("method") == "stage/invoke"]
    assert calls
    for params in calls:
        assert next(iter(params)) == "bytes"
        assert list(params)[-1] == "payload"
        assert params["bytes"] == len(line_of(params["payload"])) - 1
