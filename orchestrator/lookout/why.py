"""Why a run came out as it did, read off its record: the stage that decided, and what differs since it last allowed.

Pure. Records are the JSON objects of `penstock runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

__all__ = ["KINDS", "ChangesBetween", "decisive", "differences", "explained", "no_changes_known"]

Record = Mapping[str, object]

ChangesBetween = Callable[[int, int], Sequence[str]]
"""What differs between two revisions, a sentence each."""

KINDS: Mapping[str, str] = {
    "violation": "its plugin denied",
    "need": "a stage that it needs did not end as it must",
    "when": "its `when` was false",
    "disabled": "its mode is disabled",
    "override": "an override was in force",
    "breaker": "its breaker was open",
    "timeout": "there was no answer in time",
    "worker_lost": "its worker ended, or there was none",
    "busy": "too many calls waited for its plugin",
    "expression": "an expression of the file could not be evaluated",
    "match": "the `match` of the pipeline could not be evaluated",
    "merge_conflict": "two stages wrote one place differently",
    "plugin_error": "its plugin failed",
    "error": "something went wrong",
    "allowed": "no stage denied or failed",
    "fallback": "it failed, and the pipeline's `fallback` allows that",
    "ended": "the run had ended before it answered",
    "unmatched": "no pipeline applied",
    "refused": "the call was refused before any pipeline took it",
    "under_way": "there is no verdict yet",
    "recorded": "its violation was recorded and not enforced",
    "continued": "it failed, and `on_error` goes on",
    "retried": "it took more than one attempt",
}
"""What `why` may be, with words for it that go on from the stage's name."""

_BY_CODE = {
    "penstock.breaker_open": "breaker",
    "penstock.timeout": "timeout",
    "penstock.worker_lost": "worker_lost",
    "penstock.busy": "busy",
    "penstock.expression": "expression",
    "penstock.merge_conflict": "merge_conflict",
    "penstock.plugin_error": "plugin_error",
    "penstock.need_unmet": "need",
}

_COMPARED = {
    "generation": "the generation",
    "version": "the plugin's version",
    "config": "the configuration",
    "mode": "the mode",
    "override": "the override",
}


def no_changes_known(before: int, after: int) -> Sequence[str]:
    """Stand in for whoever keeps revisions."""
    return ()


def decisive(record: Record) -> str | None:
    """The id of the stage that made the verdict; None where none did."""
    for id, stage in _stages(record):
        if stage.get("state") in ("denied", "failed"):
            return id
    return None


def explained(record: Record) -> dict[str, object]:
    """What the run came to, by which stage and why."""
    id = decisive(record)
    stage = {} if id is None else dict(_stages(record))[id]
    said = _inside(stage, "violation") or _inside(stage, "error") or {}
    if id is None and record.get("verdict") == "deny":
        said = _inside(record, "error") or _inside(record, "violation") or {}
    return {
        **{name: record.get(name) for name in ("run_id", "request_id", "pipeline", "hook", "verdict", "status")},
        **{name: record.get(name) for name in ("began", "duration_ms", "revision")},
        "stage": id,
        "why": _why(record, id, stage),
        "code": said.get("code"),
        "reason": said.get("reason") or said.get("message"),
        **{name: stage.get(name) for name in ("at", "mode", "config", "generation", "version", "worker", "override")},
        "attempts": stage.get("attempts"),
        "needed": _culprit(record, stage),
        "notes": [note for other, one in _stages(record) if other != id and (note := _note(other, one))],
    }


def _why(record: Record, id: str | None, stage: Record) -> str:
    verdict = record.get("verdict")
    if verdict is None:
        return "under_way"
    if id is not None:
        return _stage_why(stage) if verdict == "deny" else "fallback"
    if verdict != "deny":
        return "allowed"
    error = _inside(record, "error") or {}
    if str(error.get("message", "")).startswith("`match`"):
        return "match"
    return _BY_CODE.get(str(error.get("code")), "error")


def _stage_why(stage: Record) -> str:
    """What became of a stage that did not simply succeed, as a word of KINDS."""
    why = stage.get("why")
    if why == "disabled" and stage.get("override"):
        return "override"
    if why == "error":
        error = _inside(stage, "error") or {}
        return _BY_CODE.get(str(error.get("code")), "error")
    return str(why) if why in KINDS else "error"


def _culprit(record: Record, stage: Record) -> str | None:
    """The stage that was needed and did not end so. The error names it; it is the one that is not as it should be."""
    error = _inside(stage, "error")
    if stage.get("why") != "need" or error is None:
        return None
    words = str(error.get("message", "")).replace(",", "").split()
    return next((id for id, _ in _stages(record) if id in words), None)


def _note(id: str, stage: Record) -> dict[str, object] | None:
    """What is worth saying of a stage that did not decide."""
    state = stage.get("state")
    said = _inside(stage, "violation") or _inside(stage, "error") or {}
    if state == "succeeded":
        attempts = stage.get("attempts")
        retried = isinstance(attempts, int) and attempts > 1
        if not said and not retried:
            return None
        why = "recorded" if said else "retried"
    else:
        why = "continued" if stage.get("why") == "error" else _stage_why(stage)
    return {
        "stage": id,
        "at": stage.get("at"),
        "state": state,
        "why": why,
        "code": said.get("code"),
        "reason": said.get("reason") or said.get("message"),
        "attempts": stage.get("attempts"),
        "override": stage.get("override"),
    }


def differences(
    before: Record, after: Record, stage: str, changes_between: ChangesBetween = no_changes_known
) -> list[str]:
    """What differs between two runs as far as a stage of both is concerned, a sentence each."""
    found = []
    old, new = before.get("revision"), after.get("revision")
    if isinstance(old, int) and isinstance(new, int) and old != new and old and new:
        found.append(f"the revision: {old} then, {new} now")
        found += changes_between(old, new)
    then, now = dict(_stages(before)).get(stage, {}), dict(_stages(after)).get(stage, {})
    for name, words in _COMPARED.items():
        was, is_ = then.get(name), now.get(name)
        asked = bool(then.get("attempts")) and bool(now.get("attempts"))
        if was != is_ and (asked or name in ("mode", "override", "config")):
            found.append(f"{words}: {_said(was)} then, {_said(is_)} now")
    return found


def _said(value: object) -> str:
    return "none" if value is None else str(value)


def _stages(record: Record) -> list[tuple[str, Record]]:
    found = record.get("stages")
    return [(str(id), stage) for id, stage in found.items()] if isinstance(found, Mapping) else []


def _inside(record: Record, name: str) -> Record | None:
    found = record.get(name)
    return found if isinstance(found, Mapping) else None
