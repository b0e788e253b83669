"""What a check of a plugin is and what comes of it, as values. Nothing is started here."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from isolation.conversation import Conversation
from isolation.spec import WorkerSpec

__all__ = ["END_SECONDS", "Check", "Doubt", "Finding", "Outcome", "Subject"]

END_SECONDS = 3.0
"""Longest wait for a plugin to end that was asked to."""


class Outcome(enum.Enum):
    """What came of a check."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome; `said` is what happened, `remedy` what to do, empty when it passed."""

    check: str
    outcome: Outcome
    said: str = ""
    remedy: str = ""


Judge = Callable[[str, str, Mapping[str, object], bytes], str | None]


@dataclass(frozen=True, slots=True)
class Subject:
    """The plugin to examine. `samples` maps stage to hook to a payload; `configuration` is tried as its `with`.

    `inputs` maps stage to what it is tried with as its `input`. `judge` says why a run would refuse the answer to a
    sample, given stage, hook, payload and answer. `idempotent` names the stages whose manifest says so, `secrets` what
    its manifest asks for.
    `end_seconds` is how long it may take to end when it is asked to.
    """

    spec: WorkerSpec
    samples: Mapping[str, Mapping[str, Mapping[str, object]]]
    configuration: Mapping[str, object] = field(default_factory=dict)
    end_seconds: float = END_SECONDS
    judge: Judge = lambda stage, hook, payload, result: None
    inputs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    idempotent: frozenset[str] = frozenset()
    secrets: tuple[str, ...] = ()


class Doubt(Exception):
    """Not against the protocol, but worth an author's look."""


Examine = Callable[[Conversation, Subject], None]


@dataclass(frozen=True, slots=True)
class Check:
    """Something to try; `examine` raises a Breach or a Doubt. `fresh` gives it a process of its own, which it ends."""

    name: str
    examine: Examine
    remedy: str
    fresh: bool = False
