"""What holds for every test: hosts keep their state in a folder of this run, not in the user's own; no property fails
because the machine is busy, and none waits for a Ctrl-C that whoever started the tests ignores, as the background does.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder before anything starts a host, and let what is started be interrupted."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tempfile.mkdtemp(prefix="penstock-state-")
    os.environ["PENSTOCK_STATE"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
