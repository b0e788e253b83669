"""The questions that every check asks, and how an answer is read. Whatever is wrong with one is a Breach."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from isolation.conformance.values import Subject
from isolation.conversation import Breach, Conversation
from isolation.protocol import messages

__all__ = [
    "ANSWER_SECONDS",
    "CONFIG",
    "any_sample",
    "call",
    "configure",
    "decoded",
    "described",
    "result_of",
    "samples_of",
    "shake_hands",
]

ANSWER_SECONDS = 5.0
"""Longest wait for what a plugin should answer at once."""

SAMPLE_SECRET = "sample-of-a-secret"
"""What a plugin is handed for every secret that it asks for: nothing of an operator's belongs into a check."""

CONFIG = "check"
"""The id of the configuration that every call is made with."""
TRACEBACK_LINES = 12


def shake_hands(talk: Conversation, subject: Subject) -> None:
    """Send `initialize` and hold the answer against the manifest."""
    spec = subject.spec
    said = result_of(talk, talk.ask("initialize", spec.initialize()), within=spec.startup_seconds)
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
    for name in spec.stages:
        if (undone := stages[name].get("undoes")) != spec.undoes.get(name):
            raise Breach(
                f"says that its stage {name} undoes {json.dumps(undone)}; its manifest says "
                f"{json.dumps(spec.undoes.get(name))}"
            )
    concurrency = said.get("concurrency", 1)
    if type(concurrency) is not int or concurrency < 1:
        raise Breach(f"`concurrency` must be an integer from 1 on, not {json.dumps(concurrency)[:120]}")


def configure(talk: Conversation, subject: Subject) -> None:
    """Send the one configuration of the check."""
    secrets = dict.fromkeys(subject.secrets, SAMPLE_SECRET)
    table = {CONFIG: {"with": dict(subject.configuration), "secrets": secrets}}
    answer = talk.answer(talk.ask("configure", {"configs": table}), within=subject.spec.startup_seconds)
    if isinstance(answer.error, messages.Fault):
        raise Breach(f"refused the configuration {json.dumps(subject.configuration)}: {described(answer.error)}")


def samples_of(subject: Subject) -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    """The samples of ordinary stages: an undo is called for what another stage did, and not by itself."""
    return {stage: hooks for stage, hooks in subject.samples.items() if stage not in subject.spec.undoes}


def any_sample(subject: Subject) -> tuple[str, str, Mapping[str, object]]:
    """A stage, a hook and a payload to try something with."""
    for stage, hooks in samples_of(subject).items():
        for hook, payload in hooks.items():
            return stage, hook, payload
    return subject.spec.stages[0], "tool_pre_invoke", {}


def call(
    talk: Conversation,
    stage: str,
    hook: str,
    payload: Mapping[str, object],
    *,
    input: Mapping[str, object] | None = None,
    key: str = "",
    undoes: str = "",
) -> messages.Answer:
    """Call a stage and wait for its answer."""
    number = talk.call(
        stage, hook, CONFIG, payload, deadline_ms=int(ANSWER_SECONDS * 1000), input=input, key=key, undoes=undoes
    )
    return talk.answer(number, within=ANSWER_SECONDS)


def result_of(talk: Conversation, number: int, *, within: float = ANSWER_SECONDS) -> dict[str, object]:
    """The answer to a request, an object."""
    answer = talk.answer(number, within=within)
    if isinstance(answer.error, messages.Fault):
        raise Breach(f"answered with an error: {described(answer.error)}")
    result = decoded(answer)
    if not isinstance(result, dict):
        raise Breach(f"the result must be an object, not {json.dumps(result)[:120]}")
    return result


def decoded(answer: messages.Answer) -> object:
    """The result of an answer."""
    try:
        return msgspec.json.decode(answer.result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Breach(f"the result is not JSON that others can read: {error}") from None


def described(fault: messages.Fault) -> str:
    """An error for people, with the last lines of its traceback."""
    traceback = fault.data.get("traceback") if isinstance(fault.data, dict) else None
    lines = traceback.splitlines()[-TRACEBACK_LINES:] if isinstance(traceback, str) else []
    return "\n    ".join([f"{fault.code} {fault.message}", *lines])
