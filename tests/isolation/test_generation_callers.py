"""Callers of a generation: their bugs and their liveliness harm nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from living import (
    SEQUENTIAL,
    Asked,
    run,
    serving,
    spec_of,
    until,
)

from isolation.errors import (
    CallError,
    DeadlineExceeded,
    WorkerLost,
)
from isolation.generation import Generation
from isolation.supervision import Intensity

MANY = Intensity(restarts=100)


class Rude(Asked):
    """Its caller's code raises."""

    def _ended(self, end: bytes | CallError) -> None:
        super()._ended(end)
        raise RuntimeError("a bug of the caller's")


@pytest.mark.parametrize("stage", ["echo", "raise"])
def test_a_caller_that_raises_costs_nobody_else_an_answer(tmp_path: Path, stage: str) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo", "raise")) as generation:
            rude = [Rude(stage) for _ in range(8)]
            kind = [Asked("echo") for _ in range(8)]
            for pair in zip(rude, kind, strict=True):
                for call in pair:
                    generation.submit(call)
            for call in kind:
                await call.answer()
            assert [call.ends for call in rude] == [1] * 8
            assert [worker.name for worker in generation.workers] == ["living#1"]

    run(main())


def test_a_caller_that_raises_does_not_keep_others_from_their_errors(tmp_path: Path) -> None:
    """At the deadline, when a worker dies and when the generation stops."""

    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "hang")) as generation:
            expiring = [Rude("hang", within=0.05), Asked("hang", within=0.05)]
            lasting = [Rude("hang"), Asked("hang"), Rude("hang"), Asked("hang")]
            for call in expiring + lasting:
                generation.submit(call)
            assert isinstance(await expiring[1].error(), DeadlineExceeded)
            assert isinstance(await lasting[1].error(), WorkerLost)
        assert [call.ends for call in expiring + lasting] == [1] * 6

    run(main())


class Chained(Asked):
    """Submits the next call from within its own answer, and gives another up."""

    def __init__(self, generation: Generation, left: int) -> None:
        super().__init__("echo")
        self.generation = generation
        self.left = left
        self.next: Chained | None = None

    def _ended(self, end: bytes | CallError) -> None:
        if self.left:
            self.next = Chained(self.generation, self.left - 1)
            self.generation.submit(self.next)
            given_up = Asked("echo")
            self.generation.submit(given_up)
            self.generation.cancel(given_up)
        super()._ended(end)


def test_a_caller_may_submit_and_cancel_from_within_an_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(spec_of(tmp_path, SEQUENTIAL, "echo"), replicas=2) as generation:
            chains = [Chained(generation, 20) for _ in range(12)]
            for chain in chains:
                generation.submit(chain)
            for chain in chains:
                link: Chained | None = chain
                while link is not None:
                    await link.answer()
                    link = link.next
            await until(lambda: all(worker.outstanding == 0 for worker in generation.workers))
            assert generation.waiting == 0

    run(main())
