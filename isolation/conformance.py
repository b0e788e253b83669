"""Judges whether a plugin keeps the protocol, whatever language it is written in. Starts it for real.

`CHECKS` is the list of what is tried; each entry has the remedy an author is given. Nothing here knows a hook:
the caller brings a sample payload for each hook the plugin offers.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from isolation.conversation import Breach, Conversation
from isolation.protocol import messages
from isolation.spec import WorkerSpec

__all__ = ["ANSWER_MEMBERS", "CHECKS", "Check", "Finding", "Outcome", "Subject", "check"]

ANSWER_SECONDS = 5.0
"""Longest wait for what a plugin should answer at once."""
END_SECONDS = 3.0
"""Longest wait for a plugin to end that was asked to."""
BIG_PAYLOAD_BYTES = 1024 * 1024
NESTED_LEVELS = 190
"""Doors let through 200 levels; a parser must not fall over what lies just below."""
LARGEST_SAFE_ID = 2**53 - 1
MOST_AT_ONCE = 8
TRACEBACK_LINES = 12

ANSWER_MEMBERS = frozenset({"payload", "patch", "out", "state", "hints", "violation", "result"})


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

    `judge` says why a run would refuse the answer to a sample, given stage, hook, payload and answer.
    `end_seconds` is how long it may take to end when it is asked to.
    """

    spec: WorkerSpec
    samples: Mapping[str, Mapping[str, Mapping[str, object]]]
    configuration: Mapping[str, object] = field(default_factory=dict)
    end_seconds: float = END_SECONDS
    judge: Judge = lambda stage, hook, payload, result: None


class _Doubt(Exception):
    """Not against the protocol, but worth an author's look."""


Examine = Callable[[Conversation, Subject], None]


@dataclass(frozen=True, slots=True)
class Check:
    """Something to try. A check with `fresh` gets a process of its own, because it ends or upsets it."""

    name: str
    examine: Examine
    remedy: str
    fresh: bool = False


def check(subject: Subject, report: Callable[[Finding], None] = lambda finding: None) -> list[Finding]:
    """Try everything of `CHECKS` and return the findings in order; `report` hears each as it is made.

    A plugin that cannot be started is not tried any further.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> bool:
        findings.append(finding)
        report(finding)
        return finding.outcome is not Outcome.FAILED

    with Conversation(subject.spec) as shared:
        for entry in CHECKS:
            passed = entry.fresh or note(_tried(entry, shared, subject))
            if not passed and (entry.name in _NEEDED or shared.ended):
                return findings
    for entry in CHECKS:
        if entry.fresh:
            with Conversation(subject.spec) as own:
                note(_tried(entry, own, subject))
    return findings


def _tried(entry: Check, conversation: Conversation, subject: Subject) -> Finding:
    try:
        if entry.fresh:
            _handshake(conversation, subject)
            _configure(conversation, subject)
        entry.examine(conversation, subject)
    except Breach as breach:
        return Finding(entry.name, Outcome.FAILED, str(breach), entry.remedy)
    except _Doubt as doubt:
        return Finding(entry.name, Outcome.WARNING, str(doubt), entry.remedy)
    return Finding(entry.name, Outcome.PASSED)


# The checks, in the order of docs/protocol.md.


def _handshake(talk: Conversation, subject: Subject) -> None:
    spec = subject.spec
    said = _result(talk, talk.ask("initialize", spec.initialize()), within=spec.startup_seconds)
    if said.get("protocol") != messages.PROTOCOL_VERSION:
        raise Breach(f"speaks protocol {said.get('protocol')!r}; this host speaks {messages.PROTOCOL_VERSION!r}")
    plugin = said.get("plugin")
    if plugin != {"name": spec.plugin_name, "version": spec.version}:
        raise Breach(f"says that it is {json.dumps(plugin)}; its manifest says {spec.plugin_name} {spec.version}")
    stages = said.get("stages")
    if not isinstance(stages, dict) or not all(isinstance(entry, dict) for entry in stages.values()):
        raise Breach(f"`stages` must map each name to an object, not {json.dumps(stages)[:120]}")
    missing = [name for name in spec.stages if name not in stages]
    if missing:
        raise Breach(f"does not offer {', '.join(missing)} of its manifest; it offers {', '.join(stages) or 'none'}")
    concurrency = said.get("concurrency", 1)
    if type(concurrency) is not int or concurrency < 1:
        raise Breach(f"`concurrency` must be an integer from 1 on, not {json.dumps(concurrency)[:120]}")


def _configure(talk: Conversation, subject: Subject) -> None:
    table = {"check": {"with": dict(subject.configuration), "secrets": {}}}
    answer = talk.answer(talk.ask("configure", {"configs": table}), within=subject.spec.startup_seconds)
    if isinstance(answer.error, messages.Fault):
        raise Breach(f"refused the configuration {json.dumps(subject.configuration)}: {_fault(answer.error)}")


def _stages(talk: Conversation, subject: Subject) -> None:
    doubts = []
    for stage, hooks in subject.samples.items():
        for hook, payload in hooks.items():
            answer = _call(talk, stage, hook, payload)
            if isinstance(answer.error, messages.Fault):
                doubts.append(f"{stage} on {hook} answered a sample payload with an error: {_fault(answer.error)}")
            else:
                _judge_answer(f"{stage} on {hook}", answer)
                refused = subject.judge(stage, hook, payload, bytes(answer.result))
                if refused is not None:
                    raise Breach(f"{stage} on {hook}: {refused}")
    _ping(talk, subject)  # whatever was answered twice has come by now
    if doubts:
        raise _Doubt("\n".join(doubts))


def _judge_answer(what: str, answer: messages.Answer) -> None:
    result = _decoded(answer)
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
    answer = _call(talk, "no_such_stage", "no_such_hook", {})
    if not isinstance(answer.error, messages.Fault):
        raise Breach("answered a stage that it does not have, and that reads as: allow")
    if answer.error.code != -32602:
        raise _Doubt(f"answered a stage that it does not have with {answer.error.code}; -32602 says what is wrong")


def _unknown_method(talk: Conversation, subject: Subject) -> None:
    answer = talk.answer(talk.ask("no/such/method", {}), within=ANSWER_SECONDS)
    if not isinstance(answer.error, messages.Fault) or answer.error.code != messages.METHOD_NOT_FOUND:
        raise Breach("did not answer an unknown method with error -32601")


def _ping(talk: Conversation, subject: Subject) -> None:
    for number in [talk.ask("ping", {}) for _ in range(3)]:
        if _result(talk, number) != {}:
            raise Breach("answered `ping` with something else than {}")


def _notifications(talk: Conversation, subject: Subject) -> None:
    talk.send(messages.notification_frame("$/unheard", {"id": 1}))
    talk.send(messages.notification_frame("$/cancelRequest", {"id": LARGEST_SAFE_ID - 1}))
    _ping(talk, subject)


def _cancel(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = _any_sample(subject)
    number = talk.call(stage, hook, "check", payload, deadline_ms=int(ANSWER_SECONDS * 1000))
    talk.send(messages.notification_frame("$/cancelRequest", {"id": number}))
    after = talk.ask("ping", {})
    talk.answer(number, within=ANSWER_SECONDS)
    talk.answer(after, within=ANSWER_SECONDS)


def _side_by_side(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = _any_sample(subject)
    at_once = subject.spec.window or (1 if subject.spec.command else MOST_AT_ONCE)
    deadline_ms = int(ANSWER_SECONDS * 1000)
    numbers = [
        talk.call(stage, hook, "check", payload, deadline_ms=deadline_ms) for _ in range(min(at_once, MOST_AT_ONCE))
    ]
    for number in numbers:
        talk.answer(number, within=ANSWER_SECONDS)


def _ids(talk: Conversation, subject: Subject) -> None:
    number = talk.next_id(LARGEST_SAFE_ID)
    talk.send(messages.request_frame(number, "ping", {}))
    talk.answer(number, within=ANSWER_SECONDS)
    talk.next_id(1_000_000)


def _texts(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = _any_sample(subject)
    strange = {"text": 'quote " backslash \\ line\u2028 bell \u0007 emoji \U0001f600', "integer": 2**70, "none": None}
    _call(talk, stage, hook, {**payload, "penstock_check": strange})


def _nested(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = _any_sample(subject)
    deep: object = 1
    for _ in range(NESTED_LEVELS):
        deep = [deep]
    _call(talk, stage, hook, {**payload, "penstock_check": deep})


def _big(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = _any_sample(subject)
    _call(talk, stage, hook, {**payload, "penstock_check": "x" * BIG_PAYLOAD_BYTES})


def _again(talk: Conversation, subject: Subject) -> None:
    _configure(talk, subject)
    _stages_quietly(talk, subject)


def _stages_quietly(talk: Conversation, subject: Subject) -> None:
    stage, hook, payload = _any_sample(subject)
    _call(talk, stage, hook, payload)


def _shutdown(talk: Conversation, subject: Subject) -> None:
    _result(talk, talk.ask("shutdown", {}))
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
        raise _Doubt("ended at a line that is no JSON; an error -32700 with id null says what is wrong") from None
    if not talk.refusals:
        raise _Doubt("passed over a line that is no JSON; an error -32700 with id null says what is wrong")


def _end_of_input(talk: Conversation, subject: Subject) -> None:
    talk.close_stdin()
    talk.exit_status(within=subject.end_seconds)


def _terminate(talk: Conversation, subject: Subject) -> None:
    talk.terminate()
    talk.exit_status(within=subject.end_seconds)


CHECKS: tuple[Check, ...] = (
    Check("handshake", _handshake, "answer `initialize` with protocol, plugin and stages as the manifest has them"),
    Check("configure", _configure, "answer `configure` with {}; give the check a `with` that the plugin takes"),
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

_NEEDED = frozenset({"handshake", "configure"})


def _any_sample(subject: Subject) -> tuple[str, str, Mapping[str, object]]:
    for stage, hooks in subject.samples.items():
        for hook, payload in hooks.items():
            return stage, hook, payload
    return subject.spec.stages[0], "tool_pre_invoke", {}


def _call(talk: Conversation, stage: str, hook: str, payload: Mapping[str, object]) -> messages.Answer:
    number = talk.call(stage, hook, "check", payload, deadline_ms=int(ANSWER_SECONDS * 1000))
    return talk.answer(number, within=ANSWER_SECONDS)


def _result(talk: Conversation, number: int, *, within: float = ANSWER_SECONDS) -> dict[str, object]:
    answer = talk.answer(number, within=within)
    if isinstance(answer.error, messages.Fault):
        raise Breach(f"answered with an error: {_fault(answer.error)}")
    result = _decoded(answer)
    if not isinstance(result, dict):
        raise Breach(f"the result must be an object, not {json.dumps(result)[:120]}")
    return result


def _decoded(answer: messages.Answer) -> object:
    try:
        return msgspec.json.decode(answer.result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Breach(f"the result is not JSON that others can read: {error}") from None


def _fault(fault: messages.Fault) -> str:
    traceback = fault.data.get("traceback") if isinstance(fault.data, dict) else None
    lines = traceback.splitlines()[-TRACEBACK_LINES:] if isinstance(traceback, str) else []
    return "\n    ".join([f"{fault.code} {fault.message}", *lines])
