"""What a stage and its undo promise together, proved with real calls: whatever is done here is undone again.

A proof needs a sample payload that the stage takes. Where it takes none, nothing is proved, and that is a Doubt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from isolation.conformance.questions import call, configure, decoded, described, result_of, shake_hands
from isolation.conformance.values import Check, Doubt, Subject
from isolation.conversation import Breach, Conversation
from isolation.protocol import messages

__all__ = ["UNDO_CHECKS"]

_AGAIN = frozenset({messages.RETRYABLE, messages.PLUGIN_BUSY})
"""Errors that ask to be called again, and so refuse nothing."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """A stage, its undo, and what they are tried with: one hook of the stage, because the promise knows no hooks."""

    stage: str
    undo: str
    hook: str
    payload: Mapping[str, object]
    subject: Subject

    def key(self, proof: str) -> str:
        return f"check/{self.stage}/{proof}"

    def do(self, talk: Conversation, key: str) -> messages.Answer:
        return call(talk, self.stage, self.hook, self.payload, input=self.subject.inputs.get(self.stage), key=key)

    def done(self, talk: Conversation, key: str) -> Mapping[str, object]:
        """Do it and return its `out`; a Doubt when the stage does not take the sample."""
        answer = self.do(talk, key)
        refusal = _refusal(answer)
        if refusal is not None:
            raise Doubt(
                f"{self.stage} on {self.hook} does not take its sample payload, so nothing is proved: {refusal}\n"
                f"give it one that it takes: --sample {self.stage}=FILE"
            )
        return _out(decoded(answer))

    def undone(self, talk: Conversation, key: str, when: str) -> Mapping[str, object]:
        """Undo it and return the undo's `out`; a Breach when that fails."""
        answer = call(
            talk,
            self.undo,
            self.hook,
            self.payload,
            input=self.subject.inputs.get(self.undo),
            key=f"{key}/undo",
            undoes=key,
        )
        if isinstance(answer.error, messages.Fault):
            raise Breach(f"{self.undo} {when} was answered with an error: {described(answer.error)}")
        result = decoded(answer)
        if result is not None and not (isinstance(result, dict) and set(result) <= {"out"}):
            raise Breach(
                f"{self.undo} {when} was answered with {json.dumps(result)[:120]}; an undo gives `out` at most"
            )
        wrong = self.subject.judge(self.undo, self.hook, self.payload, bytes(answer.result))
        if wrong is not None:
            raise Breach(f"{self.undo} {when}: {wrong}")
        return _out(result)

    def refused(self, talk: Conversation, key: str, when: str) -> None:
        """Demand that the stage refuses `key` for good."""
        answer = self.do(talk, key)
        if _refusal(answer) is None:
            raise Breach(f"{self.stage} succeeded {when}; what it did then stays for ever")
        if isinstance(answer.error, messages.Fault) and answer.error.code in _AGAIN:
            raise Breach(
                f"{self.stage} {when} asks to be called again ({answer.error.code}); it has to refuse for good"
            )


def _pairs(subject: Subject) -> Iterator[_Pair]:
    for undo, stage in subject.spec.undoes.items():
        samples = subject.samples.get(stage)
        if not samples:
            raise Doubt(f"{stage} is offered on no hook, so nothing is proved")
        hook, payload = next(iter(samples.items()))
        yield _Pair(stage, undo, hook, payload, subject)


def _refusal(answer: messages.Answer) -> str | None:
    """Why a stage did not do what it was asked to; None when it did."""
    if isinstance(answer.error, messages.Fault):
        return described(answer.error)
    result = decoded(answer)
    violation = result.get("violation") if isinstance(result, dict) else None
    return None if violation is None else json.dumps(violation)[:200]


def _out(result: object) -> Mapping[str, object]:
    out = result.get("out") if isinstance(result, dict) else None
    return out if isinstance(out, dict) else {}


def _method(talk: Conversation, subject: Subject) -> None:
    for pair in _pairs(subject):
        invoked = call(talk, pair.undo, pair.hook, pair.payload, key=pair.key("method"))
        _demand_refusal(invoked, f"a stage/invoke of {pair.undo}, which is an undo")
        compensated = call(
            talk, pair.stage, pair.hook, pair.payload, key=pair.key("method/undo"), undoes=pair.key("method")
        )
        _demand_refusal(compensated, f"a stage/compensate of {pair.stage}, which is none")


def _demand_refusal(answer: messages.Answer, what: str) -> None:
    if not isinstance(answer.error, messages.Fault):
        raise Breach(f"answered {what}, as if it had been right")
    if answer.error.code != -32602:
        raise Doubt(f"answered {what}, with {answer.error.code}; -32602 says what is wrong")


def _undo(talk: Conversation, subject: Subject) -> None:
    for pair in _pairs(subject):
        key = pair.key("undo")
        pair.undone(talk, f"check/{pair.stage}", "of what the checks before have done")
        pair.done(talk, key)
        first = pair.undone(talk, key, "of what was done")
        again = pair.undone(talk, key, "for the second time")
        if first != again:
            raise Breach(
                f"{pair.undo} put out {json.dumps(first)[:120]}, and {json.dumps(again)[:120]} the second time"
            )


def _undo_of_nothing(talk: Conversation, subject: Subject) -> None:
    for pair in _pairs(subject):
        key = pair.key("nothing")
        pair.undone(talk, key, "of a key that never happened")
        pair.undone(talk, key, "of a key that never happened, for the second time,")


def _do_after_undo(talk: Conversation, subject: Subject) -> None:
    for pair in _pairs(subject):
        key, late = pair.key("again"), pair.key("late")
        pair.done(talk, key)
        pair.undone(talk, key, "of what was done")
        pair.refused(talk, key, "with a key that was done and undone")
        pair.undone(talk, late, "before its call")
        pair.refused(talk, late, "with a key whose undo came before")
        pair.undone(talk, late, "after a call that was refused")


def _do_twice(talk: Conversation, subject: Subject) -> None:
    for pair in _pairs(subject):
        if pair.stage not in subject.idempotent:
            continue
        key = pair.key("twice")
        first, again = pair.done(talk, key), pair.done(talk, key)
        pair.undone(talk, key, "of what was done twice")
        if first != again:
            raise Breach(
                f"{pair.stage} put out {json.dumps(first)[:120]}, and for the same key {json.dumps(again)[:120]}; "
                "its manifest says that it is idempotent"
            )


def _restart(talk: Conversation, subject: Subject) -> None:
    pairs = list(_pairs(subject))
    for pair in pairs:
        pair.undone(talk, pair.key("restart"), "of a key that never happened")
        pair.done(talk, pair.key("before"))
    result_of(talk, talk.ask("shutdown", {}))
    talk.exit_status(within=subject.end_seconds)
    with Conversation(subject.spec) as later:
        shake_hands(later, subject)
        configure(later, subject)
        for pair in pairs:
            pair.undone(later, pair.key("before"), "of what another process has done")
            pair.refused(later, pair.key("before"), "with a key that another process has done, and this one undone")
            pair.refused(later, pair.key("restart"), "with a key whose undo came to another process")


UNDO_CHECKS: tuple[Check, ...] = (
    Check("undo by its method", _method, "refuse with -32602 what is called by the wrong method", fresh=True),
    Check("undo", _undo, "answer an undo with null or `out`; the second time as the first", fresh=True),
    Check(
        "undo of nothing",
        _undo_of_nothing,
        "answer the undo of an unknown key as any other: its call may never have come; penstock_plugin.effects does",
        fresh=True,
    ),
    Check(
        "do after its undo",
        _do_after_undo,
        "remember every key that was undone, and refuse it with an error or a violation; penstock_plugin.effects does",
        fresh=True,
    ),
    Check(
        "do twice",
        _do_twice,
        "keep what was put out by its key and answer with it; penstock_plugin.effects does",
        fresh=True,
    ),
    Check(
        "undo after a restart",
        _restart,
        "keep the keys in the data directory (`data = true`) and not in memory; penstock_plugin.effects does",
        fresh=True,
    ),
)
