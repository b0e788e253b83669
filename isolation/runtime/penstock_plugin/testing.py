"""The test kit: call a stage without the host, and get what the host would make of its answer.

    from penstock_plugin import testing
    from plugin import plugin

    def test_masks_the_secret():
        outcome = testing.call(plugin, "mask", payload={"args": {"q": "secret"}}, config={"words": ["secret"]})
        assert outcome.payload == {"args": {"q": "******"}}

The answer is judged by the protocol's rules and by the manifest beside the plugin, if there is one: `writes`,
`outputs` and `hooks` hold in a test as they do in a pipeline.
"""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from . import judging
from .answer import UNSET, Answer, Violation
from .call import Call, Config, Start
from .plugin import Plugin, plain

__all__ = ["InvalidAnswer", "Outcome", "call"]


KEY = "test-run/test"
"""The key of a call that a test gives none."""


class InvalidAnswer(AssertionError):
    """The host would refuse this answer; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of a call. `payload` is the payload after it, changed or not."""

    payload: dict[str, Any]
    changed: bool
    out: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    hints: dict[str, Any] = field(default_factory=dict)
    violation: Violation | None = None
    result: Any = None
    progress: tuple[dict[str, Any], ...] = ()
    """What the stage reported with `call.progress`, startup included."""

    @property
    def denied(self) -> bool:
        """Whether the stage objected."""
        return self.violation is not None


@dataclass
class _Parameters:
    stage: str
    hook: str
    input: Any
    context: Any
    attempt: int
    key: str
    undoes: str | None
    config: str = "test"
    run: str = "test-run"
    deadline_ms: float | None = None
    trace: str | None = None


def call(
    plugin: Plugin,
    stage: str,
    *,
    payload: dict[str, Any],
    hook: str = "tool_pre_invoke",
    config: dict[str, Any] | None = None,
    secrets: dict[str, str] | None = None,
    context: dict[str, Any] | None = None,
    input: dict[str, Any] | None = None,  # as the author reads it: call.input
    attempt: int = 1,
    key: str = KEY,
    seconds: float = 10.0,
    data: Path | None = None,
) -> Outcome:
    """Run startup and configure, then `stage` on one call, `async def` or not, as a worker would.

    `key` is the key of the call; an undo is handed it as the key of the call to take back, so that calling a stage and
    then its undo, both without a `key`, undoes what the stage did.
    `seconds` is how far away the deadline is. Exceptions of the plugin's code come through as they are, but for a
    `Violation`, which is an answer. Raises InvalidAnswer when the host would refuse what the stage answered, and
    LookupError when the plugin has no such stage.
    """
    if stage not in plugin.stages:
        raise LookupError(f"the plugin has no stage {stage!r}; it has {', '.join(sorted(plugin.stages)) or 'none'}")
    declared = _declared(plugin, stage)
    for name, value in (
        ("payload", payload),
        ("config", config or {}),
        ("context", context or {}),
        ("input", input or {}),
    ):
        if (complaint := judging.not_json(value, name)) is not None:
            raise ValueError(f"a call cannot be made of this: {complaint}")
    reports: list[dict[str, Any]] = []
    undoes = key if plugin.stages[stage].undoes is not None else None
    parameters = _Parameters(
        stage,
        hook,
        copy.deepcopy(input or {}),
        {**_CONTEXT, **copy.deepcopy(context or {})},
        attempt,
        key if undoes is None else f"{key}/undo",
        undoes,
    )

    async def run() -> object:
        if plugin.on_startup is not None:
            await _settled(plugin.on_startup(Start("test", "0", data, reports.append)))
        given = Config(json.loads(json.dumps(config or {})), secrets)
        made = given if plugin.on_configure is None else await _settled(plugin.on_configure(given))
        made_call = Call(
            1,
            parameters,
            copy.deepcopy(payload),
            (made, given.secrets),
            monotonic() + seconds,
            _as_it_is,
            reports.append,
        )
        try:
            return await _settled(plugin.stages[stage].function(made_call))
        except Violation as violation:
            return violation

    answer = _answer(stage, _run(plugin, run()))
    if undoes is not None and (strange := [name for name in answer.as_json() if name != "out"]):
        raise InvalidAnswer(f"{stage!r} is an undo and gave {', '.join(strange)}; return None or call.allow(out=...)")
    return _judged(answer, payload, declared, hook, tuple(reports))


# What doors fill in: absent strings are "".
_CONTEXT: dict[str, Any] = {
    "request_id": "test-request",
    "tenant": "",
    "server_id": "",
    "user": {"id": "", "email": "", "roles": [], "groups": [], "is_admin": False},
    "content_type": "",
    "tool": None,
    "gateway": None,
    "metadata": {},
    "state": {},
}


def _as_it_is(value: Any) -> Any:
    return value


async def _settled(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value


def _run(plugin: Plugin, work: Any) -> object:
    """Run on an event loop where the worker would have one; without one, plain functions run as they are."""
    if plugin.is_async:
        import asyncio

        return asyncio.run(work)
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise InvalidAnswer("a plain `def` returned something to await; write `async def`")


def _answer(stage: str, value: object) -> Answer:
    if value is None:
        return Answer()
    if isinstance(value, Violation):
        return Answer(violation=value)
    if isinstance(value, Answer):
        return value
    kind = type(value).__name__
    raise InvalidAnswer(f"stage {stage!r} returned {kind}; return None, or what call.allow, .modify, .deny give")


def _judged(
    answer: Answer,
    payload: dict[str, Any],
    declared: dict[str, Any] | None,
    hook: str,
    reports: tuple[dict[str, Any], ...],
) -> Outcome:
    after: Any = payload
    if answer.payload is not UNSET:
        after = answer.payload
    elif answer.patch is not UNSET:
        after = judging.merged(payload, answer.patch)
    changed = judging.changed_paths(payload, after)
    complaints = list(judging.complaints_about(answer.as_json(), declared, changed, hook))
    if complaints:
        raise InvalidAnswer("the host would refuse this answer:\n" + "\n".join(f"  {text}" for text in complaints))
    return Outcome(
        payload=after,
        changed=bool(changed),
        out=dict(answer.out or {}),
        state=dict(answer.state or {}),
        hints=dict(answer.hints or {}),
        violation=answer.violation,
        result=None if answer.result is UNSET else answer.result,
        progress=reports,
    )


def _declared(plugin: Plugin, stage: str) -> dict[str, Any] | None:
    """The stage's table in the manifest that lies beside the plugin's module; None when there is none."""
    function = plain(plugin.stages[stage].function)
    module = sys.modules.get(getattr(function, "__module__", ""))
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10: the test then judges by the protocol alone
        return None

    for folder in list(Path(file).resolve().parents)[:3]:  # the module may lie in a package of the plugin's folder
        manifest = folder / "pyproject.toml"
        if manifest.is_file():
            table: Any = tomllib.loads(manifest.read_text(encoding="utf-8")).get("tool", {}).get("penstock")
            if table is None:
                return None
            stages = table.get("stages", {})
            if stage not in stages:
                raise LookupError(f"{manifest} declares no stage {stage!r}; it declares {', '.join(stages) or 'none'}")
            found: dict[str, Any] = stages[stage]
            _compare_undo(stage, plugin.stages[stage].undoes, found.get("undoes"), manifest)
            return found
    return None


def _compare_undo(stage: str, declared: str | None, written: str | None, manifest: Path) -> None:
    if declared != written:
        raise LookupError(
            f"the code says that {stage!r} undoes {declared or 'nothing'}, and {manifest} {written or 'nothing'}"
        )
