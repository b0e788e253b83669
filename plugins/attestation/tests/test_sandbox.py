"""Whatever an input does to its verification, it does to nobody else's."""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import NoReturn

import pytest
from attest.chain import verify_chain
from attest.hostnames import warm
from attest.search import Anchors
from attest.strictjson import Json
from attest.verdict import Verdict
from pki import AT
from test_chain import BETWEEN, CASES, PRIVATE, ROOT
from world.sandbox import VERIFYING, Died, Limits, run_apart

QUICK = Limits(cpu_seconds=0.05, wall_seconds=10.0)
PATIENT = Limits(cpu_seconds=5.0, wall_seconds=30.0)
SHORT = Limits(cpu_seconds=5.0, wall_seconds=0.2)
"""On a machine that is busy with other things, what a child has to do may take its time to happen."""


def spins() -> NoReturn:
    while True:
        pass


def spins_in_a_library() -> dict[str, Json]:
    """A regular expression that takes for ever, inside C where no handler of Python's runs."""
    return {"found": bool(re.match(r"(a+)+$", "a" * 64 + "b"))}


def waits() -> dict[str, Json]:
    time.sleep(60 * 60)  # until the child's own clock ends it
    return {}


def ignores_signals() -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    spins()


def segfaults() -> dict[str, Json]:
    ctypes.string_at(0)
    return {}


def raises() -> dict[str, Json]:
    raise RuntimeError("a mistake")


def recurses() -> dict[str, Json]:
    return recurses()


def exits() -> NoReturn:
    os._exit(0)


def stops_itself() -> dict[str, Json]:
    os.kill(os.getpid(), signal.SIGSTOP)
    return {}


def forks_and_dies() -> NoReturn:
    """Leave the pipe to a child of its own, which would hold it open for an hour."""
    if os.fork() == 0:
        time.sleep(60 * 60)
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)


def says_too_much() -> dict[str, Json]:
    return {"text": "x" * (5 * 1024 * 1024)}


def takes_memory() -> dict[str, Json]:
    return {"size": len(bytearray(8 * 1024 * 1024 * 1024))}


def opens_a_file() -> dict[str, Json]:
    with open(__file__) as stream:
        return {"text": stream.read(1)}


def opens_a_socket() -> dict[str, Json]:
    socket.socket().close()
    return {}


DEATHS: dict[Callable[[], dict[str, Json]], str] = {
    spins: "C-TIMEOUT",
    spins_in_a_library: "C-TIMEOUT",
    waits: "C-TIMEOUT",
    ignores_signals: "C-TIMEOUT",
    segfaults: "C-VERIFIER-CRASH",
    forks_and_dies: "C-VERIFIER-CRASH",
    exits: "C-VERIFIER-CRASH",
    stops_itself: "C-VERIFIER-CRASH",
    says_too_much: "C-VERIFIER-CRASH",
    raises: "C-VERIFIER-FAULT",
    recurses: "C-VERIFIER-FAULT",
    takes_memory: "C-VERIFIER-FAULT",
    opens_a_file: "C-VERIFIER-FAULT",
    opens_a_socket: "C-VERIFIER-FAULT",
}


def verdict_of(chain: list[bytes]) -> dict[str, Json]:
    return {"verdict": verify_chain(chain, Anchors.of([ROOT.der]), PRIVATE, AT).verdict.value}


@pytest.mark.parametrize("deed", DEATHS, ids=lambda deed: deed.__name__)
def test_a_child_that_dies_says_what_of(deed: Callable[[], dict[str, Json]]) -> None:
    limits = {spins: QUICK, spins_in_a_library: QUICK, ignores_signals: QUICK, waits: SHORT, stops_itself: SHORT}
    with pytest.raises(Died) as caught:
        run_apart(deed, limits.get(deed, PATIENT))
    assert caught.value.code == DEATHS[deed]


def test_an_answer_comes_back_whole() -> None:
    assert run_apart(lambda: {"text": "ü" * 100_000}, PATIENT) == {"text": "ü" * 100_000}


def test_good_inputs_among_killing_ones_are_all_admitted() -> None:
    """Ten of each here, in this one process."""
    chain = [BETWEEN.leaf(), BETWEEN.der]
    for _ in range(10):
        with pytest.raises(Died):
            run_apart(spins_in_a_library, QUICK)
        assert run_apart(lambda: verdict_of(chain), VERIFYING) == {"verdict": Verdict.ADMIT.value}


def test_what_a_child_forked_is_neither_waited_for_nor_left_behind() -> None:
    reading, writing = os.pipe()

    def forks() -> NoReturn:
        os.close(reading)
        forks_and_dies()

    with pytest.raises(Died):
        run_apart(forks, PATIENT)
    os.close(writing)
    # The end of this pipe comes when nobody has it open any more: the kernel's word that all are gone.
    os.set_blocking(reading, True)
    waiter = select.poll()
    waiter.register(reading, select.POLLIN)
    assert waiter.poll(PATIENT.wall_seconds * 1000) and os.read(reading, 1) == b""
    os.close(reading)


def test_no_child_and_no_descriptor_is_left_behind() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for deed in (spins, exits, segfaults):
        with pytest.raises(Died):
            run_apart(deed, QUICK)
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("code", CASES)
def test_a_verifier_needs_no_file_and_no_socket(code: str) -> None:
    """Each case of the table comes to the same verdict where nothing can be opened."""
    warm()
    answer = run_apart(lambda: {"codes": " ".join(CASES[code]().codes)}, PATIENT)
    assert answer == {"codes": code}
