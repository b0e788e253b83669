"""What comes of a command: an answer, or a refusal. Imports nothing, so that who only asks starts quickly."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["REFUSALS", "Actor", "Answer", "Refused", "actor_of"]

REFUSALS: Mapping[str, str] = {
    "penstock.unknown_plugin": "The file that the host serves has no plugin of this name.",
    "penstock.unknown_stage": "The file that the host serves has no stage of this name.",
    "penstock.unknown_pipeline": "The file that the host serves has no pipeline of this name.",
    "penstock.unknown_breaker": "The host has no breaker of this name.",
    "penstock.not_confirming": "The run does not wait for a confirmation, or not any more.",
    "penstock.no_journal": "The command is about durable runs, and there is no journal or the run is not durable.",
    "penstock.bad_command": "What was asked is no command, or has parameters that do not fit.",
    "penstock.lint": "The pipeline file has mistakes; what serves goes on.",
    "penstock.not_kept": "The state folder takes nothing: a change is not made, or a freeze does not outlive its host.",
    "penstock.gave_way": "A change was still being built or started when somebody asked for a rollback.",
    "penstock.not_had": "A start cannot serve the revision that served last, and must not serve what the files hold.",
    "penstock.still_needed": "A generation that must stop before its successor starts is still needed by a run.",
    "penstock.no_canary": "No revision is on trial.",
    "penstock.not_overridden": "The stage is not overridden.",
    "penstock.overrides": "The overrides that an earlier host kept cannot be read.",
    "penstock.change": "A change was refused for a reason that has no code of its own.",
    "penstock.unknown_command": "The host has no such command; it may be of another version.",
}
"""What `Refused.code` may be beside the codes of errors, with a sentence each; docs/errors.md is made from it."""

Answer = Mapping[str, object] | list[dict[str, object]]

Actor = str
"""Who asks: `uid:1000` through a socket, `embedded` from within the host's own program, or a part of the host."""


def actor_of(uid: int | None) -> Actor:
    """Whoever came through a socket."""
    return "uid:unknown" if uid is None else f"uid:{uid}"


class Refused(Exception):
    """The command cannot be followed. `code` is stable, `hint` says what to do."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
