"""A gateway that embeds the orchestrator: a call a line on stdin, its first record a line on stdout."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from isolation.store.store import Store, default_store_root
from orchestrator.loading import load
from orchestrator.orchestrator import Orchestrator


async def main(folder: Path) -> None:
    """Serve the file of a folder."""
    loaded = load(folder)
    loop = asyncio.get_running_loop()
    with Store(default_store_root(), pipeline=loaded.path) as store:
        async with Orchestrator(loaded, store) as orchestrator:
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                call = json.loads(line)
                result = await orchestrator.invoke(call["hook"], call["payload"])
                print(json.dumps(result.records[0]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
