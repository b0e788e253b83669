"""The stage that decided, read off a record, and what differs since it last allowed."""

from __future__ import annotations

import copy

import pytest

from orchestrator.lookout.why import KINDS, decisive, differences, explained

Json = dict[str, object]


def stage(state: str = "succeeded", why: str | None = None, **more: object) -> Json:
    """One stage of a record."""
    told = {
        "state": state,
        "why": why,
        "attempts": 1,
        "generation": "words@aaaaaaaa",
        "version": "1.0.0",
        "worker": "words#1",
        "mode": "enforce",
        "config": "c1",
        "violation": None,
        "error": None,
        "at": "pipeline.yaml:3:7",
    }
    return told | more


def record(verdict: str | None = "deny", error: Json | None = None, revision: int = 1, **stages: Json) -> Json:
    """A run's record."""
    return {
        "run_id": "01X",
        "request_id": "r-1",
        "pipeline": "p",
        "hook": "h",
        "verdict": verdict,
        "status": "completed",
        "began": 5.0,
        "duration_ms": 1.0,
        "revision": revision,
        "violation": None,
        "error": error,
        "stages": stages,
    }


def fault(code: str, message: str = "it did") -> Json:
    return {"class": "X", "code": code, "message": message}


def test_a_violation_is_told_with_its_place_its_plugin_and_its_words() -> None:
    said = {"code": "word", "reason": "a bad word"}
    told = explained(record(first=stage(), guard=stage("denied", "violation", violation=said)))
    assert (told["stage"], told["why"], told["code"], told["reason"]) == ("guard", "violation", "word", "a bad word")
    assert (told["at"], told["generation"], told["worker"]) == ("pipeline.yaml:3:7", "words@aaaaaaaa", "words#1")
    assert told["notes"] == []


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("penstock.breaker_open", "breaker"),
        ("penstock.timeout", "timeout"),
        ("penstock.worker_lost", "worker_lost"),
        ("penstock.busy", "busy"),
        ("penstock.expression", "expression"),
        ("penstock.merge_conflict", "merge_conflict"),
        ("penstock.plugin_error", "plugin_error"),
        ("penstock.internal", "error"),
    ],
)
def test_an_error_is_told_by_its_kind(code: str, why: str) -> None:
    told = explained(record(guard=stage("failed", "error", error=fault(code))))
    assert (told["stage"], told["why"], told["code"]) == ("guard", why, code)
    assert why in KINDS


def test_a_need_that_was_not_met_names_the_stage_that_was_needed() -> None:
    unmet = fault("penstock.need_unmet", "it needs first, which is skipped")
    told = explained(record(first=stage("skipped", "when"), guard=stage("failed", "need", error=unmet)))
    assert (told["stage"], told["why"], told["needed"]) == ("guard", "need", "first")
    assert isinstance(told["notes"], list)
    assert [(note["stage"], note["why"]) for note in told["notes"]] == [("first", "when")]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (fault("penstock.expression", "`match`: no such key"), "match"),
        (fault("penstock.merge_conflict"), "merge_conflict"),
        (fault("penstock.timeout"), "timeout"),
        (fault("penstock.shutdown"), "error"),
    ],
)
def test_a_run_that_no_stage_denied_is_told_by_its_own_error(error: Json, why: str) -> None:
    told = explained(record(error=error, guard=stage("cancelled", "ended")))
    assert (told["stage"], told["why"], told["code"]) == (None, why, error["code"])


def test_an_allowed_run_says_what_it_went_past() -> None:
    told = explained(
        record(
            "allow",
            fine=stage(),
            loose=stage(violation={"code": "word", "reason": "recorded"}, mode="permissive"),
            broken=stage("skipped", "error", error=fault("penstock.timeout")),
            off=stage("skipped", "disabled", mode="disabled"),
            quiet=stage("skipped", "disabled", mode="disabled", override="we look into it"),
            hard=stage(attempts=3),
        )
    )
    assert (told["stage"], told["why"]) == (None, "allowed")
    notes = told["notes"]
    assert isinstance(notes, list)
    assert {note["stage"]: note["why"] for note in notes} == {
        "loose": "recorded",
        "broken": "continued",
        "off": "disabled",
        "quiet": "override",
        "hard": "retried",
    }


def test_a_failed_stage_of_an_allowed_run_was_let_through_by_the_fallback() -> None:
    told = explained(record("allow", guard=stage("failed", "error", error=fault("penstock.timeout"))))
    assert (told["stage"], told["why"]) == ("guard", "fallback")


def test_a_run_without_a_verdict_is_under_way() -> None:
    assert explained(record(None, guard=stage("running")))["why"] == "under_way"


def test_no_record_is_too_poor_to_be_explained() -> None:
    assert explained({"run_id": "01X", "status": "unreadable"})["why"] == "under_way"
    assert decisive({}) is None


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, []),
        ({"generation": "words@bbbbbbbb"}, ["the generation: words@aaaaaaaa then, words@bbbbbbbb now"]),
        ({"version": "2.0.0"}, ["the plugin's version: 1.0.0 then, 2.0.0 now"]),
        ({"config": "c2"}, ["the configuration: c1 then, c2 now"]),
        ({"mode": "permissive"}, ["the mode: enforce then, permissive now"]),
        ({"override": "noisy"}, ["the override: none then, noisy now"]),
        ({"worker": "words#7"}, []),
        ({"generation": None, "version": None, "attempts": 0}, []),  # nobody was asked: that is no change
    ],
)
def test_what_differs_since_is_told(now: Json, said: list[str]) -> None:
    before = record("allow", guard=stage())
    after = record(guard=stage("denied") | now)
    assert differences(before, after, "guard") == said


def test_what_differs_between_revisions_is_asked_of_who_keeps_them() -> None:
    asked: list[tuple[int, int]] = []

    def changes_between(before: int, after: int) -> list[str]:
        asked.append((before, after))
        return ["stage p/guard: mode"]

    before, after = record("allow", revision=3, guard=stage()), record(revision=5, guard=stage("denied"))
    told = differences(before, after, "guard", changes_between)
    assert told == ["the revision: 3 then, 5 now", "stage p/guard: mode"]
    assert asked == [(3, 5)]
    unknown = copy.deepcopy(before) | {"revision": 0}
    assert differences(unknown, after, "guard", changes_between) == []
