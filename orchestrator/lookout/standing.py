"""How a host stands, as one JSON object: itself, its plugins and their workers, and whatever is not as it should be."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from isolation.spec import host_version
from orchestrator.lookout.meter import breakers_of_note, figures_of
from orchestrator.metrics.processes import ProcessFigures
from orchestrator.revisions.history import Outcome

if TYPE_CHECKING:
    from isolation.generation import Generation
    from orchestrator.orchestrator import Orchestrator

__all__ = ["plugin_standing", "standing"]


async def standing(orchestrator: Orchestrator, more: Mapping[str, object]) -> dict[str, object]:
    """The answer to `status`; `more` are members that others know of."""
    engine = orchestrator.engine
    generations = list(orchestrator.generations.values())
    pids = [worker.pid for one in generations for worker in one.workers]
    figures = await asyncio.to_thread(figures_of, pids)
    here = figures[os.getpid()]
    return {
        "name": orchestrator.loaded.plan.name,
        "file": orchestrator.loaded.archive.path,
        "host": {
            "pid": os.getpid(),
            "version": host_version(),
            "since": round(orchestrator.lookout.opened_at, 3),
            "rss_bytes": None if here is None else here.resident_bytes,
        },
        "plugins": [plugin_standing(one, engine.clock.now(), figures) for one in generations],
        "breakers": breakers_of_note(orchestrator),
        "calls": engine.under_way,
        "open_runs": sorted(engine.open),
        "last_change": _last_change(orchestrator),
        **more,
    }


def _last_change(orchestrator: Orchestrator) -> dict[str, object] | None:
    made = [entry for entry in orchestrator.revisions.history.entries if entry.outcome is not Outcome.REFUSED]
    if not made:
        return None
    last = made[-1]
    return {
        "at": round(last.at, 3),
        "by": last.by,
        "number": last.number,
        "outcome": last.outcome.value,
        "reason": last.reason,
    }


def plugin_standing(
    generation: Generation, now: float, figures: Mapping[int, ProcessFigures | None]
) -> dict[str, object]:
    """One generation; `figures` are those of its workers, as far as they are known. `now` is of the monotonic clock."""
    status = generation.status
    shown = asdict(status)
    since, opened = shown.pop("since"), shown.pop("opened_at")
    workers = [_worker(worker.name, worker.pid, worker.owed, figures.get(worker.pid)) for worker in generation.workers]
    resident = [rss for worker in workers if isinstance(rss := worker["rss_bytes"], int)]
    return shown | {
        "state": status.state.value,
        "since_seconds": round(now - since, 3),
        "generation": generation.spec.name,
        "version": generation.spec.version,
        "age_seconds": round(now - opened, 3),
        "rss_bytes": sum(resident) if resident else None,
        "workers": workers,
    }


def _worker(name: str, pid: int, owed: int, used: ProcessFigures | None) -> dict[str, object]:
    resident = None if used is None else used.resident_bytes
    return {"worker": name, "pid": pid, "in_flight": owed, "rss_bytes": resident}
