"""SIGKILL gives the host no chance to clean up; the kernel takes the workers with it."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hostile_driver import left_behind

HOST = Path(__file__).parent / "doomed_host.py"


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")
def test_no_worker_outlives_a_killed_host() -> None:
    marker = uuid.uuid4().hex
    with subprocess.Popen([sys.executable, str(HOST), marker], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        workers = [int(pid) for pid in host.stdout.readline().split()]
        assert len(workers) == 3
        assert all(Path(f"/proc/{pid}").exists() for pid in workers)
        host.kill()
        host.wait()
    assert left_behind(marker) == []
