"""A host's metrics as Prometheus sees them: the page, parsed by its client library, and asked for values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.parser import text_string_to_metric_families

from orchestrator.metrics.exposition import exposition
from orchestrator.orchestrator import Orchestrator

__all__ = ["Page", "scraped"]


class Page:
    """What stands on a page. `types` has the type of every metric, by its name as it is scraped."""

    def __init__(self, text: str) -> None:
        self.series: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.types: dict[str, str] = {}
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            self.types[name] = family.type
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.series, f"{key} stands twice"
                self.series[key] = sample.value

    def value(self, name: str, /, **labels: str) -> float:
        """One series; 0 where it is not there."""
        return self.series.get((name, frozenset(labels.items())), 0.0)

    def each(self, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
        """Every series of a metric, with its labels."""
        for (found, labels), value in self.series.items():
            if found == name:
                yield dict(labels), value

    def total(self, name: str, /, **labels: str) -> float:
        """The sum of all series with these labels, whatever else they have."""
        return sum(value for given, value in self.each(name) if labels.items() <= given.items())


def scraped(orchestrator: Orchestrator) -> Page:
    """Scrape a host."""
    body, _ = exposition(orchestrator)
    return Page(body.decode())
