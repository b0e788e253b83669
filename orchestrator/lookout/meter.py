"""What `penstock top` shows: counted only while somebody looks, and told as one object an interval."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from orchestrator.lookout.latency import Latency
from orchestrator.metrics.processes import ProcessFigures, host_figures, worker_figures
from orchestrator.record.summary import Summary
from pipelines.plan import StageState

if TYPE_CHECKING:
    from isolation.generation import Generation
    from orchestrator.orchestrator import Orchestrator

__all__ = ["WINDOW_SECONDS", "Meter", "Meters", "breakers_of_note", "figures_of"]

WINDOW_SECONDS = 5.0
"""Latencies are those of so long, and of the interval where that is longer."""


@dataclass(slots=True)
class _Stage:
    plugin: str
    calls: int = 0
    denied: int = 0
    errors: int = 0
    latency: Latency = field(default_factory=Latency)


@dataclass(slots=True)
class _Interval:
    """What ended in one interval, by pipeline and hook, and by stage."""

    verdicts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    latencies: dict[tuple[str, str], Latency] = field(default_factory=dict)
    stages: dict[tuple[str, str], _Stage] = field(default_factory=dict)

    def add(self, run: Summary) -> None:
        key = (run.plan.name, run.plan.hook.name)
        failed = run.verdict == "deny" and run.error is not None
        self.verdicts.setdefault(key, Counter())["failed" if failed else str(run.verdict)] += 1
        self.latencies.setdefault(key, Latency()).add(run.seconds * 1000)
        for end in run.ends():
            stage = self.stages.setdefault((run.plan.name, end.stage.id), _Stage(end.stage.plugin))
            stage.errors += end.failed
            stage.denied += end.state is StageState.DENIED
            if end.tried:
                stage.calls += 1
                stage.latency.add(end.seconds * 1000)


class Meter:
    """One reader's figures."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._now = _Interval()
        self._before = deque[_Interval]()
        self._answers = orchestrator.engine.answers
        self._at = time.monotonic()
        self._cpu: dict[int, float] = {}

    def add(self, run: Summary) -> None:
        """Count a run that is over."""
        self._now.add(run)

    async def read(self, interval_seconds: float) -> AsyncGenerator[dict[str, object], None]:
        """What happened in each interval. The first one is spent counting."""
        kept = max(1, round(WINDOW_SECONDS / interval_seconds))
        for pid, used in (await self._processes()).items():
            self._process(pid, used, 1.0)  # from here on its CPU is counted
        while True:
            await asyncio.sleep(interval_seconds)
            yield self._told(await self._processes())
            self._before.append(self._now)
            self._now = _Interval()
            while len(self._before) >= kept:
                self._before.popleft()

    async def _processes(self) -> Mapping[int, ProcessFigures | None]:
        """What the host and its workers take up, by their process ids."""
        pids = [worker.pid for one in self._generations() for worker in one.workers]
        return await asyncio.to_thread(figures_of, pids)

    def _generations(self) -> list[Generation]:
        return list(self._orchestrator.generations.values())

    def _told(self, figures: Mapping[int, ProcessFigures | None]) -> dict[str, object]:
        engine = self._orchestrator.engine
        at = time.monotonic()
        seconds, self._at = max(1e-6, at - self._at), at
        answers, self._answers = engine.answers - self._answers, engine.answers
        told: dict[str, object] = {
            "at": round(engine.clock.wall(), 3),
            "name": self._orchestrator.loaded.plan.name,
            "seconds": round(seconds, 3),
            "calls_per_second": round(answers / seconds, 1),
            "under_way": engine.under_way,
            "open_runs": len(engine.open),
            "host": self._process(os.getpid(), figures.get(os.getpid()), seconds),
            "pipelines": list(self._pipelines(seconds)),
            "stages": list(self._stages(seconds)),
            "plugins": [self._plugin(one, figures, seconds) for one in self._generations()],
            "breakers": breakers_of_note(self._orchestrator),
        }
        return told

    def _window(self) -> list[_Interval]:
        return [*self._before, self._now]

    def _pipelines(self, seconds: float) -> Iterator[dict[str, object]]:
        window = self._window()
        for key in dict.fromkeys(key for one in window for key in one.verdicts):
            verdicts = self._now.verdicts.get(key, Counter())
            latency = Latency.joined(one.latencies[key] for one in window if key in one.latencies)
            yield {
                "pipeline": key[0],
                "hook": key[1],
                "runs_per_second": round(verdicts.total() / seconds, 1),
                **{
                    f"{word}_per_second": round(verdicts[word] / seconds, 1)
                    for word in ("allow", "modify", "deny", "failed")
                },
                "p50_ms": _ms(latency.quantile(0.5)),
                "p99_ms": _ms(latency.quantile(0.99)),
            }

    def _stages(self, seconds: float) -> Iterator[dict[str, object]]:
        window = self._window()
        for key in dict.fromkeys(key for one in window for key in one.stages):
            parts = [one.stages[key] for one in window if key in one.stages]
            now = self._now.stages.get(key, _Stage(parts[-1].plugin))
            latency = Latency.joined(part.latency for part in parts)
            yield {
                "pipeline": key[0],
                "stage": key[1],
                "plugin": now.plugin,
                "calls_per_second": round(now.calls / seconds, 1),
                "denied_per_second": round(now.denied / seconds, 1),
                "errors_per_second": round(now.errors / seconds, 1),
                "p50_ms": _ms(latency.quantile(0.5)),
                "p99_ms": _ms(latency.quantile(0.99)),
            }

    def _plugin(
        self, one: Generation, figures: Mapping[int, ProcessFigures | None], seconds: float
    ) -> dict[str, object]:
        status = one.status
        return {
            "plugin": status.plugin,
            "generation": one.spec.name,
            "state": status.state.value,
            "ready": status.ready,
            "wanted": status.wanted,
            "in_flight": status.owed,
            "waiting": status.waiting,
            "restarts": status.restarts,
            "workers": [
                {
                    "worker": worker.name,
                    "in_flight": worker.owed,
                    **self._process(worker.pid, figures.get(worker.pid), seconds),
                }
                for worker in one.workers
            ],
        }

    def _process(self, pid: int, used: ProcessFigures | None, seconds: float) -> dict[str, object]:
        """What a process takes up. Its CPU is that since it was looked at before."""
        before = self._cpu.get(pid)
        share = None
        if used is not None:
            self._cpu[pid] = used.cpu_seconds
            share = None if before is None else round(max(0.0, used.cpu_seconds - before) / seconds * 100, 1)
        return {"pid": pid, "rss_bytes": None if used is None else used.resident_bytes, "cpu_percent": share}


class Meters:
    """Those that are read now."""

    def __init__(self) -> None:
        self._read: list[Meter] = []

    def add(self, run: Summary) -> None:
        """Let each count a run."""
        for meter in self._read:
            meter.add(run)

    @contextmanager
    def reading(self, meter: Meter) -> Iterator[Meter]:
        """Let a meter count while inside."""
        self._read.append(meter)
        try:
            yield meter
        finally:
            self._read.remove(meter)


def figures_of(pids: Iterable[int]) -> dict[int, ProcessFigures | None]:
    """What this process and others take up, by their ids. Reads files, so it is not for the loop's thread."""
    return {os.getpid(): host_figures(), **{pid: worker_figures(pid) for pid in pids}}


def breakers_of_note(orchestrator: Orchestrator) -> list[dict[str, object]]:
    """Those that are not closed."""
    return [asdict(view) for view in orchestrator.breakers.views() if view.state != "closed"]


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
