"""Overrides by command as they are loaded, archived, run and shown."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console
from shop import write_shop

from isolation.store.store import Prepared, Store
from orchestrator.cli.run_tables import run_view
from orchestrator.loading import Loaded, load, reload
from orchestrator.orchestrator import Orchestrator
from orchestrator.revisions.archive import archived, read_archive
from pipelines.file.overriding import LAYER, Override
from pipelines.file.tree import find
from pipelines.plan import Mode
from pipelines.problem import SpecError

WAIT_SECONDS = 60.0
OVERRIDE = Override("order/weigh", Mode.PERMISSIVE, 1_700_000_000.0, "INC-7: the scales are off", "uid:1000")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder of a shop."""
    return write_shop(tmp_path / "shop")


def modes(loaded: Loaded) -> dict[str, tuple[Mode, str]]:
    """Of each stage of `order` its mode and why it was overridden."""
    (order,) = loaded.plan.routes["order"]
    return {stage.id: (stage.variants[-1].mode, stage.overridden) for stage in order.stages}


def test_a_file_is_loaded_with_overrides_and_its_tree_tells_them(shop: Path) -> None:
    loaded = load(shop, overrides=[OVERRIDE])
    assert modes(loaded) == {"pay": (Mode.ENFORCE, ""), "weigh": (Mode.PERMISSIVE, OVERRIDE.reason)}
    found = find(loaded.tree, ("pipelines", "order", "stages", "weigh", "mode")).value
    assert found.layer == LAYER
    assert loaded.plan.routes["look"][0].stages[0].overridden == "", "another pipeline has a stage of that name"


def test_what_cannot_be_overridden_is_refused_as_a_wrong_file_is(shop: Path) -> None:
    with pytest.raises(SpecError, match="no pipeline has a stage 'wigh' to override; did you mean 'weigh'"):
        load(shop, overrides=[Override("wigh", Mode.DISABLED, 0.0, "INC-7", "uid:1000")])


def test_a_plan_is_made_again_with_the_overrides_that_it_had(shop: Path) -> None:
    """Also when the file says something else by now, and when the time of the override is over."""
    loaded = load(shop, overrides=[OVERRIDE])
    (shop / "pipeline.yaml").write_text("gone")
    again = reload(loaded.archive, {})
    assert loaded.archive.overrides == (OVERRIDE,)
    assert modes(again) == modes(loaded) and again.archive == loaded.archive


def test_an_archived_plan_keeps_its_overrides_and_one_without_is_another_plan(shop: Path) -> None:
    plugin = Prepared("till", shop / "till", None, Path("/usr/bin/python3"), None, "0" * 64, None)
    with_it, without = (archived(load(shop, overrides=some), {"till": plugin}) for some in ([OVERRIDE], []))
    assert with_it[0] != without[0]
    assert modes(read_archive(with_it[1]).load()) == modes(load(shop, overrides=[OVERRIDE]))
    assert read_archive(without[1]).overrides == ()


def test_an_overridden_stage_lets_pass_what_it_would_deny_and_the_run_says_so(
    shop: Path, store: Store, tmp_path: Path
) -> None:
    payload = {"name": "bread", "args": {"wish": "deny"}}

    async def go(loaded: Loaded) -> dict[str, object]:
        orchestrator = Orchestrator(loaded, store, state=tmp_path / "state")
        async with asyncio.timeout(WAIT_SECONDS), orchestrator:
            result = await orchestrator.invoke("order", payload)
            await orchestrator.conclude(result)
            (record,) = result.records
            remembered = orchestrator.ring.find(str(record["run_id"]))
            assert remembered is not None and remembered.record()["stages"]["weigh"]["override"] == shown(record)  # type: ignore[index]
            return record

    def shown(record: dict[str, object]) -> object:
        stages = record["stages"]
        assert isinstance(stages, dict) and stages["pay"]["override"] is None
        return stages["weigh"]["override"]

    overridden = asyncio.run(go(load(shop, overrides=[OVERRIDE])))
    assert (overridden["verdict"], shown(overridden)) == ("allow", OVERRIDE.reason)
    screen = Console(width=200, file=io.StringIO())
    screen.print(run_view(overridden, now=0.0))
    assert f"overridden: {OVERRIDE.reason}" in screen.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO
    plain = asyncio.run(go(load(shop)))
    assert (plain["verdict"], shown(plain)) == ("deny", None)
