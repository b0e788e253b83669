"""The self-test of a generation: its stage `self_test`, called once with each configuration before it takes calls."""

from __future__ import annotations

import asyncio
import time

import msgspec

from isolation.call import Call
from isolation.errors import CallError, StartError
from isolation.generation import Generation
from isolation.protocol.messages import Invocation, envelope
from pipelines.answer import BadAnswer, read_answer

__all__ = ["SELF_TEST", "SelfTestFailed", "self_test"]

SELF_TEST = "self_test"
"""The stage that is one, where a manifest has it; also the hook that it is told."""


class SelfTestFailed(StartError):
    """A plugin says of itself that it does not work, or cannot say anything."""

    code = "penstock.self_test"
    hint = "nothing of it takes calls; what the plugin wrote about it stands in the log"


class _Test(Call):
    """One call. `over` gets None, or why the test failed."""

    def __init__(self, invocation: Invocation, deadline: float, over: asyncio.Future[str | None]) -> None:
        super().__init__(invocation, deadline)
        self._over = over

    def answered(self, result: msgspec.Raw) -> None:
        """Judge the answer as that of any stage."""
        try:
            answer = read_answer(result, None)
        except BadAnswer as error:
            self._end(str(error))
            return
        self._end(None if answer.violation is None else f"{answer.violation.code}: {answer.violation.reason}")

    def failed(self, error: CallError) -> None:
        """Take what went wrong."""
        self._end(str(error))

    def _end(self, why: str | None) -> None:
        if not self._over.done():
            self._over.set_result(why)


async def self_test(generation: Generation, configs: tuple[str, ...]) -> None:
    """Let a generation test itself with each of its configurations, where it can. Raises SelfTestFailed.

    One test may take as long as the plugin may be silent while it starts.
    """
    spec = generation.spec
    if SELF_TEST not in spec.stages:
        return
    for number, config in enumerate(configs, 1):
        over: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        name = f"self-test-{spec.digest[:12]}-{number}".encode()
        invocation = Invocation(
            envelope(SELF_TEST, SELF_TEST, config), run=name, key=name, input=b"{}", context=b"{}", payload=b"{}"
        )
        call = _Test(invocation, time.monotonic() + spec.startup_seconds, over)
        generation.submit(call)
        try:
            why = await over
        except asyncio.CancelledError:
            generation.cancel(call)
            raise
        if why is not None:
            raise SelfTestFailed(f"{spec.plugin}: its self-test failed: {why}")
