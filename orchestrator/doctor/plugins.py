"""A pipeline file and its plugins: whether it is right, its environments can be had, and every worker starts."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from isolation.errors import EnvironmentBuildError, IsolationError, StartError
from isolation.generation import Generation
from isolation.spec import WorkerSpec
from isolation.store.events import BuildEvent
from isolation.store.store import Prepared, Store
from orchestrator.doctor.finding import Finding, error, ok, warning
from orchestrator.loading import Loaded, load
from orchestrator.secrets import Vault, without_secrets
from pipelines.problem import Problem, SpecError

__all__ = ["examine_file", "examine_plugins"]

SHOWN_PROBLEMS = 3


def examine_file(path: Path) -> Iterator[Finding | Loaded]:
    """Lint the file; the last thing given is what was loaded, if anything could be."""
    try:
        loaded = load(path)
    except SpecError as wrong:
        remedy = f"`penstock lint {path}` shows every problem"
        yield error("pipeline file", f"{len(wrong.problems)} problems: {_first(wrong.problems)}", remedy)
        return
    if loaded.plan.warnings:
        message = f"{len(loaded.plan.warnings)} warnings: {_first(loaded.plan.warnings)}"
        yield warning("pipeline file", message, f"`penstock lint {path}` shows them")
    else:
        yield ok("pipeline file", f"{loaded.path} is right")
    yield loaded


def _first(problems: tuple[Problem, ...]) -> str:
    return "; ".join(str(problem) for problem in problems[:SHOWN_PROBLEMS])


async def examine_plugins(loaded: Loaded, store: Store, report: Callable[[BuildEvent], None]) -> AsyncIterator[Finding]:
    """Prepare and start every plugin of the file, one after the other, and stop it again."""
    for name in loaded.plan.plugins:
        manifest = loaded.manifests[name]
        extras = loaded.plan.plugins[name].extras
        subject = f"plugin {name}"
        try:
            prepared = await asyncio.to_thread(store.prepare, manifest, extras, report)
        except EnvironmentBuildError as failure:
            yield error(subject, str(failure), failure.hint or "see the lines above")
            continue
        yield await _started(subject, name, loaded, prepared)


async def _started(subject: str, name: str, loaded: Loaded, prepared: Prepared) -> Finding:
    spec = WorkerSpec.of(name, loaded.manifests[name], prepared, without_secrets(loaded.plan, os.environ))
    begun = time.monotonic()
    try:
        handed = await asyncio.to_thread(Vault().hand_over, loaded.plan, (name,))
        async with Generation(spec, handed[name].table):
            seconds = time.monotonic() - begun
    except (StartError, IsolationError) as failure:
        return error(subject, str(failure), failure.hint or "`penstock plugin check` tries it alone")
    kind = "command" if spec.command else f"environment {prepared.fingerprint[:12]}" if prepared.fingerprint else "bare"
    return ok(subject, f"{spec.plugin_name} {spec.version} starts in {seconds * 1000:.0f} ms ({kind})")
