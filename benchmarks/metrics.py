"""What a scrape costs a host of 24 plugins, and how much of it the calls have to wait for.

    uv run python benchmarks/metrics.py [--rounds N]

The host serves 24 plugins in 24 pipelines of three stages each. Reading holds the event loop; the rest, looking at the
processes and writing the page, is done in another thread when a daemon does it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from isolation.store.store import Store, default_store_root
from orchestrator.loading import load
from orchestrator.metrics.exposition import exposed, exposition
from orchestrator.metrics.in_service import InService
from orchestrator.metrics.reading import read
from orchestrator.orchestrator import Orchestrator

PLUGINS = 24
CALLS_A_SCRAPE = 50
PLUGIN = Path(__file__).parent / "plugins" / "echo_stdlib"


def _file() -> str:
    """Write the pipeline file; JSON is YAML."""
    names = [f"p{number}" for number in range(PLUGINS)]
    uses = [[names[(place + step) % PLUGINS] for step in range(3)] for place in range(PLUGINS)]
    stages = [
        {f"s{step}": {"uses": f"{plugin}/pass_through", "breaker": "steady"} for step, plugin in enumerate(used)}
        for used in uses
    ]
    return json.dumps(
        {
            "version": 1,
            "name": "many",
            "plugins": {name: {"source": str(PLUGIN)} for name in names},
            "policies": {"breakers": {"steady": {"window": 20}}},
            "hooks": {f"h{place}": {"payload": {"name": "string"}} for place in range(PLUGINS)},
            "pipelines": {f"l{place}": {"hook": f"h{place}", "stages": stages[place]} for place in range(PLUGINS)},
        }
    )


async def _measure(folder: Path, rounds: int) -> None:
    (folder / "pipeline.yaml").write_text(_file())
    reads, pages = list[float](), list[float]()
    with Store(default_store_root()) as store:
        async with Orchestrator(load(folder), store, state=folder / "state", rehearsal=True) as penstock:
            for place in range(PLUGINS):
                await penstock.invoke(f"h{place}", {"name": "x"})
            service = InService(penstock)
            body = exposition(penstock)[0]
            for _ in range(rounds):
                begun = time.perf_counter()
                read(penstock.metrics, service)
                reads.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                exposition(penstock)
                pages.append(time.perf_counter() - begun)
                await asyncio.sleep(0)
            alone, beside = await _calls(penstock, rounds, scrapes=False), await _calls(penstock, rounds, scrapes=True)
    series = sum(not line.startswith(b"#") for line in body.splitlines())
    print(f"{PLUGINS} plugins, {series} series, {len(body) / 1024:.0f} KiB")
    print(f"on the event loop  {statistics.median(reads) * 1e3:.1f} ms at the median, {max(reads) * 1e3:.1f} at most")
    print(f"the whole scrape   {statistics.median(pages) * 1e3:.1f} ms at the median, {max(pages) * 1e3:.1f} at most")
    print(f"calls alone        {_quantiles(alone)}")
    print(f"beside scrapes     {_quantiles(beside)}")


async def _calls(penstock: Orchestrator, rounds: int, *, scrapes: bool) -> list[float]:
    """Call, one call at a time, while the page is made as often as there are rounds, or nothing is."""
    took = list[float]()
    for _ in range(rounds):
        page = asyncio.ensure_future(exposed(penstock)) if scrapes else None
        for _ in range(CALLS_A_SCRAPE):
            begun = time.perf_counter()
            await penstock.invoke("h0", {"name": "x"})
            took.append(time.perf_counter() - begun)
        if page is not None:
            await page
    return sorted(took)


def _quantiles(took: list[float]) -> str:
    p50, p99, most = (took[int(len(took) * share)] * 1e3 for share in (0.5, 0.99, 0.9999))
    return f"{p50:.2f} ms at the median, {p99:.2f} at p99, {most:.1f} at most"


def main() -> None:
    """Serve, scrape, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(_measure(Path(folder), rounds))


if __name__ == "__main__":
    main()
