"""The transcripts of docs/protocol.md hold for our runtime and for a plugin in another language alike."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from started import Message, Started, line_of

HERE = Path(__file__).resolve()
TOP = HERE.parents[3]


def _transcript(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TOP / "docs" / name).read_text(encoding="utf-8").splitlines()]


EXCHANGES = _transcript("protocol-transcript.jsonl")
UNDOING = _transcript("protocol-undo-transcript.jsonl")


def _replay(plugin: Started, exchanges: list[dict[str, Any]]) -> None:
    for exchange in exchanges:
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
        _replay(plugin, EXCHANGES)


@pytest.mark.parametrize("site", [False, True], ids=["json", "msgspec"])
def test_a_stage_and_its_undo_speak_as_the_transcript(site: bool, tmp_path: Path) -> None:
    """The data directory of this test takes the place of the one that is written there."""
    exchanges = copy.deepcopy(UNDOING)
    exchanges[0]["frame"]["params"]["data"] = str(tmp_path)
    with Started("reservations:plugin", site=site) as plugin:
        _replay(plugin, exchanges)


@pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl")
def test_the_perl_example_speaks_as_the_transcript() -> None:
    with Started(command=["./secret_filter.pl"], root=TOP / "examples" / "perl-plugin") as plugin:
        _replay(plugin, EXCHANGES)


def test_the_transcript_writes_frames_as_the_host_does() -> None:
    """`bytes` is first and counts the payload, which is last."""
    frames = [entry["frame"] for entry in (*EXCHANGES, *UNDOING) if "frame" in entry]
    calls = [frame for frame in frames if frame.get("method", "").startswith("stage/") and "payload" in frame["params"]]
    assert {frame["method"] for frame in calls} == {"stage/invoke", "stage/compensate"}
    for params in (frame["params"] for frame in calls):
        assert next(iter(params)) == "bytes"
        assert list(params)[-1] == "payload"
        assert params["bytes"] == len(line_of(params["payload"])) - 1
