"""Doubles written by hand, one per Protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec

from isolation.call import Call
from isolation.errors import CallError
from isolation.spec import WorkerSpec

__all__ = ["FakeGeneration", "Faulty", "Handed", "Refusing"]


class Handed:
    """A call as the double was handed it."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.stage = call.invocation.key.decode().partition("/")[2]

    @property
    def payload(self) -> object:
        """The payload, decoded."""
        return json.loads(self.call.invocation.payload)

    @property
    def context(self) -> dict[str, object]:
        """The context, decoded."""
        decoded: dict[str, object] = json.loads(self.call.invocation.context)
        return decoded

    @property
    def input(self) -> object:
        """What `in` gave, decoded."""
        return json.loads(self.call.invocation.input)


class FakeGeneration:
    """Takes calls and keeps them until the test answers them, by the stage's id."""

    def __init__(self, name: str = "s") -> None:
        self.spec = WorkerSpec(name, name, "1.0.0", Path("python"), Path(), ("act",), "0" * 64)
        self.handed: list[Handed] = []
        self.cancelled: list[str] = []

    def submit(self, call: Call) -> None:
        """Keep the call."""
        self.handed.append(Handed(call))

    def cancel(self, call: Call) -> None:
        """Forget the call: its answer will be dropped."""
        call.settle()
        self.cancelled.append(Handed(call).stage)

    @property
    def waiting(self) -> list[str]:
        """The stages that were handed over and neither answered nor cancelled."""
        return [one.stage for one in self.handed if not one.call.settled]

    def find(self, stage: str) -> Handed:
        """The newest call of a stage."""
        return next(one for one in reversed(self.handed) if one.stage == stage)

    def answer(self, stage: str, result: object = None) -> None:
        """Answer a stage; None says nothing."""
        self.answer_raw(stage, json.dumps(result).encode())

    def answer_raw(self, stage: str, raw: bytes) -> None:
        """Answer a stage with any bytes, unless nobody waits any more, as a worker does."""
        call = self.find(stage).call
        if call.settle():
            call.answered(msgspec.Raw(raw))

    def fail(self, stage: str, error: CallError) -> None:
        """End a stage without an answer."""
        call = self.find(stage).call
        if call.settle():
            call.failed(error)


class Faulty(FakeGeneration):
    """A double with bugs: it raises where it is told to."""

    def __init__(self, on_submit: Callable[[str], bool], on_cancel: Callable[[str], bool]) -> None:
        super().__init__()
        self.on_submit = on_submit
        self.on_cancel = on_cancel

    def submit(self, call: Call) -> None:
        """Keep the call, or raise."""
        super().submit(call)
        if self.on_submit(self.handed[-1].stage):
            raise RuntimeError("a bug in submit")

    def cancel(self, call: Call) -> None:
        """Note the call, or raise."""
        if self.on_cancel(Handed(call).stage):
            raise RuntimeError("a bug in cancel")
        super().cancel(call)


class Refusing(FakeGeneration):
    """Refuses every call before `submit` returns, as a generation does whose plugin is busy or out of time."""

    def __init__(self, error: CallError) -> None:
        super().__init__()
        self.error = error

    def submit(self, call: Call) -> None:
        """End the call at once."""
        super().submit(call)
        self.fail(self.handed[-1].stage, self.error)
