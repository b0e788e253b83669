"""What plan predicts is what apply does: random edits of the files, each planned, then applied, then looked at."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from changing import BOUND_SECONDS, BY, Yard, children, marks
from wheelhouse import DISTRIBUTIONS, Index

from isolation.store.store import Store
from orchestrator.events import RevisionGone
from orchestrator.orchestrator import Orchestrator
from orchestrator.reload.change import Action
from orchestrator.revisions.history import Outcome
from orchestrator.revisions.refusal import ChangeNotMade

STEPS = 14
STAY = {Action.KEEP, Action.RECONFIGURE}

Processes = dict[str, set[int]]
_T = TypeVar("_T")


@dataclass
class Editor:
    """Makes one small edit after the other; what it makes of the files is right unless it says so."""

    yard: Yard
    draw: random.Random
    count: int = 1
    plugins: dict[str, dict[str, object]] = field(
        default_factory=lambda: {name: {"version": f"{name}1"} for name in "ab"}
    )

    def edit(self) -> str:
        """Make one; return its name."""
        edits: list[Callable[[], None]] = [
            self.code,
            self.code,
            self.configuration,
            self.replicas,
            self.dependency,
            self.pipeline,
            self.plugin,
            self.alone,
            self.nothing,
            self.crash,
            self.mistake,
            self.unknown_dependency,
        ]
        edit = self.draw.choice(edits)
        self.count += 1
        edit()
        return edit.__name__

    def _any(self) -> str:
        return self.draw.choice(sorted(self.plugins))

    def _write(self, name: str, more: str = "") -> None:
        how = self.plugins[name]
        self.yard.plugin(
            name,
            str(how["version"]),
            alone=bool(how.get("alone")),
            requires=str(how.get("requires", "")),
            more=more,
        )

    def code(self) -> None:
        name = self._any()
        self.plugins[name]["version"] = str(self.count)
        self._write(name)

    def configuration(self) -> None:
        self.yard.set_with(self._any(), self.draw.choice([None, 1, 2]))

    def replicas(self) -> None:
        self.yard.file["plugins"][self._any()]["replicas"] = self.draw.choice([1, 2])
        self._only_one_that_is_alone()
        self.yard.save()

    def dependency(self) -> None:
        name = self._any()
        self.plugins[name]["requires"] = self.draw.choice(["", "alpha==1.0", "alpha==2.0", "beta==1.0"])
        (self.yard.folder / name / "uv.lock").unlink(missing_ok=True)
        self._write(name)

    def pipeline(self) -> None:
        name = self.draw.choice(sorted(self.yard.file["pipelines"]))
        self.yard.file["pipelines"][name]["deadline"] = self.draw.choice(["20s", "30s"])
        self.yard.save()

    def plugin(self) -> None:
        if "c" in self.plugins:
            del self.plugins["c"], self.yard.file["plugins"]["c"], self.yard.file["pipelines"]["third"]
        else:
            self.plugins["c"] = {"version": "c1"}
            self.yard.file["plugins"]["c"] = {"source": "./c"}
            self.yard.file["pipelines"]["third"] = {"hook": "ask", "stages": {"mark": {"uses": "c/mark"}}}
            self._write("c")
        self.yard.save()

    def alone(self) -> None:
        how = self.plugins["b"]
        how["alone"] = not how.get("alone")
        self._only_one_that_is_alone()
        self._write("b")
        self.yard.save()

    def _only_one_that_is_alone(self) -> None:
        if self.plugins["b"].get("alone"):
            self.yard.file["plugins"]["b"]["replicas"] = 1

    def nothing(self) -> None:
        self.yard.path.write_text(self.yard.path.read_text() + "\n")

    def crash(self) -> None:
        self._write(self._any(), "import nonsense\n")

    def mistake(self) -> None:
        self.yard.path.write_text(self.yard.path.read_text().replace('/mark"', '/mrak"', 1))

    def unknown_dependency(self) -> None:
        name = self._any()
        (self.yard.folder / name / "uv.lock").unlink(missing_ok=True)
        self.yard.plugin(name, "x", requires="there-is-no-such-distribution==1.0")

    def mend(self) -> None:
        """Take back what was wrong."""
        for name in self.plugins:
            lock = self.yard.folder / name / "uv.lock"
            if not self.plugins[name].get("requires"):
                lock.unlink(missing_ok=True)
            self._write(name)
        self.yard.save()


def processes(inside: Orchestrator) -> Processes:
    """The workers of every plugin in service."""
    return {name: {worker.pid for worker in each.workers} for name, each in inside.generations.items()}


async def outcome_of(change: Awaitable[_T]) -> _T | ChangeNotMade:
    """What came of it, a refusal included."""
    try:
        return await change
    except ChangeNotMade as error:
        return error


async def check(yard: Yard, inside: Orchestrator) -> str:
    """Plan, apply and look; return what happened."""
    before, running, number = processes(inside), children(), inside.revisions.current.number
    gone = len(yard.told(RevisionGone))
    foreseen = await outcome_of(inside.revisions.plan())
    assert (children(), inside.revisions.current.number) == (running, number)
    applied = await outcome_of(inside.revisions.apply(BY))
    if isinstance(applied, ChangeNotMade):
        replaced = set[str]()
        if isinstance(foreseen, ChangeNotMade):
            assert (foreseen.code, foreseen.where, str(foreseen)) == (applied.code, applied.where, str(applied))
        else:
            assert applied.code == "penstock.start"
            replaced = {name for name, action in foreseen.change.plugins.items() if action is Action.REPLACE}
        await yard.until(lambda: children() == set().union(*processes(inside).values()))
        # What bears no second may have been stopped for its successor; it is there again.
        assert {name for name in before if processes(inside)[name] != before[name]} <= replaced
        assert inside.revisions.current.number == number
        return "refused"
    assert not isinstance(foreseen, ChangeNotMade)
    assert foreseen.change.record() == applied.change.record()
    assert foreseen.outcome == applied.outcome
    assert foreseen.change.empty == (applied.outcome is None)
    after = processes(inside)
    for name, action in foreseen.change.plugins.items():
        assert (after.get(name) == before.get(name)) == (action in STAY), (name, action)
        assert not (after.get(name, set()) & before.get(name, set())) or action in STAY
    for each in foreseen.change.start:
        assert inside.generations[each.plugin].spec.digest == each.digest
    for build in foreseen.change.build:
        assert (yard.store / "environments" / build.fingerprint).is_dir()
    if applied.outcome is Outcome.APPLIED:
        await yard.until(lambda: len(yard.told(RevisionGone)) == gone + 1)
    assert children() == set().union(*after.values())
    return "unchanged" if applied.outcome is None else "applied"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for everything that the seeds have in common."""
    return tmp_path_factory.mktemp("wheels")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_plan_predicts_is_what_apply_does(tmp_path: Path, wheels: Path, seed: int) -> None:
    async def main(index: Index) -> None:
        yard = Yard(tmp_path / "yard", tmp_path / "store")
        editor, seen = Editor(yard, random.Random(seed)), set[str]()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")} | {
            "UV_CACHE_DIR": str(wheels / "cache"),
            "UV_DEFAULT_INDEX": index.url,
            "UV_HTTP_RETRIES": "0",
            "NO_PROXY": "127.0.0.1",
        }
        with Store(yard.store, environment=environment) as store:
            async with yard.served(store, within_seconds=10 * BOUND_SECONDS) as inside:
                for _ in range(STEPS):
                    edit = editor.edit()
                    end = await check(yard, inside)
                    seen.add(end)
                    assert (end == "refused") == (edit in ("crash", "mistake", "unknown_dependency")), edit
                    if end == "refused":
                        editor.mend()
                        assert await check(yard, inside) == "unchanged"
                    expected = [how["version"] for how in editor.plugins.values()]
                    assert [version for _, version, _ in marks(await yard.ask(inside))] == expected
        assert seen == {"refused", "applied", "unchanged"}

    with Index(DISTRIBUTIONS) as index:
        asyncio.run(main(index))
