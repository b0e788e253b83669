"""The codes of the host's denials: one table, used by the code, shown by docs/errors.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isolation import errors
from orchestrator.faults import CLASSES, CODES, StageFault, fault_of
from pipelines.file.stages import ErrorClass

ROOT = Path(__file__).parents[2]


def test_every_code_that_the_host_gives_is_in_the_table() -> None:
    """Whatever stands as a fault or violation in the orchestrator's code has a sentence."""
    given = {
        code
        for file in (ROOT / "orchestrator").glob("*.py")
        for code in re.findall(r'(?:StageFault\([^)]*?|Violation\(code=|, )"(penstock\.\w+)"', file.read_text("utf-8"))
    }
    assert given <= set(CODES)
    assert set(CLASSES.values()) <= set(CODES)


def test_the_classes_are_those_that_a_fallback_may_name() -> None:
    assert set(CLASSES) == {one.value for one in ErrorClass}


def test_the_page_names_every_code_and_class() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert all(f"| `{code}` | {sentence} |" in page for code, sentence in CODES.items())
    assert all(f"| `{name}` | `{code}` |" in page for name, code in CLASSES.items())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.WorkerLost("w#1", errors.ExitReport(signal=9)), "WorkerLost"),
        (errors.NotSent("no worker"), "WorkerLost"),
        (errors.PluginBusy("full"), "Busy"),
        (errors.DeadlineExceeded("late"), "DeadlineExceeded"),
        (errors.RetryableError("again"), "Retryable"),
        (errors.PluginError("broken"), "PluginError"),
        (errors.RemoteProtocolError("lies"), "PluginError"),
        (errors.LocalProtocolError("too long"), "PluginError"),
        (errors.CallCancelled("gave up"), "PluginError"),
    ],
)
def test_what_isolation_raises_has_a_class_and_its_code(error: errors.CallError, kind: str) -> None:
    assert fault_of(error) == StageFault(kind, CLASSES[kind], str(error), error.sent, error.final)


def test_stopping_is_told_as_such() -> None:
    assert fault_of(errors.Stopping("stopping")).code == "penstock.shutdown"
