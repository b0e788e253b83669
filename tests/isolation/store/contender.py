"""A process that prepares one plugin, to compete with others or to be killed: STORE SOURCE [hold].

Prints a JSON line for every event, then the result. With `hold` it keeps the result until its standard input closes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from isolation.manifest import read_manifest
from isolation.store.events import BuildEvent
from isolation.store.store import Store


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def heard(event: BuildEvent) -> None:
    tell(phase=event.phase, detail=event.detail)


def main() -> None:
    root, source, *options = sys.argv[1:]
    with Store(Path(root)) as store:
        prepared = store.prepare(read_manifest(Path(source)), report=heard)
        tell(python=str(prepared.python), snapshot=str(prepared.snapshot), environment=str(prepared.environment))
        if options:
            sys.stdin.read()


if __name__ == "__main__":
    main()
