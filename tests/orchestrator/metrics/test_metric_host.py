"""What is measured of processes and of the event loop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import FakeClock

from orchestrator.metrics.processes import host_figures, worker_figures
from orchestrator.metrics.pulse import PULSE_SECONDS, Pulse

linux = sys.platform == "linux"


def test_a_host_knows_what_it_takes_up() -> None:
    figures = host_figures()
    assert figures.cpu_seconds > 0
    assert figures.resident_bytes is not None and figures.resident_bytes > 2**20
    if linux:
        before = figures.descriptors
        with open(os.devnull):
            after = host_figures().descriptors
        assert before is not None and after == before + 1
        assert figures.threads is not None and figures.threads >= 1


def test_a_process_that_is_gone_has_no_figures() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = worker_figures(process.pid)
    assert (found is not None) is linux
    process.communicate(b"\n")
    assert worker_figures(process.pid) is None


def test_a_process_may_call_itself_anything(tmp_path: Path) -> None:
    """The name in /proc/PID/stat is the program's own choice."""
    folder = tmp_path / "7"
    folder.mkdir()
    numbers = " ".join(str(number) for number in range(4, 53))
    (folder / "stat").write_bytes(b"7 (a) S 9 9 (\xff\n) ) S " + numbers.encode())
    found = worker_figures(7, tmp_path)
    assert found is not None
    ticks = os.sysconf("SC_CLK_TCK")
    assert found.cpu_seconds == pytest.approx((14 + 15) / ticks)
    assert found.threads == 20
    assert found.resident_bytes == 24 * os.sysconf("SC_PAGE_SIZE")
    assert found.descriptors is None


def test_the_loop_is_measured_by_how_late_an_alarm_rings() -> None:
    clock, pulse = FakeClock(), Pulse()
    pulse.start(clock)
    for _ in range(3):
        clock.forward(PULSE_SECONDS)
    assert pulse.lag.counts[0] == pulse.lag.count == 3
    clock.hold(PULSE_SECONDS + 0.2)
    clock.step()
    assert pulse.lag.count == 4
    assert pulse.lag.total == pytest.approx(0.2)
    pulse.stop()
    assert not clock.pending
