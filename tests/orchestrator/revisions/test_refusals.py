"""What is wrong with a change is told with code, place and reason, and leaves everything as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from changing import BY, Yard, children, marks, refusal_of

from orchestrator.events import ChangeApplied, ChangeRefused, RevisionDraining
from orchestrator.orchestrator import Orchestrator
from orchestrator.revisions.history import Outcome
from orchestrator.revisions.refusal import ChangeNotMade

SLOW = "limits = { startup = '200ms' }"
SILENT = "import threading\nthreading.Event().wait()\n"
NOT_A_PENSTOCK = """\
import sys
sys.stdin.readline()
print('{"jsonrpc":"2.0","id":1,"result":{"protocol":99}}', flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def untouched(yard: Yard, inside: Orchestrator, code: str) -> AsyncIterator[list[ChangeNotMade]]:
    """What is refused inside, with this code, must leave no trace but the three that tell of it."""
    revisions = inside.revisions
    workers = {name: each.workers for name, each in inside.generations.items()}
    before = (revisions.current, inside.engine.serving, workers, children())
    entries = len(revisions.history.entries)
    refused: list[ChangeNotMade] = []
    yield refused
    assert (revisions.current, inside.engine.serving) == before[:2]
    assert {name: each.workers for name, each in inside.generations.items()} == before[2]
    assert children() == before[3]
    assert marks(await yard.ask(inside)) == [("a", "a1", None), ("b", "b1", None)]
    assert revisions.history.next_number == 2
    assert (yard.told(ChangeApplied), yard.told(RevisionDraining)) == ([], [])
    (error,) = refused
    assert error.code == code
    told = ChangeRefused(BY, error.code, str(error), error.where)
    assert yard.told(ChangeRefused) == [told]
    (entry,) = revisions.history.entries[entries:]
    assert (entry.outcome, entry.number, entry.by) == (Outcome.REFUSED, 0, BY)
    assert (entry.code, entry.reason, entry.where) == (error.code, str(error), error.where)
    assert revisions.refused == entry


def test_a_mistake_in_the_file(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside, untouched(yard, inside, "penstock.lint") as refused:
            yard.path.write_text(yard.path.read_text().replace('"a/mark"', '"a/mrak"'))
            refused.append(await refusal_of(inside.revisions.apply(BY)))
            file, line, column = refused[0].where.rsplit(":", 2)
            assert file.endswith("pipeline.yaml")
            assert int(column) > 0
            assert "a/mrak" in yard.path.read_text().splitlines()[int(line) - 1]
            assert "mark" in str(refused[0])

    asyncio.run(main())


def test_a_mistake_in_a_manifest(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside, untouched(yard, inside, "penstock.lint") as refused:
            yard.plugin("a", "a2", manifest="relaod = 'overlap'")
            refused.append(await refusal_of(inside.revisions.apply(BY)))
            assert "a/pyproject.toml" in refused[0].where or "pipeline.yaml" in refused[0].where
            assert "relaod" in str(refused[0])

    asyncio.run(main())


def test_a_secret_that_is_not_to_be_had(yard: Yard) -> None:
    async def main() -> None:
        token = yard.secret("a", "a1")
        async with yard.served() as inside, untouched(yard, inside, "penstock.secret") as refused:
            token.unlink()
            refused.append(await refusal_of(inside.revisions.apply(BY)))
            assert str(token) in str(refused[0])
            assert str(refused[0]).startswith(f"{refused[0].where}: "), "file, line and column of the secret"
            assert refused[0].where.count(":") == 2

    asyncio.run(main())


def test_an_environment_that_cannot_be_built(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside, untouched(yard, inside, "penstock.environment") as refused:
            yard.plugin("a", "a2", requires="there-is-no-such-distribution==1.0")
            refused.append(await refusal_of(inside.revisions.apply(BY)))
            assert refused[0].where == "a"
            assert "there-is-no-such-distribution" in str(refused[0])

    asyncio.run(main())


def test_an_environment_is_told_by_the_name_that_its_plugin_has_in_the_file(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            for name in ("a", "b"):
                yard.plugin(name, "more", requires="there-is-no-such-distribution==1.0")
                manifest = yard.folder / name / "pyproject.toml"
                manifest.write_text(manifest.read_text().replace(f'name = "{name}"', f'name = "of-some-firm-{name}"'))
                for asked in (inside.revisions.plan, lambda: inside.revisions.apply(BY)):
                    error = await refusal_of(asked())
                    assert error.where == ("a" if name == "a" else "a, b")
                    assert str(error).startswith(f"{error.where}: ")
                    assert "of-some-firm" not in str(error).split("\n")[0]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("more", "manifest", "reason"),
    [
        ("import nonsense\n", "", "nonsense"),
        ("import os\nos._exit(7)\n", "", "7"),
        (SILENT, SLOW, "a"),
        ("del plugin.stages['take']\n", "", "a"),
    ],
    ids=["raises", "exits", "is too slow", "lacks a stage"],
)
def test_a_plugin_that_does_not_start(yard: Yard, more: str, manifest: str, reason: str) -> None:
    async def main() -> None:
        async with yard.served() as inside, untouched(yard, inside, "penstock.start") as refused:
            yard.plugin("a", "a2", more=more, manifest=manifest)
            yard.plugin("b", "b2")  # which starts well, and must not stay
            refused.append(await refusal_of(inside.revisions.apply(BY)))
            assert refused[0].where == "a"
            assert reason in str(refused[0])

    asyncio.run(main())


def test_what_the_log_says_of_it_is_not_taken_for_the_generation_that_serves(
    yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            yard.plugin("a", "a2", more="import nonsense\n")
            await refusal_of(inside.revisions.apply(BY))
            records = [record.__dict__ for record in caplog.records if record.getMessage() == "generation.failed"]
            names = {record["generation"] for record in records}
            assert len(names) == 1
            assert names.isdisjoint(each.spec.name for each in inside.generations.values())

    asyncio.run(main())


def test_a_program_that_answers_the_handshake_wrongly(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside, untouched(yard, inside, "penstock.start") as refused:
            yard.plugin("a", "a2", manifest="command = ['python3', 'talk.py']")
            (yard.folder / "a" / "talk.py").write_text(NOT_A_PENSTOCK)
            refused.append(await refusal_of(inside.revisions.apply(BY)))
            assert refused[0].where == "a"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("test", "manifest", "reason"),
    [
        ("return call.deny('model.missing', 'no weights')", "", "model.missing: no weights"),
        ("raise ZeroDivisionError('nothing works')", "", "nothing works"),
        ("import threading; threading.Event().wait()", "limits = { startup = '2s' }", "a"),
        ("return 7", "", "a"),
    ],
    ids=["objects", "raises", "hangs", "answers nonsense"],
)
def test_a_self_test_that_fails(yard: Yard, test: str, manifest: str, reason: str) -> None:
    async def main() -> None:
        async with yard.served() as inside, untouched(yard, inside, "penstock.self_test") as refused:
            yard.plugin("a", "a2", test=test, manifest=manifest)
            refused.append(await refusal_of(inside.revisions.apply(BY)))
            assert refused[0].where == "a"
            assert reason in str(refused[0])

    asyncio.run(main())


def test_a_self_test_is_made_with_every_configuration(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            stages = yard.file["pipelines"]["first"]["stages"]
            stages["more"] = {"uses": "a/mark", "needs": ["mark"], "with": {"n": 13}}  # type: ignore[index]
            yard.save()
            yard.plugin(
                "a", "a2", test="return call.deny('bad', str(call.config['n'])) if 'n' in call.config else None"
            )
            assert "bad: 13" in str(await refusal_of(inside.revisions.apply(BY)))

    asyncio.run(main())


def test_a_plugin_that_refuses_its_new_configuration_has_the_old_one(yard: Yard) -> None:
    async def main() -> None:
        picky = "@plugin.configure\ndef configure(config):\n    return {'n': [None, 1][config.get('n', 0)]}\n"
        yard.plugin("a", "a1", more=picky)
        async with yard.served() as inside, untouched(yard, inside, "penstock.configure") as refused:
            table = inside.generations["a"].table
            yard.file["plugins"]["a"]["with"] = {"n": 2}
            yard.plugin("b", "b2")
            yard.save()
            refused.append(await refusal_of(inside.revisions.apply(BY)))
            assert inside.generations["a"].table == table

    asyncio.run(main())


def test_a_folder_that_takes_no_archive(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside, untouched(yard, inside, "penstock.not_kept") as refused:
            yard.plugin("a", "a2")
            # In the way of the archive; rights would not stop a superuser.
            blocked = yard.state / "revisions" / ".000002.plan.new"
            blocked.mkdir(parents=True)
            refused.append(await refusal_of(inside.revisions.apply(BY)))
            assert refused[0].where == str(blocked)
            assert str(blocked) in str(refused[0])
            assert refused[0].hint
            blocked.rmdir()

    asyncio.run(main())


def test_a_refusal_whose_entry_cannot_be_written_is_told_all_the_same(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            history = yard.state / "revisions" / "history.jsonl"
            kept = history.read_bytes()
            history.unlink()
            history.mkdir()
            yard.plugin("a", "a2", more="import nonsense\n")
            refused = await refusal_of(inside.revisions.apply(BY))
            assert refused.code == "penstock.start"
            assert inside.revisions.refused is not None
            assert len(yard.told(ChangeRefused)) == 1
            yard.plugin("a", "a2")
            assert (await inside.revisions.apply(BY)).revision.number == 2
            history.rmdir()
            history.write_bytes(kept)

    asyncio.run(main())


def test_what_was_refused_is_forgotten_when_it_is_mended_or_taken_back(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served() as inside:
            for mended in ("a1", "a2"):
                yard.plugin("a", "a3", more="import nonsense\n")
                await refusal_of(inside.revisions.apply(BY))
                assert inside.revisions.refused is not None
                yard.plugin("a", mended)
                await inside.revisions.apply(BY)
                assert inside.revisions.refused is None

    asyncio.run(main())


def test_an_include_that_is_gone_is_still_watched(yard: Yard) -> None:
    async def main() -> None:
        part = yard.folder / "part.yaml"
        part.write_text("policies: { timeouts: { slow: 2s } }\n")
        yard.file["include"] = ["part.yaml"]  # type: ignore[assignment]
        yard.save()
        async with yard.served() as inside:
            await inside.revisions.apply(BY)
            part.unlink()
            refused = await refusal_of(inside.revisions.apply(BY))
            assert "part.yaml" in str(refused)
            footprint = inside.revisions.candidates.footprint
            assert str(part) in footprint.files
            assert {Path(name).name for name in footprint.plugins} == {"a", "b"}

    asyncio.run(main())
