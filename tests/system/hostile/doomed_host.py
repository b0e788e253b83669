"""A host that starts two workers, prints their process ids and waits to be killed."""

from __future__ import annotations

import asyncio
import os
import sys

from hostile_driver import MARKER, configs, spec_of

from isolation.generation import Generation


async def main(marker: str) -> None:
    async with (
        Generation(spec_of("polite", marker), configs()) as first,
        Generation(spec_of("runtime_prints", marker), configs(), replicas=2) as second,
    ):
        print(*(worker.pid for generation in (first, second) for worker in generation.workers), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    assert MARKER not in os.environ, "the host itself must not be taken for a worker"
    asyncio.run(main(sys.argv[1]))
