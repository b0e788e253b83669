"""A store for all hosts of these tests, and one host for those that do not end it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from door_host import PENSTOCK, WAIT_SECONDS, Host, serving, write_gate


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the empty environment in it that the plugin needs."""
    root, folder = tmp_path_factory.mktemp("store"), write_gate(tmp_path_factory.mktemp("first") / "gates")
    command = [str(PENSTOCK), "run", str(folder), "--input", os.devnull]
    seen = {**os.environ, "PENSTOCK_STORE": str(root), "PENSTOCK_STATE": str(folder / "state")}
    subprocess.run(command, env=seen, capture_output=True, timeout=WAIT_SECONDS, check=True)
    return root


@pytest.fixture
def environment(store: Path, tmp_path: Path) -> Mapping[str, str]:
    """What a host sees of the world."""
    return {"PENSTOCK_STORE": str(store), "PENSTOCK_STATE": str(tmp_path / "state")}


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    """A folder with a pipeline file and its plugin."""
    return write_gate(tmp_path / "gates")


@pytest.fixture(scope="module")
def host(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One that nobody stops before the last test of the module."""
    root = tmp_path_factory.mktemp("shared")
    environment = {"PENSTOCK_STORE": str(store), "PENSTOCK_STATE": str(root / "state")}
    with serving(write_gate(root / "gates"), environment) as serves:
        yield serves
