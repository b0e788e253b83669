"""What commands that change something say on a terminal: sentences, and each refusal with its place."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from orchestrator.cli.changing_tables import VIEWS, history_table

NOTHING = {"empty": True, "plugins": {"guard": "keep"}}
SWAP = {"empty": False, "plugins": {"guard": "swap"}, "why": {"guard": ["code"]}}


def shown(view: RenderableType) -> list[str]:
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(view, crop=False)
    return [" ".join(line.split()) for line in captured.get().splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("command", "answer", "first"),
    [
        ("plan", {"revision": 3, "outcome": "unchanged", "change": NOTHING}, "nothing differs from revision 3"),
        (
            "plan",
            {"revision": 3, "outcome": "aborted", "change": NOTHING},
            "nothing differs from revision 3; applied, it serves all calls, and the trial is over",
        ),
        (
            "apply",
            {"revision": 3, "outcome": "unchanged", "change": NOTHING},
            "nothing to do: revision 3 is that already",
        ),
        ("apply", {"revision": 4, "outcome": "applied", "change": SWAP}, "revision 4 serves"),
        (
            "apply",
            {"revision": 4, "outcome": "canary", "change": SWAP},
            "revision 4 is on trial; `penstock canary` gives it more calls, all, or none",
        ),
        ("rollback", {"revision": 3, "outcome": "aborted", "change": SWAP}, "the trial is over, revision 3 serves"),
        (
            "freeze",
            {"frozen": True, "by": "uid:7", "reason": "night"},
            "frozen by uid:7: the watcher applies nothing (night)",
        ),
        ("thaw", {"frozen": False}, "the watcher applies what is saved"),
        ("canary.promote", {"revision": 4}, "revision 4 serves all calls"),
        (
            "canary.set",
            {"revision": 4, "percent": 50.0, "canary": {"calls": 2, "failed": 1}, "stable": {"calls": 9, "failed": 0}},
            "canary: revision 4 takes 50 % of the calls; 1 of its 2 calls failed; 0 of the stable one's 9 calls failed",
        ),
        ("diff", {"change": None, "files": []}, "the files are the same"),
    ],
)
def test_each_says_what_came_of_it(command: str, answer: Mapping[str, object], first: str) -> None:
    assert shown(VIEWS[command](answer))[0] == first


def test_a_diff_has_its_lines_whole_and_says_how_many_are_left_out() -> None:
    line = "+" + "x" * 300
    found = {"change": SWAP, "files": ["--- pipeline.yaml", "+++ pipeline.yaml", line], "lines_left_out": 7}
    lines = shown(VIEWS["diff"](found))
    assert lines[-4:] == ["--- pipeline.yaml", "+++ pipeline.yaml", line, "and 7 lines more"]


def test_the_history_says_why_and_what_was_put_back() -> None:
    lines = shown(
        history_table(
            [
                {"number": 5, "by": "uid:7", "outcome": "applied", "of": 3, "at": 1.0},
                {"number": 4, "by": "uid:7", "outcome": "applied", "of": 3, "reason": "guard is off", "at": 1.0},
                {"by": "watcher", "outcome": "refused", "where": "guard", "reason": "guard: it crashed", "at": 1.0},
                {"by": "watcher", "outcome": "refused", "where": "a/b", "reason": "no such folder", "at": 1.0},
            ]
        )
    )
    whys = [line.partition(" ago ")[2] for line in lines[2:]]
    assert whys == [
        "uid:7 applied revision 3 again",
        "uid:7 applied guard is off",
        "watcher refused guard: it crashed",
        "watcher refused a/b: no such folder",
    ]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=6,
)
MEMBERS = st.sampled_from(["revision", "outcome", "change", "files", "frozen", "percent", "canary", "lines_left_out"])


@given(st.sampled_from(sorted(VIEWS)), st.dictionaries(MEMBERS, ANYTHING))
def test_no_answer_breaks_it(command: str, answer: dict[str, object]) -> None:
    shown(VIEWS[command](answer))
