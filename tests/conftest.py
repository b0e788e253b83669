"""What holds for every test: hosts keep their state in a folder of this run, not in the user's own."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder before anything starts a host."""
    folder = tempfile.mkdtemp(prefix="penstock-state-")
    os.environ["PENSTOCK_STATE"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
