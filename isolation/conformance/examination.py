"""Takes a plugin through every check, in processes of its own and with a data directory of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from isolation.conformance.questions import configure, shake_hands
from isolation.conformance.rules import CHECKS
from isolation.conformance.undo import UNDO_CHECKS
from isolation.conformance.values import Check, Doubt, Finding, Outcome, Subject
from isolation.conversation import Breach, Conversation

__all__ = ["check"]

_NEEDED = frozenset({"handshake", "configure"})

Report = Callable[[Finding], None]


def check(subject: Subject, report: Report = lambda finding: None) -> list[Finding]:
    """Try everything of `CHECKS`, of `UNDO_CHECKS` too where a stage has an undo, and return the findings in order.

    `report` hears each as it is made. A plugin that cannot be started is not tried any further. A plugin with a data
    directory is given an empty one for the while, never its own.
    """
    if subject.spec.data is None:
        return _examined(subject, report)
    with tempfile.TemporaryDirectory(prefix="penstock-check-") as folder:
        return _examined(replace(subject, spec=replace(subject.spec, data=Path(folder))), report)


def _examined(subject: Subject, report: Report) -> list[Finding]:
    findings: list[Finding] = []

    def note(finding: Finding) -> bool:
        findings.append(finding)
        report(finding)
        return finding.outcome is not Outcome.FAILED

    with Conversation(subject.spec) as shared:
        for entry in CHECKS:
            passed = entry.fresh or note(_tried(entry, shared, subject))
            if not passed and (entry.name in _NEEDED or shared.ended):
                return findings
    for entry in CHECKS:
        if entry.fresh:
            with Conversation(subject.spec) as own:
                note(_tried(entry, own, subject))
    for entry in UNDO_CHECKS if subject.spec.undoes else ():
        with Conversation(subject.spec) as own:
            note(_tried(entry, own, subject))
    return findings


def _tried(entry: Check, conversation: Conversation, subject: Subject) -> Finding:
    try:
        if entry.fresh:
            shake_hands(conversation, subject)
            configure(conversation, subject)
        entry.examine(conversation, subject)
    except Breach as breach:
        return Finding(entry.name, Outcome.FAILED, str(breach), entry.remedy)
    except Doubt as doubt:
        return Finding(entry.name, Outcome.WARNING, str(doubt), entry.remedy)
    return Finding(entry.name, Outcome.PASSED)
