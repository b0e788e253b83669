"""What every plugin has to do, whatever language it is written in: the checks in the order of docs/protocol.md."""

from __future__ import annotations

import json

from isolation.conformance.questions import (
    ANSWER_SECONDS,
    CONFIG,
    any_sample,
    call,
    configure,
    decoded,
    described,
    result_of,
    samples_of,
    shake_hands,
)
from isolation.conformance.values import Check, Doubt, Subject
from isolation.conversation import Breach, Conversation
from isolation.protocol import messages

__all__ = ["ANSWER_MEMBERS", "CHECKS", "NESTED_LEVELS"]

BIG_PAYLOAD_BYTES = 1024 * 1024
NESTED_LEVELS = 190
"""Doors let through 200 levels; a parser must not fall over what lies just below."""
LARGEST_SAFE_ID = 2**53 - 1
MOST_AT_ONCE = 8

ANSWER_MEMBERS = frozenset({"payload", "patch", "out", "state", "hints", "violation", "result"})


def _stages(talk: Conversation, subject: Subject) -> None:
    doubts = []
    for stage, hooks in samples_of(subject).items():
        for hook, payload in hooks.items():
            answer = call(talk, stage, hook, payload, input=subject.inputs.get(stage))
            if isinstance(answer.error, messages.Fault):
                doubts.append(f"{stage} on {hook} answered a sample payload with an error: {described(answer.error)}")
            else:
                _judge_answer(f"{stage} on {hook}", answer)
                refused = subject.judge(stage, hook, payload, bytes(answer.result))
                if refused is not None:
                    raise Breach(f"{stage} on {hook}: {refused}")
    _ping(talk, subject)  # whatever was answered twice has come by now
    if doubts:
        raise Doubt("\n".join(doubts))


def _judge_answer(what: str, answer: messages.Answer) -> None:
    result = decoded(answer)
    if result is None:
        return
    if not isinstance(result, dict):
        raise Breach(f"{what}: the result must be an object or null, not {json.dumps(result)[:120]}")
    strange = sorted(set(result) - ANSWER_MEMBERS)
    if strange:
        raise Breach(f"{what}: the result has {', '.join(strange)}; there are {', '.join(sorted(ANSWER_MEMBERS))}")
    if "payload" in result and "patch" in result:
        raise Breach(f"{what}: the result has a payload and a patch")
    violation = result.get("violation")
    if "violation" in result and not (
        isinstance(violation, dict)
        and all(isinstance(violation.get(name), str) and violation[name] for name in ("code", "reason"))
    ):
        raise Breach(f"{what}: a violation is an object whose code and reason are strings")


def _unknown_stage(talk: Conversation, subject: Subject) -> None:
    answer = call(talk, "no_such_stage", "no_such_hook", {})
    if not isinstance(answer.error, messages.Fault):
        raise Breach("answered a stage that it does not have, and that reads as: allow")
    if answer.error.code != -32602:
        raise Doubt(f"answered a stage that it does not have with {answer.error.code}; -32602 says what is wrong")


def _unknown_method(talk: Conversation, subject: Subject) -> None:
    answer = talk.answer(talk.ask("no/such/method", {}), within=ANSWER_SECONDS)
    if not isinstance(answer.error, messages.Fault) or answer.error.code != messages.METHOD_NOT_FOUND:
        raise Breach("did not answer an unknown method with error -32601")


def _ping(talk: Conversation, subject: Subject) -> None:
    for number in [talk.ask("ping", {}) for _ in range(3)]:
        if result_of(talk, number) != {}:
            raise Breach("answered `ping` with something else than {}")


def _notifications(talk: Conversation, subject: Subject) -> None:
    talk.send(messages.notification_frame("$/unheard", {"id": 1}))
    talk.send(messages.notification_frame("$/cancelRequest", {"id": LARGEST_SAFE_ID - 1}))
    _ping(talk, subject)


def _cancel(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = any_sample(subject)
    number = talk.call(stage, hook, CONFIG, payload, deadline_ms=int(ANSWER_SECONDS * 1000))
    talk.send(messages.notification_frame("$/cancelRequest", {"id": number}))
    after = talk.ask("ping", {})
    talk.answer(number, within=ANSWER_SECONDS)
    talk.answer(after, within=ANSWER_SECONDS)


def _side_by_side(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = any_sample(subject)
    at_once = subject.spec.window or (1 if subject.spec.command else MOST_AT_ONCE)
    deadline_ms = int(ANSWER_SECONDS * 1000)
    numbers = [
        talk.call(stage, hook, CONFIG, payload, deadline_ms=deadline_ms) for _ in range(min(at_once, MOST_AT_ONCE))
    ]
    for number in numbers:
        talk.answer(number, within=ANSWER_SECONDS)


def _ids(talk: Conversation, subject: Subject) -> None:
    number = talk.next_id(LARGEST_SAFE_ID)
    talk.send(messages.request_frame(number, "ping", {}))
    talk.answer(number, within=ANSWER_SECONDS)
    talk.next_id(1_000_000)


def _texts(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = any_sample(subject)
    strange = {"text": 'quote " backslash \\ line\u2028 bell \u0007 emoji \U0001f600', "integer": 2**70, "none": None}
    call(talk, stage, hook, {**payload, "penstock_check": strange})


def _nested(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = any_sample(subject)
    deep: object = 1
    for _ in range(NESTED_LEVELS):
        deep = [deep]
    call(talk, stage, hook, {**payload, "penstock_check": deep})


def _big(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = any_sample(subject)
    call(talk, stage, hook, {**payload, "penstock_check": "x" * BIG_PAYLOAD_BYTES})


def _again(talk: Conversation, subject: Subject) -> None:
    configure(talk, subject)
    _stages_quietly(talk, subject)


def _stages_quietly(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = any_sample(subject)
    call(talk, stage, hook, payload)


def _shutdown(talk: Conversation, subject: Subject) -> None:
    result_of(talk, talk.ask("shutdown", {}))
    status = talk.exit_status(within=subject.end_seconds)
    if status != 0:
        raise Breach(f"ended with status {status} after `shutdown`; 0 says that all went well")


def _garbage(talk: Conversation, subject: Subject) -> None:
    talk.send(b"this is not JSON\n")
    number = talk.ask("ping", {})
    try:
        talk.answer(number, within=ANSWER_SECONDS)
    except Breach:
        if not talk.ended:
            raise
        raise Doubt("ended at a line that is no JSON; an error -32700 with id null says what is wrong") from None
    if not talk.refusals:
        raise Doubt("passed over a line that is no JSON; an error -32700 with id null says what is wrong")


def _end_of_input(talk: Conversation, subject: Subject) -> None:
    talk.close_stdin()
    talk.exit_status(within=subject.end_seconds)


def _terminate(talk: Conversation, subject: Subject) -> None:
    talk.terminate()
    talk.exit_status(within=subject.end_seconds)


CHECKS: tuple[Check, ...] = (
    Check("handshake", shake_hands, "answer `initialize` with protocol, plugin and stages as the manifest has them"),
    Check("configure", configure, "answer `configure` with {}; give the check a `with` that the plugin takes"),
    Check(
        "stages",
        _stages,
        "a stage answers as docs/protocol.md says, and keeps to the manifest's `writes` and `outputs`",
    ),
    Check("unknown stage", _unknown_stage, "answer error -32602 to a stage the plugin does not have"),
    Check("unknown method", _unknown_method, "answer error -32601 to every method the plugin does not know"),
    Check("ping", _ping, "answer each `ping` with {}, at once"),
    Check("notifications", _notifications, "a message without an id wants no answer; ignore the unknown ones"),
    Check("cancelled call", _cancel, "answer a cancelled call too, once: its result or error -32800"),
    Check("calls at once", _side_by_side, "take as many calls as the manifest's `concurrency` says, answer each once"),
    Check("ids", _ids, "answer with the id as it came: an integer, up to 2^53 - 1"),
    Check("text and numbers", _texts, "parse any JSON: escapes, characters beyond U+FFFF, large integers"),
    Check("nesting", _nested, f"use a JSON parser that takes {NESTED_LEVELS} levels"),
    Check("large payload", _big, "read whole lines, however long; a frame may have 16 MiB"),
    Check("configure again", _again, "take a second `configure`: its table replaces the first"),
    Check("shutdown", _shutdown, "answer `shutdown` with {}, then exit with 0"),
    Check("garbage", _garbage, "answer a line that is no JSON with error -32700 and id null, and go on", fresh=True),
    Check("end of input", _end_of_input, "exit when stdin ends", fresh=True),
    Check("SIGTERM", _terminate, "do not ignore SIGTERM, or exit soon after it", fresh=True),
)
