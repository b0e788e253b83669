"""Many registrations at once with one nonce, some of them killed: how many were accepted in each round.

`python tests/contest.py 1000` plays a thousand rounds of 64.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, Thread

from pki import AT
from world.nonces import NonceStore, StoreBusy, Subject

SUBJECT = Subject("https://server.example", "ab" * 32, "cd" * 32)
PROCESSES, THREADS = 8, 8


@dataclass
class Tally:
    """Acceptances of each round, by whether somebody was killed in it."""

    undisturbed: Counter[int] = field(default_factory=Counter)
    disturbed: Counter[int] = field(default_factory=Counter)
    busy: int = 0


def contest(folder: Path, *, rounds: int, seed: int) -> Tally:
    """Play rounds of 64 registrations, in every second of which some are killed while they consume."""
    store, chance, tally = NonceStore(folder / "nonces.db"), random.Random(seed), Tally()
    for number in range(rounds):
        nonce = number.to_bytes(32, "big")
        store.issue(nonce, SUBJECT, AT)
        kills = chance.randint(1, PROCESSES) if number % 2 else 0
        accepted, busy = _play(store, nonce, kills, chance)
        (tally.disturbed if kills else tally.undisturbed)[accepted] += 1
        tally.busy += busy
    return tally


def _play(store: NonceStore, nonce: bytes, kills: int, chance: random.Random) -> tuple[int, int]:
    reading, writing = os.pipe()
    start_reading, start_writing = os.pipe()
    children = []
    for _ in range(PROCESSES):
        child = os.fork()
        if child == 0:
            os.close(start_writing)
            os.read(start_reading, 1)  # ends when the parent lets go: all begin together
            _register(store, nonce, writing)
            os._exit(0)
        children.append(child)
    os.close(writing)
    os.close(start_reading)
    os.close(start_writing)
    for child in chance.sample(children, kills):
        for _ in range(chance.randint(0, 60_000)):
            pass  # the kill falls anywhere in what the child does
        os.kill(child, signal.SIGKILL)
    said = b""
    while piece := os.read(reading, 4096):
        said += piece
    os.close(reading)
    for child in children:
        os.waitpid(child, 0)
    return said.count(b"A"), said.count(b"B")


def _register(store: NonceStore, nonce: bytes, writing: int) -> None:
    barrier = Barrier(THREADS)

    def one() -> None:
        barrier.wait()
        try:
            accepted = store.consume(nonce, SUBJECT, AT) is None
        except StoreBusy:
            os.write(writing, b"B")
            return
        os.write(writing, b"A" if accepted else b"D")

    threads = [Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        tally = contest(Path(folder), rounds=int(sys.argv[1]), seed=1)
    print(f"without kills: acceptances in a round {dict(tally.undisturbed)}")
    print(f"with kills: acceptances in a round {dict(tally.disturbed)}; the store was busy {tally.busy} times")
    sys.exit(set(tally.undisturbed) != {1} or not set(tally.disturbed) <= {0, 1})
