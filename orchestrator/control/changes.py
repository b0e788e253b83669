"""The commands that change what a host serves, or say what was changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Literal

import msgspec

from orchestrator.control.refusal import Actor, Answer, Refused
from orchestrator.revisions.compared import compared
from orchestrator.revisions.following import Applied
from orchestrator.revisions.freezing import Freezing
from orchestrator.revisions.history import Entry, History, NoSuchRevision
from orchestrator.revisions.living import Draining
from orchestrator.revisions.overrides import Overrides
from orchestrator.revisions.refusal import NOT_KEPT_HINT, ChangeNotMade
from orchestrator.revisions.revisions import Revisions
from orchestrator.watching import Watch
from pipelines.file.overriding import MAX_SECONDS
from pipelines.plan import Mode

__all__ = ["ChangeCommands", "HistoryCommands", "Nothing", "entry_record", "standing"]


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No parameters."""


class To(msgspec.Struct, forbid_unknown_fields=True):
    """The revision to go back to; the one before where it is not said."""

    to: int | None = None


class Compared(msgspec.Struct, forbid_unknown_fields=True):
    """The revision to look at, and the one to compare it with; the one that served before it where it is not said."""

    number: int
    other: int | None = None


class Listed(msgspec.Struct, forbid_unknown_fields=True):
    """How many entries, the newest first."""

    limit: int = 50


class Why(msgspec.Struct, forbid_unknown_fields=True):
    """A reason for others to read."""

    reason: str = ""


class Part(msgspec.Struct, forbid_unknown_fields=True):
    """What part of the calls goes to the revision on trial."""

    percent: Annotated[float, msgspec.Meta(ge=0, le=100)]


class Overriding(msgspec.Struct, forbid_unknown_fields=True):
    """What becomes of a stage, `PIPELINE/STAGE` or one that only one pipeline has, for how long, and why."""

    stage: str
    mode: Literal["permissive", "disabled"]
    seconds: Annotated[float, msgspec.Meta(gt=0, le=MAX_SECONDS)]
    reason: Annotated[str, msgspec.Meta(min_length=1, pattern=r"\S")]


class OneStage(msgspec.Struct, forbid_unknown_fields=True):
    """A stage that is overridden."""

    stage: str


Commands = dict[str, tuple[type[msgspec.Struct], Callable[..., Awaitable[Answer]]]]


class HistoryCommands:
    """What was changed. Needs no host."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.commands: Commands = {"history": (Listed, self._listed), "diff": (Compared, self._diff)}

    async def _listed(self, listed: Listed, by: Actor) -> Answer:
        entries = self._history.entries[-listed.limit :] if listed.limit > 0 else []
        return [entry_record(entry) for entry in reversed(entries)]

    async def _diff(self, wanted: Compared, by: Actor) -> Answer:
        with _Refusing():
            return await asyncio.to_thread(compared, self._history, wanted.number, wanted.other)


class ChangeCommands:
    """Each takes its parameters and who asks."""

    def __init__(self, revisions: Revisions, freezing: Freezing, overrides: Overrides) -> None:
        self._revisions = revisions
        self._freezing = freezing
        self._overrides = overrides
        self.commands: Commands = HistoryCommands(revisions.history).commands | {
            "plan": (Nothing, self._plan),
            "apply": (Nothing, self._apply),
            "rollback": (To, self._rollback),
            "freeze": (Why, self._freeze),
            "thaw": (Nothing, self._thaw),
            "override.set": (Overriding, self._override),
            "override.clear": (OneStage, self._clear),
            "override.list": (Nothing, self._overrides_in_force),
            "canary.set": (Part, self._set),
            "canary.promote": (Nothing, self._promote),
            "canary.abort": (Why, self._abort),
        }

    async def _plan(self, _: Nothing, by: Actor) -> Answer:
        with _Refusing():
            return _applied(await self._revisions.plan())

    async def _apply(self, _: Nothing, by: Actor) -> Answer:
        with _Refusing():
            return _applied(await self._revisions.apply(by))

    async def _rollback(self, to: To, by: Actor) -> Answer:
        with _Refusing():
            return _applied(await self._revisions.rollback(to.to, by))

    async def _freeze(self, why: Why, by: Actor) -> Answer:
        with _Kept("the watcher is frozen, but a restart thaws it"):
            self._freezing.freeze(by, why.reason)
        return self._freezing.record()

    async def _thaw(self, _: Nothing, by: Actor) -> Answer:
        with _Kept("the watcher stays frozen"):
            self._freezing.thaw(by)
        return self._freezing.record()

    async def _override(self, wanted: Overriding, by: Actor) -> Answer:
        with _Refusing():
            await self._overrides.set(wanted.stage, Mode(wanted.mode), wanted.seconds, wanted.reason, by)
        return self._overrides.record()

    async def _clear(self, one: OneStage, by: Actor) -> Answer:
        with _Refusing():
            await self._overrides.clear(one.stage, by)
        return self._overrides.record()

    async def _overrides_in_force(self, _: Nothing, by: Actor) -> Answer:
        return self._overrides.record()

    async def _set(self, part: Part, by: Actor) -> Answer:
        with _Refusing():
            return self._revisions.split(part.percent).record()

    async def _promote(self, _: Nothing, by: Actor) -> Answer:
        with _Refusing():
            return {"revision": (await self._revisions.promote(by)).number}

    async def _abort(self, why: Why, by: Actor) -> Answer:
        with _Refusing():
            return {"revision": (await self._revisions.abort(by, why.reason or "by command")).number}


def standing(revisions: Revisions, freezing: Freezing, overrides: Overrides, watch: Watch | None) -> dict[str, object]:
    """What `status` says of revisions: which one serves, is on trial, is to come or drains, what was refused last."""
    current, trial, coming = revisions.current, revisions.trial, revisions.under_way
    return {
        "revision": {"number": current.number, "since": current.began, "by": current.by, "of": current.of},
        "frozen": freezing.record(),
        "overrides": overrides.record(),
        "watching": None if watch is None else {"folders": watch.watched_folders, "polling": watch.polling},
        "changing": None if coming is None else {"by": coming.by, "since": round(coming.since, 3)},
        "refused": None if revisions.refused is None else entry_record(revisions.refused),
        "canary": None if trial is None else trial.record(),
        "draining": [_draining(one, revisions) for one in revisions.draining],
    }


def _draining(one: Draining, revisions: Revisions) -> dict[str, object]:
    shared = set(revisions.current.generations.values())
    held = {name: each.spec.name for name, each in one.revision.generations.items() if each not in shared}
    return {"revision": one.revision.number, "generations": held, "runs": list(one.runs)}


class _Refusing:
    """Turns what a change raises into a refusal of its command."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ChangeNotMade | NoSuchRevision):
            raise Refused(error.code, str(error), error.hint) from error


class _Kept:
    """Turns a state folder that takes nothing into a refusal, which begins with what holds all the same."""

    def __init__(self, holds: str) -> None:
        self._holds = holds

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise Refused("penstock.not_kept", f"{self._holds}: {reason}", NOT_KEPT_HINT) from error


def _applied(applied: Applied) -> Mapping[str, object]:
    return {
        "revision": applied.revision.number,
        "outcome": "unchanged" if applied.outcome is None else applied.outcome.value,
        "change": applied.change.record(),
    }


def entry_record(entry: Entry) -> dict[str, object]:
    """An entry of the history as JSON, what it has not said included."""
    return {name: msgspec.to_builtins(getattr(entry, name)) for name in entry.__struct_fields__}
