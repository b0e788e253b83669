"""Registers servers whose certificates kill their verifier among good ones: the good ones must not notice.

    python examples/server-admission/killing.py [--each 200]

Real TLS servers on loopback, the real host, and the plugin's own processes; see poisoned.py for how a verifier is made
to die. Prints the figures, and fails unless every good server was admitted, every other refused as an error of its own,
no worker started again and every breaker stayed closed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import admission
from admission import PLUGIN, Server, serving
from authority import Authority
from cryptography.hazmat.primitives.serialization import Encoding

from isolation.status import WorkerEnded, WorkerReady
from isolation.store.store import Store, default_store_root
from orchestrator.events import BreakerChanged, Event
from orchestrator.loading import load
from orchestrator.orchestrator import HookResult, Orchestrator

HERE = Path(__file__).parent
DEEDS = {
    "crash": "C-VERIFIER-CRASH",
    "spin": "C-TIMEOUT",
    "wait": "C-TIMEOUT",
    "fill": "C-VERIFIER-FAULT",
    "fork": "C-VERIFIER-CRASH",
}
REPLICAS = 4
IN_FLIGHT = 16
WITHIN_SECONDS = 120.0
"""For one registration, on a machine that is busy: a verifier that only waits is killed after 5 s."""

STAGE = "breaker: { window: 20, minimum_calls: 5, failure_rate: 0.2, open_for: 30s, probes: 1 }"


def write(folder: Path, own: Authority, ports: dict[str, int]) -> None:
    """Write the pipeline file of the example, with a poisoned copy of the plugin and a breaker on every stage."""
    shutil.copytree(PLUGIN, folder / "plugin", ignore=shutil.ignore_patterns("tests", "conftest.py", "__pycache__"))
    shutil.copy(HERE / "poisoned.py", folder / "plugin")
    manifest = folder / "plugin" / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace('"attestation:plugin"', '"poisoned:plugin"'))
    identity = {"kind": "tls", "anchors": ["own"], "revocation": "hard"}
    rules = [
        {"name": name, "match": f"https://127.0.0.1:{port}{admission.PLACE}/*", "identity": identity}
        for name, port in ports.items()
    ]
    (folder / "policy.json").write_text(json.dumps({"version": 1, "servers": rules}))
    (folder / "own.pem").write_text(own.certificate.public_bytes(Encoding.PEM).decode())
    (folder / "own.crl").write_text(own.revocations())
    (folder / "bundle.json").write_text(own.bundle())
    text = (HERE / "template" / "pipeline.yaml").read_text()
    text = text.replace("source: PLUGIN", f"source: ./plugin\n    replicas: {REPLICAS}").replace(
        "PORTS", json.dumps([*ports.values()])
    )
    text = text.replace("version: 1", f"version: 1\ndefaults: {{ stage: {{ {STAGE} }} }}", 1)
    (folder / "pipeline.yaml").write_text(text.replace("deadline: 30s", f"deadline: {WITHIN_SECONDS:.0f}s"))


def calls(each: int, ports: dict[str, int]) -> list[tuple[str, str]]:
    """Every registration, good and killing in turns: what it is, and its URL."""
    deeds = list(DEEDS)
    return [
        (name, f"https://127.0.0.1:{ports[name]}{admission.PLACE}/{number}")
        for number in range(each)
        for name in ("good", deeds[number % len(deeds)])
    ]


async def register(folder: Path, listed: list[tuple[str, str]]) -> tuple[list[HookResult], list[float], list[Event]]:
    """Have all of them registered, some at a time."""
    events: list[Event] = []
    found: list[HookResult | None] = [None] * len(listed)
    seconds = [0.0] * len(listed)
    left = iter(range(len(listed)))

    loaded = load(folder)
    with Store(default_store_root(), locked=True, pipeline=loaded.path) as store:
        orchestrator = Orchestrator(loaded, store, state=folder / "state")
        orchestrator.events.subscribe(events.append)
        async with orchestrator:

            async def caller() -> None:
                for number in left:
                    name, url = listed[number]
                    begun = time.monotonic()
                    found[number] = await orchestrator.invoke("server_pre_register", {"name": name, "url": url})
                    seconds[number] = time.monotonic() - begun

            async with asyncio.TaskGroup() as group:
                for _ in range(IN_FLIGHT):
                    group.create_task(caller())
            assert all(view.state == "closed" for view in orchestrator.breakers.views())
            lived = list(events)
    return [one for one in found if one is not None], seconds, lived


def codes(result: HookResult) -> str:
    """Take the codes from the answer; nothing where it allows."""
    return admission.outcome(result.records[0])[1]


def main() -> int:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=200, help="registrations of each kind, good and killing")
    each = parser.parse_args().each
    own = Authority("own")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shown = {"good": own.issue("127.0.0.1")}
        shown |= {name: own.issue("127.0.0.1", f"{name}.kill.example") for name in DEEDS}
        ports = {name: stack.enter_context(serving(Server(name, one, ""), folder)) for name, one in shown.items()}
        write(folder, own, ports)
        listed = calls(each, ports)
        begun = time.monotonic()
        results, seconds, events = asyncio.run(register(folder, listed))
        took = time.monotonic() - begun
    came = Counter((name, result.verdict, codes(result)) for (name, _), result in zip(listed, results, strict=True))
    for (name, verdict, said), count in sorted(came.items()):
        print(f"{count:4} {name}: {verdict} {said}".rstrip())
    good = sorted(one for (name, _), one in zip(listed, seconds, strict=True) if name == "good")
    ready = sum(isinstance(event, WorkerReady) for event in events)
    ended = sum(isinstance(event, WorkerEnded) for event in events)
    changed = sum(isinstance(event, BreakerChanged) for event in events)
    print(f"{took:.1f} s, median of the good {statistics.median(good) * 1e3:.0f} ms, longest {good[-1] * 1e3:.0f} ms")
    print(f"{REPLICAS} workers, {ready} starts, {ended} ends, {changed} changes of breakers")
    expected = Counter({("good", "allow", ""): each})
    expected.update((name, "deny", DEEDS[name]) for name, _ in listed if name != "good")
    return 0 if came == expected and (ready, ended, changed) == (REPLICAS, 0, 0) else 1


if __name__ == "__main__":
    sys.exit(main())
