"""The page that Prometheus reads, made by its client library. A registry for each scrape, never the global one."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from orchestrator.metrics.catalogue import CATALOGUE, Metric
from orchestrator.metrics.distribution import Distribution
from orchestrator.metrics.in_service import InService
from orchestrator.metrics.processes import ProcessFigures, host_figures, worker_figures
from orchestrator.metrics.reading import Figure, Reading, read

if TYPE_CHECKING:
    from orchestrator.orchestrator import Orchestrator

__all__ = ["MetricsCollector", "exposed", "exposition"]

SAMPLES_IN_A_ROW = 16
"""Written in a tenth of a millisecond or two."""

_PROCESS = {
    "resident_memory_bytes": "resident_bytes",
    "cpu_seconds_total": "cpu_seconds",
    "open_descriptors": "descriptors",
    "threads": "threads",
}
"""The end of a metric's name, and where its value stands."""


class MetricsCollector(Collector):
    """For an embedder with a registry of its own: `registry.register(MetricsCollector(orchestrator))`.

    It reads when it is collected, on the event loop's thread.
    """

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    def describe(self) -> list[Family]:
        """Say nothing: a registry that wants to know would collect."""
        return []

    def collect(self) -> Iterator[Family]:
        """Read everything anew."""
        return _Scrape(_reading(self._orchestrator)).collect()


def exposition(orchestrator: Orchestrator, accept: str = "") -> tuple[bytes, str]:
    """Make the page, and say of what content type it is. Call it on the event loop's thread.

    `accept` is the header of the request: OpenMetrics for those who ask for it.
    """
    return _page(_reading(orchestrator), accept)


async def exposed(orchestrator: Orchestrator, accept: str = "") -> tuple[bytes, str]:
    """Make the same page, most of it in another thread, so that calls hardly wait for it."""
    return await asyncio.to_thread(_page, _reading(orchestrator), accept)


def _reading(orchestrator: Orchestrator) -> Reading:
    return read(orchestrator.metrics, InService(orchestrator))


def _page(reading: Reading, accept: str) -> tuple[bytes, str]:
    registry = CollectorRegistry()
    registry.register(_Scrape(reading))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Paced(list[Sample]):
    """Samples that let go of the interpreter's lock now and then while they are written out.

    The lock changes hands by itself only every five milliseconds, and a call needs it several times.
    """

    def __iter__(self) -> Iterator[Sample]:
        for place, sample in enumerate(super().__iter__()):
            if not place % SAMPLES_IN_A_ROW:
                time.sleep(0)
            yield sample


class _Scrape(Collector):
    """What was read, in the library's words. May be collected in any thread."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def describe(self) -> list[Family]:
        """As MetricsCollector."""
        return []

    def collect(self) -> Iterator[Family]:
        """Group the figures by metric, in the order of the catalogue."""
        # Of two with the same labels the later counts: a generation may follow on one like it that still drains.
        found = defaultdict[str, dict[tuple[str, ...], float | Distribution]](dict)
        for name, labels, value in (*self._reading.figures, *_processes(self._reading)):
            found[name][labels] = value
        for name, metric in CATALOGUE.items():
            if name in found:
                yield _family(metric, found.pop(name))
        assert not found, f"not in the catalogue: {', '.join(found)}"


def _processes(reading: Reading) -> Iterator[Figure]:
    yield from _process("penstock_host", (), host_figures())
    for labels, pid in reading.workers.items():
        found = worker_figures(pid)
        if found is not None:
            yield from _process("penstock_worker", labels, found)


def _process(prefix: str, labels: tuple[str, ...], figures: ProcessFigures) -> Iterator[Figure]:
    for end, name in _PROCESS.items():
        value = getattr(figures, name)
        if value is not None and f"{prefix}_{end}" in CATALOGUE:
            yield f"{prefix}_{end}", labels, value


def _family(metric: Metric, figures: Mapping[tuple[str, ...], float | Distribution]) -> Family:
    family = Family(metric.name.removesuffix("_total"), metric.says, metric.kind.value)
    family.samples = _Paced()
    for values, value in figures.items():
        labels = dict(zip(metric.labels, values, strict=True))
        if isinstance(value, Distribution):
            _add_distribution(family, labels, value)
        else:
            family.add_sample(metric.name, labels, value)
    return family


def _add_distribution(family: Family, labels: dict[str, str], value: Distribution) -> None:
    below = 0
    for bound, count in zip((*map(repr, value.bounds), "+Inf"), value.counts, strict=True):
        below += count
        family.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, below)
    family.add_sample(f"{family.name}_sum", labels, value.total)
    family.add_sample(f"{family.name}_count", labels, below)
