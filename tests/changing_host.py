"""A host of a yard in a process of its own: a line of JSON in, a line of JSON out, until it is killed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from isolation.store.store import Store
from orchestrator.loading import load
from orchestrator.orchestrator import Orchestrator
from orchestrator.revisions.refusal import ChangeNotMade


async def follow(inside: Orchestrator, wish: Mapping[str, object]) -> object:
    """Do what is asked."""
    match wish:
        case {"apply": _}:
            try:
                return (await inside.revisions.apply("uid:1000")).revision.number
            except ChangeNotMade as error:
                return error.code
        case {"confirm": str(run)}:
            return await inside.confirm(run)
        case {"ask": str(hook), "payload": dict(payload)}:
            result = await inside.invoke(hook, payload)
            return [result.verdict, result.reply.run_id]
        case {"revisions": _}:
            return [inside.revisions.current.number, [one.number for one in inside.revisions.history.entries]]
    raise AssertionError(wish)


async def main(folder: Path, store_root: Path) -> None:
    """Serve the file of a folder."""
    loop = asyncio.get_running_loop()
    with Store(store_root, offline=True) as store:
        host = Orchestrator(load(folder / "pipeline.yaml"), store, state=folder / "state", keeps_history=True)
        async with host as inside:
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                print(json.dumps(await follow(inside, json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
