"""Doubles written by hand, one per Protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec

from isolation.call import Call
from isolation.errors import CallError
from isolation.spec import WorkerSpec

__all__ = ["FakeClock", "FakeGeneration", "Faulty", "Handed", "Refusing"]


class FakeAlarm:
    """Something that a FakeClock will call."""

    def __init__(self, at: float, number: int, call: Callable[[], None]) -> None:
        self.at = at
        self.number = number
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Call it no more."""
        self.cancelled = True


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._alarms: list[FakeAlarm] = []
        self._count = 0

    def now(self) -> float:
        """Seconds."""
        return self._now

    def wall(self) -> float:
        """The same, as if the test had begun in 1970."""
        return self._now

    def later(self, seconds: float, call: Callable[[], None]) -> FakeAlarm:
        """Note what to call when that time has come."""
        self._count += 1
        alarm = FakeAlarm(self._now + seconds, self._count, call)
        self._alarms.append(alarm)
        return alarm

    @property
    def pending(self) -> list[float]:
        """Seconds from now until each alarm."""
        return sorted(alarm.at - self._now for alarm in self._alarms if not alarm.cancelled)

    def clear(self) -> None:
        """Forget every alarm: whoever set them is gone."""
        self._alarms.clear()

    def step(self) -> bool:
        """Go on to the next alarm and ring it; False when there is none."""
        waiting = [alarm for alarm in self._alarms if not alarm.cancelled]
        if not waiting:
            return False
        alarm = min(waiting, key=lambda one: (one.at, one.number))
        self._alarms.remove(alarm)
        self._now = max(self._now, alarm.at)
        alarm.call()
        return True

    def hold(self, seconds: float) -> None:
        """Let so much time pass and ring nothing, as when something holds the loop."""
        self._now += seconds

    def forward(self, seconds: float) -> None:
        """Let so much time pass, ringing whatever comes due."""
        end = self._now + seconds
        while any(not alarm.cancelled and alarm.at <= end for alarm in self._alarms):
            self.step()
        self._now = end


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
        call.number = len(self.handed)

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
