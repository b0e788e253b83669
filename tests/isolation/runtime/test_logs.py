"""`logging` in a plugin becomes notifications that the host can trust to be small, whole and in place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from started import Message, Started


def _logs(plugin: Started) -> list[Message]:
    return [note["params"] for note in plugin.notifications if note["method"] == "log"]


def _logged() -> list[Message]:
    with Started("plain:plugin") as plugin:
        assert plugin.ready().call("log", run="R7")["result"] == {}
        return _logs(plugin)


def test_a_log_line_carries_its_call_its_level_and_its_fields() -> None:
    first = _logged()[0]
    assert first == {
        "level": "info", "message": "found 3", "logger": "penstock.log", "run": "R7", "stage": "log",
        "fields": {"fields_are": "kept", "count": 2},
    }  # fmt: skip


def test_debug_is_not_sent_unless_the_author_asks() -> None:
    assert all(line["message"] != "not shown" for line in _logged())


def test_a_long_message_is_cut_and_says_so() -> None:
    long = next(line for line in _logged() if line["message"].startswith("xxx"))
    assert len(long["message"]) < 5000
    assert long["message"].endswith("more]")


def test_an_exception_brings_its_traceback() -> None:
    broken = next(line for line in _logged() if line["message"] == "it broke")
    assert broken["traceback"].endswith("KeyError: 'inside'\n")


def test_what_a_stage_raises_is_logged_with_its_traceback_once_for_each_place() -> None:
    """An operator wants to see where; two hundred times the same tells no more."""
    with Started("plain:plugin") as plugin:
        plugin.ready()
        for _ in range(3):
            plugin.call("raise", {"what": "value"}, run="R1")
            plugin.call("raise", {"what": "busy"})
        lines = _logs(plugin)
    assert [(line["level"], line["message"], line["run"], line["stage"]) for line in lines] == [
        ("error", "ValueError: x", "R1", "raise")
    ]
    assert "plain.py" in lines[0]["traceback"]


def test_what_goes_wrong_at_import_is_logged_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import json\n\njson.loads('')\n")
    with Started("broken:plugin", root=tmp_path) as plugin:
        assert "JSONDecodeError" in plugin.ask("initialize")["error"]["message"]
        assert "broken.py" in _logs(plugin)[0]["traceback"]


def test_a_thread_of_the_authors_logs_without_a_call() -> None:
    line: Mapping[str, object] = next(line for line in _logged() if line["message"] == "from a thread")
    assert "run" not in line
