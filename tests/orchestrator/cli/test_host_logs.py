"""What the host logs, as an operator reads it on the terminal."""

from __future__ import annotations

import logging

import pytest

from isolation.errors import ExitReport
from orchestrator.cli.logs import logged

log = logging.getLogger("penstock.test")


def said(verbosity: int, level: int, message: str, **fields: object) -> list[str]:
    lines: list[str] = []

    def note(text: str, *, tone: str | None = None, label: str = "") -> None:
        lines.append(f"{label}: {text}")

    with logged(note, verbosity):
        log.log(level, message, extra=fields)
    return lines


def test_the_end_of_a_worker_says_how_it_ended_and_what_it_printed() -> None:
    report = ExitReport(signal=9, stderr="one\ntwo")
    lines = said(0, logging.WARNING, "worker.ended", plugin="shop", worker="shop#1", how=str(report))
    assert lines == [
        "warning: worker.ended plugin=shop worker=shop#1: was killed by signal 9\n    one\n    two",
    ]


def test_a_parked_run_says_which_and_why() -> None:
    lines = said(0, logging.WARNING, "run.parked", run="01X", pipeline="order", reason="a compensation is parked")
    assert lines == ["warning: run.parked run=01X pipeline=order: a compensation is parked"]


@pytest.mark.parametrize(("verbosity", "count"), [(0, 0), (1, 1), (2, 1)])
def test_a_run_that_is_taken_up_is_told_to_who_asks(verbosity: int, count: int) -> None:
    lines = said(verbosity, logging.INFO, "run.taken_up", run="01X", phase="undoing")
    assert lines == ["info: run.taken_up run=01X phase=undoing"] * count


def test_who_looks_at_values_is_told_with_the_stage() -> None:
    fields = {"tapped": "guard", "by": "uid:7", "pipeline": "call", "values": True}
    assert said(0, logging.WARNING, "stage.tapped", **fields) == [
        "warning: stage.tapped pipeline=call tapped=guard by=uid:7"
    ]


def test_an_empty_reason_adds_nothing() -> None:
    assert said(0, logging.WARNING, "generation.degraded", plugin="shop", reason="") == [
        "warning: generation.degraded plugin=shop"
    ]


def test_a_change_of_what_serves_is_told_at_any_verbosity() -> None:
    lines: list[str] = []
    with logged(lambda text, *, tone=None, label="": lines.append(f"{label}: {text}"), 0):
        logging.getLogger("penstock.revisions").info("revision.applied", extra={"revision": 7, "by": "watcher"})
        log.info("not this")
    assert lines == ["info: revision.applied revision=7 by=watcher"]


def test_a_place_that_the_reason_begins_with_is_not_said_twice() -> None:
    where, reason = "pipeline.yaml:3:1", "pipeline.yaml:3:1: unknown-key x: no"
    assert said(0, logging.ERROR, "change.refused", by="watcher", where=where, reason=reason) == [
        f"error: change.refused by=watcher: {reason}"
    ]
    assert said(0, logging.ERROR, "change.refused", where="guard", reason="it crashed") == [
        "error: change.refused where=guard: it crashed"
    ]
