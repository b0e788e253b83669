"""What was changed between two revisions, in lines."""

from __future__ import annotations

from orchestrator.revisions.between import MAX_LINES, changes_between
from orchestrator.revisions.history import Entry, History, Outcome


def history(*entries: Entry) -> History:
    made = History(None)
    for entry in entries:
        made.add(entry)
    return made


CHANGE = {
    "plugins": {"words": "swap", "pii": "keep"},
    "stages": [{"stage": "call/check", "kind": "changed", "what": {"timeout": {}, "mode": {}}}],
}


def test_every_change_between_the_two_is_told_whichever_is_named_first() -> None:
    found = history(
        Entry(1.0, "start", Outcome.APPLIED, 1),
        Entry(2.0, "uid:7", Outcome.APPLIED, 2, commit="abc123+", change=CHANGE),
        Entry(3.0, "watcher", Outcome.REFUSED, reason="wrong"),
        Entry(4.0, "uid:7", Outcome.APPLIED, 3, of=1),
    )
    lines = [
        "revision 3 by uid:7, revision 1 again",
        "revision 2 by uid:7, commit abc123+",
        "  plugin words: swap",
        "  stage call/check: changed (timeout, mode)",
    ]
    assert changes_between(found, 1, 3) == changes_between(found, 3, 1) == lines
    assert changes_between(found, 2, 2) == []


def test_many_changes_are_cut_and_told_as_such() -> None:
    found = history(*(Entry(float(n), "watcher", Outcome.APPLIED, n) for n in range(1, 100)))
    lines = changes_between(found, 1, 99)
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == f"{98 - MAX_LINES} more; `penstock history` has them all"
