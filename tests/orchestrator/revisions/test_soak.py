"""Calls without a pause over reloads of all kinds: none fails, none is lost, none is answered by a mixture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from changing import BOUND_SECONDS, BY, Yard, children, marks

from orchestrator.events import RevisionGone
from orchestrator.orchestrator import Orchestrator
from orchestrator.revisions.refusal import ChangeNotMade

IN_FLIGHT = 32
ROUNDS = 3

Face = tuple[tuple[str, object], ...]
"""What an answer shows of the revision that gave it: of each of its two stages the version and the edition."""


@dataclass
class Soak:
    """Callers that never pause, and somebody who changes the files."""

    yard: Yard
    inside: Orchestrator
    faces: dict[int, Face] = field(default_factory=dict)
    answered: int = 0
    wrong: list[object] = field(default_factory=list)
    ends: bool = False
    versions: dict[str, str] = field(default_factory=lambda: {"a": "a1", "b": "b1"})
    edition: int = 1
    refused: int = 0

    @property
    def face(self) -> Face:
        """What the files say."""
        return (self.versions["a"], self.edition), (self.versions["b"], self.edition)

    async def call(self) -> None:
        """Ask again and again."""
        while not self.ends:
            first = self.inside.engine.serving.revision
            result = await self.yard.ask(self.inside)
            if result.verdict == "deny":
                self.wrong.append(result.records)
                continue
            shown: Face = tuple((version, n) for _, version, n in marks(result))
            # A call that waited for a replacement is answered by what came after it.
            last = self.inside.engine.serving.revision
            allowed = {self.faces[number] for number in range(first, last + 1)}
            if shown not in allowed:
                self.wrong.append((shown, allowed))
            self.answered += 1

    async def change(self, edit: Callable[[], None]) -> bool:
        """Edit, apply, and let every caller be answered meanwhile; say whether it was applied."""
        edit()
        self.faces[self.inside.revisions.history.next_number] = self.face
        before = self.answered
        try:
            await self.inside.revisions.apply(BY)
        except ChangeNotMade:
            self.refused += 1
            return False
        while self.answered < before + IN_FLIGHT:
            await asyncio.wait([asyncio.ensure_future(self.yard.ask(self.inside))])
        return True

    async def back(self) -> None:
        """Roll back, and forward again."""
        history = self.inside.revisions.history
        number = self.inside.revisions.current.number
        self.faces[history.next_number] = self.faces[history.before(number)]
        await self.inside.revisions.rollback(None, BY)
        self.faces[history.next_number] = self.face
        await self.inside.revisions.apply(BY)

    # Edits.

    def code(self, name: str, **more: bool) -> None:
        """Another version of a plugin."""
        self.versions[name] = f"{name}{len(self.faces) + 1}"
        self.yard.plugin(name, self.versions[name], **more)  # type: ignore[arg-type]

    def pipelines(self) -> None:
        """Another edition of both pipelines."""
        self.edition += 1
        self.editions()

    def editions(self) -> None:
        """Write the edition into both pipelines."""
        for name in ("first", "second"):
            stages = self.yard.file["pipelines"][name]["stages"]
            stages["mark"]["with"] = {"n": self.edition}  # type: ignore[index]
        self.yard.save()

    def broken(self) -> None:
        """Half of a change that is right, and one that is not."""
        self.yard.plugin("a", "broken", more="import nonsense\n")

    def mistaken(self) -> None:
        """A file that says nothing."""
        self.yard.path.write_text(self.yard.path.read_text().replace('"uses"', '"used"', 1))

    def mend(self) -> None:
        """Take back what was wrong."""
        self.yard.plugin("a", self.versions["a"])
        self.yard.save()


def test_reloads_of_all_kinds_under_load_cost_no_call(yard: Yard) -> None:
    async def main() -> None:
        async with yard.served(within_seconds=5 * BOUND_SECONDS) as inside:
            soak = Soak(yard, inside)
            soak.editions()
            await inside.revisions.apply(BY)
            soak.faces = {inside.revisions.current.number: soak.face}
            async with asyncio.TaskGroup() as group:
                callers = [group.create_task(soak.call()) for _ in range(IN_FLIGHT)]
                for _ in range(ROUNDS):
                    assert await soak.change(lambda: soak.code("a"))
                    assert not await soak.change(soak.broken)
                    soak.mend()
                    assert await soak.change(soak.pipelines)
                    assert await soak.change(lambda: soak.code("b", alone=True))
                    assert not await soak.change(soak.mistaken)
                    soak.mend()
                    await soak.back()
                    assert await soak.change(lambda: soak.code("b"))
                soak.ends = True
                await asyncio.wait(callers)
            assert soak.wrong == []
            assert soak.refused == 2 * ROUNDS
            assert soak.answered > IN_FLIGHT * 4 * ROUNDS
            applied = inside.revisions.current.number - 1
            assert applied == 1 + 6 * ROUNDS
            await yard.until(lambda: len(yard.told(RevisionGone)) == applied)
            assert len(children()) == 2
            assert inside.engine.under_way == 0

    asyncio.run(main())
