"""A real host, scraped: what the page says is what happened, docs/metrics.md names all of it, and it stays bounded."""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from scraping import Page, scraped
from shop import write_shop

from isolation.errors import ExitReport
from isolation.status import WorkerEnded, WorkerReady
from isolation.store.store import Store
from orchestrator.control.commands import Control
from orchestrator.door import DoorError
from orchestrator.engine.engine import UnknownHook, UnknownPipeline
from orchestrator.events import Event, RevisionGone
from orchestrator.loading import load
from orchestrator.metrics.catalogue import CATALOGUE, Kind
from orchestrator.metrics.exposition import MetricsCollector, exposed, exposition
from orchestrator.orchestrator import Orchestrator
from orchestrator.revisions.refusal import ChangeNotMade
from orchestrator.revisions.trial import Trial
from pipelines.plan import DEFAULT_ABORT, SplitPlan

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "metrics.md"

WAIT_SECONDS = 60.0

PATIENT = "restart: { intensity: 1000, period: 1m, backoff: { initial: 1ms, max: 1ms } }"

SAYS = """

@plugin.stage("say")
def say(call):
    code = call.payload["args"]["code"]
    return call.deny(code, "not today", out={"said": [code, "always"], "word": code})
"""

SAYS_MANIFEST = """
[tool.penstock.stages.say]
outputs = { said = "list", word = "string" }
counts = ["said", "word"]
"""

SAYS_PIPELINE = """
  say:
    hook: look
    match: "payload.name == 'say'"
    stages:
      say: { uses: till/say }
"""


def write_patient_shop(folder: Path) -> Path:
    """A shop whose workers may die as often as they like, and with a stage that says any code."""
    shop = write_shop(folder)
    file = shop / "pipeline.yaml"
    text = file.read_text()
    assert "restart: { intensity: 0, period: 1m }" in text
    text = text.replace("restart: { intensity: 0, period: 1m }", PATIENT)
    assert "  look:\n    hook: look\n" in text
    text = text.replace("  look:\n    hook: look\n", "  look:\n    hook: look\n    match: \"payload.name != 'say'\"\n")
    file.write_text(text + SAYS_PIPELINE.lstrip("\n"))
    (shop / "till" / "pyproject.toml").open("a").write(SAYS_MANIFEST)
    (shop / "till" / "plugin.py").open("a").write(SAYS)
    return shop


@asynccontextmanager
async def serving(folder: Path, store: Store) -> AsyncIterator[tuple[Orchestrator, Path]]:
    shop = write_patient_shop(folder / "shop")
    orchestrator = Orchestrator(load(shop), store, state=folder / "state")
    async with asyncio.timeout(WAIT_SECONDS), orchestrator:
        yield orchestrator, shop


def order(shop: Path, wish: str = "", name: str = "bread", **more: str) -> Mapping[str, object]:
    return {"name": name, "args": {"wish": wish, "drawer": str(shop), **more}}


@asynccontextmanager
async def hearing(orchestrator: Orchestrator, kind: type[Event]) -> AsyncIterator[None]:
    """Go on when an event of this kind was heard."""
    heard = asyncio.Event()
    leave = orchestrator.events.subscribe(lambda event: heard.set(), (kind,))
    yield
    await heard.wait()
    leave()


async def kill_a_worker(orchestrator: Orchestrator) -> str:
    """End the plugin's worker and wait until another one serves; return its name."""
    [worker] = orchestrator.generations["till"].workers
    async with hearing(orchestrator, WorkerReady):
        os.kill(worker.pid, signal.SIGKILL)
    [other] = orchestrator.generations["till"].workers
    assert other.name != worker.name
    return other.name


async def refused(orchestrator: Orchestrator) -> None:
    """Come to the door with each thing that it does not take."""
    with pytest.raises(UnknownHook):
        await orchestrator.invoke("lok", {})
    with pytest.raises(UnknownPipeline):
        await orchestrator.invoke("look", {}, pipeline="lok")
    with pytest.raises(DoorError):
        await orchestrator.invoke("look", b"[]")


async def live(orchestrator: Orchestrator, shop: Path) -> None:
    """Do all that a host can do: allow, deny, fail, undo, park, break, restart, refuse."""
    for wish in ("", "deny", "die", "", "deny"):
        async with hearing(orchestrator, WorkerReady) if wish == "die" else _nothing():
            await orchestrator.invoke("look", order(shop, wish))
        await orchestrator.conclude(await orchestrator.invoke("order", order(shop, "deny" if wish else "")))
    await orchestrator.conclude(await orchestrator.invoke("offer", order(shop)))
    await orchestrator.invoke("look", order(shop, name="say", code="till.closed"))
    (shop / "stuck").touch()
    await orchestrator.conclude(await orchestrator.invoke("order", order(shop, "deny")))
    await Control(orchestrator).perform("breakers.open", {"name": "till/weigh", "reason": "away"})
    await orchestrator.invoke("look", order(shop))
    await refused(orchestrator)
    split = SplitPlan(5.0, "", DEFAULT_ABORT)  # type: ignore[arg-type]  # nobody is asked for a key here
    orchestrator.revisions.living.trial = Trial(orchestrator.revisions.current, 0, {"look": split}, lambda reason: None)


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def test_what_is_counted_is_what_the_memory_of_runs_has(tmp_path: Path, store: Store) -> None:
    """Two who looked at the same runs: verdicts, stages with their tries, codes, errors, undos."""

    async def go() -> tuple[Page, list[dict[str, object]]]:
        async with serving(tmp_path, store) as (orchestrator, shop):
            await live(orchestrator, shop)
            return scraped(orchestrator), [entry.record() for entry in orchestrator.ring.entries()]

    page, records = asyncio.run(go())
    assert _runs(page) == Counter((r["hook"], r["pipeline"], r["verdict"]) for r in records)
    stages = [(r, id, stage) for r in records for id, stage in _objects(r["stages"])]
    assert _counted(page, "penstock_stages_total", "pipeline", "stage", "state") == Counter(
        (r["pipeline"], id, stage["state"]) for r, id, stage in stages
    )
    tries = Counter[tuple[object, ...]]()
    for record, id, stage in stages:
        tries[record["pipeline"], id] += int(str(stage["attempts"]))
    assert _counted(page, "penstock_stage_attempts_total", "pipeline", "stage") == +tries
    assert _counted(page, "penstock_errors_total", "pipeline", "stage", "class", "code") == Counter(
        (r["pipeline"], id, error["class"], error["code"])
        for r, id, stage in stages
        if isinstance(error := stage["error"], dict)
    )
    assert _counted(page, "penstock_denials_total", "pipeline", "code") == Counter(
        (r["pipeline"], violation["code"]) for r in records if isinstance(violation := r["violation"], dict)
    )
    assert _counted(page, "penstock_undos_total", "pipeline", "stage", "outcome") == Counter(
        (r["pipeline"], id, undo["state"]) for r, id, stage in stages if isinstance(undo := stage["undo"], dict)
    )
    assert page.total("penstock_runs_parked_total") == sum(r["status"] == "parked" for r in records) == 1
    for pipeline in ("look", "order", "offer", "say"):
        took = sum(float(str(r["duration_ms"])) for r in records if r["pipeline"] == pipeline) / 1000
        assert page.value("penstock_run_duration_seconds_sum", pipeline=pipeline) == pytest.approx(took, abs=1e-4)


def _objects(value: object) -> list[tuple[str, Mapping[str, object]]]:
    assert isinstance(value, dict)
    return list(value.items())


def _runs(page: Page) -> Counter[tuple[object, ...]]:
    return _counted(page, "penstock_runs_total", "hook", "pipeline", "verdict")


def _counted(page: Page, name: str, *labels: str) -> Counter[tuple[object, ...]]:
    found = Counter[tuple[object, ...]]()
    for given, value in page.each(name):
        found[tuple(given[label] for label in labels)] += int(value)
    return +found


def test_the_page_names_every_metric_and_no_other(tmp_path: Path, store: Store) -> None:
    """Both ways: what a host shows that did everything, and what docs/metrics.md has; type and labels too."""

    async def go() -> Page:
        async with serving(tmp_path, store) as (orchestrator, shop):
            await live(orchestrator, shop)
            return scraped(orchestrator)

    page = asyncio.run(go())
    shown = {
        name: (type, _labels(page, name if type != "histogram" else f"{name}_sum")) for name, type in page.types.items()
    }
    documented = {
        name: (type, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, type, labels in re.findall(r"^\| `(penstock_\w+)` \| (\w+) \| ([^|]*) \|", PAGE.read_text(), re.M)
    }
    if sys.platform != "linux":
        documented = {name: one for name, one in documented.items() if name in shown or "Linux" not in _says(name)}
    assert shown == documented


def _labels(page: Page, name: str) -> frozenset[str]:
    [labels] = {frozenset(labels) for labels, _ in page.each(name)}
    return labels


def _says(name: str) -> str:
    return CATALOGUE[name].says


def test_docs_metrics_is_made_from_the_catalogue() -> None:
    """`python docs/generate.py` writes it."""
    assert runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()["metrics.md"] == PAGE.read_text()


def test_names_follow_the_rules_of_prometheus() -> None:
    """Counters end in `_total`, and everything in a base unit or in what it counts."""
    for metric in CATALOGUE.values():
        assert metric.name.startswith("penstock_")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent|minutes)(_|$)", metric.name)
        assert metric.kind is not Kind.HISTOGRAM or metric.name.endswith("_seconds")
        assert "le" not in metric.labels


def test_everything_that_the_promql_of_the_page_asks_for_is_there() -> None:
    asked = re.findall(r"penstock_\w+", PAGE.read_text().split("## What to watch")[1])
    names = set(CATALOGUE) | {f"{metric.name}_bucket" for metric in CATALOGUE.values()}
    assert asked and set(asked) <= names


def test_a_killed_worker_is_a_restart_and_leaves_no_series(tmp_path: Path, store: Store) -> None:
    async def go() -> tuple[Page, str, Page]:
        async with serving(tmp_path, store) as (orchestrator, _):
            before = scraped(orchestrator)
            name = await kill_a_worker(orchestrator)
            return before, name, scraped(orchestrator)

    before, name, after = asyncio.run(go())
    assert _workers(before) == {"till#1"}
    assert _workers(after) == {name}
    for kind, was, now in (("unplanned", 0, 1), ("planned", 0, 0)):
        assert before.value("penstock_plugin_worker_ends_total", plugin="till", kind=kind) == was
        assert after.value("penstock_plugin_worker_ends_total", plugin="till", kind=kind) == now
    assert after.value("penstock_plugin_restarts_total", plugin="till") == 1
    assert after.value("penstock_plugin_replicas_ready", plugin="till") == 1
    assert after.value("penstock_plugin_replicas_wanted", plugin="till") == 1
    assert after.value("penstock_plugin_state", plugin="till", state="running") == 1
    if sys.platform == "linux":
        assert after.total("penstock_worker_resident_memory_bytes", worker=name) > 2**20
        assert after.total("penstock_worker_open_descriptors", worker=name) >= 3


def _workers(page: Page) -> set[str]:
    found = {labels["worker"] for labels, _ in page.each("penstock_worker_calls_in_flight")}
    if sys.platform == "linux":
        assert found == {labels["worker"] for labels, _ in page.each("penstock_worker_cpu_seconds_total")}
    return found


def test_a_reload_shows_and_leaves_nothing_of_the_old_generation(tmp_path: Path, store: Store) -> None:
    """The plugin's code changes under a run that still needs the old one; then the file is broken."""

    async def go() -> tuple[Page, Page, Page]:
        async with serving(tmp_path, store) as (orchestrator, shop):
            confirmed = await orchestrator.invoke("offer", order(shop))
            (shop / "till" / "plugin.py").open("a").write("\n# another one\n")
            before = scraped(orchestrator)
            await orchestrator.revisions.apply("uid:1")
            meanwhile = scraped(orchestrator)
            async with hearing(orchestrator, RevisionGone):
                await orchestrator.conclude(confirmed)
            (shop / "pipeline.yaml").open("a").write("nothing: known\n")
            with pytest.raises(ChangeNotMade):
                await orchestrator.revisions.apply("uid:1")
            return before, meanwhile, scraped(orchestrator)

    before, meanwhile, after = asyncio.run(go())
    assert [page.value("penstock_revision") for page in (before, meanwhile, after)] == [1, 2, 2]
    assert [page.value("penstock_revisions_draining") for page in (before, meanwhile, after)] == [0, 1, 0]
    assert [page.value("penstock_generations_draining") for page in (before, meanwhile, after)] == [0, 1, 0]
    assert [len(_generations(page)) for page in (before, meanwhile, after)] == [1, 2, 1]
    assert _generations(after) == _generations(meanwhile) - _generations(before)
    assert after.value("penstock_changes_total", outcome="applied") == 1
    assert after.value("penstock_changes_total", outcome="refused") == 1
    assert after.value("penstock_calls_total", hook="offer", verdict="allow") == 1, "what counts goes on counting"


def _generations(page: Page) -> set[str]:
    found = {labels["generation"] for labels, _ in page.each("penstock_generation_age_seconds")}
    assert found == {labels["generation"] for labels, _ in page.each("penstock_breaker_state")}
    return found


def test_no_caller_no_plugin_and_no_crash_makes_series_without_end(tmp_path: Path, store: Store) -> None:
    """Thousands of codes, tenants, ended workers: the page grows by one series a code up to 20, a value up to 100."""

    async def go() -> tuple[Page, Page]:
        async with serving(tmp_path, store) as (orchestrator, shop):
            await live(orchestrator, shop)
            for number in range(110):
                await say(orchestrator, shop, number)
            before = scraped(orchestrator)
            for number in range(110, 2500):
                await say(orchestrator, shop, number)
                orchestrator.events.publish(_ended(number))
            for _ in range(3):
                await kill_a_worker(orchestrator)
            return before, scraped(orchestrator)

    async def say(orchestrator: Orchestrator, shop: Path, number: int) -> None:
        context = {"tenant": f"tenant{number}", "request_id": f"r-{number}", "user": {"id": f"u{number}"}}
        code = f'till.{number}\n"{{' + "\U0001f600" * (number % 70)
        await orchestrator.invoke("look", order(shop, name="say", code=code), context)

    before, after = asyncio.run(go())
    assert len(after.series) == len(before.series)
    assert after.total("penstock_denials_total", pipeline="say") == 2501
    assert after.value("penstock_denials_total", pipeline="say", stage="say", code="other") == 2501 - 20
    words = {"pipeline": "say", "stage": "say", "output": "word"}
    assert after.total("penstock_stage_outputs_total", **words) == 2501
    assert after.value("penstock_stage_outputs_total", **words, value="other") == 2501 - 100
    always = {**words, "output": "said", "value": "always"}
    assert after.value("penstock_stage_outputs_total", **always) == 2501
    assert not [key for key in after.series if any("tenant" in value for _, value in key[1])]


def _ended(number: int) -> WorkerEnded:
    return WorkerEnded("till", "0" * 64, f"till#{number}", False, ExitReport(signal=9))


def test_a_scrape_is_openmetrics_for_who_asks_for_it(tmp_path: Path, store: Store) -> None:
    """Parsed by the stricter of the library's two parsers."""

    async def go() -> tuple[tuple[bytes, str], tuple[bytes, str], tuple[bytes, str]]:
        async with serving(tmp_path, store) as (orchestrator, shop):
            await live(orchestrator, shop)
            accept = "application/openmetrics-text; version=1.0.0"
            return exposition(orchestrator), exposition(orchestrator, accept), await exposed(orchestrator, accept)

    (_, plain), (body, type), (same, same_type) = asyncio.run(go())
    assert plain.startswith("text/plain; version=")
    assert type == same_type
    assert type.startswith("application/openmetrics-text")
    names = [{family.name for family in openmetrics(page.decode())} for page in (body, same)]  # type: ignore[no-untyped-call]  # the library's
    assert names[0] == names[1] == {name.removesuffix("_total") for name in CATALOGUE}


def test_hosts_have_nothing_in_common_and_fit_into_an_embedders_registry(tmp_path: Path, store: Store) -> None:
    async def go() -> tuple[Page, Page, Page]:
        async with serving(tmp_path / "one", store) as (one, shop), serving(tmp_path / "two", store) as (two, _):
            await one.invoke("look", order(shop))
            registry = CollectorRegistry()
            registry.register(MetricsCollector(one))
            return scraped(one), scraped(two), Page(generate_latest(registry).decode())

    one, two, own = asyncio.run(go())
    pages = [page.value("penstock_calls_total", hook="look", verdict="allow") for page in (one, two, own)]
    assert pages == [1, 0, 1]
    assert set(own.series) == set(one.series)
