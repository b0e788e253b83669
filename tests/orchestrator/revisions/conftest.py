"""A yard for every test that wants one; its store is shared, so that nothing is built twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from changing import Yard


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store."""
    return tmp_path_factory.mktemp("built") / "store"


@pytest.fixture
def yard(tmp_path: Path, built: Path) -> Yard:
    """Two plugins and the file that uses them."""
    return Yard(tmp_path / "yard", built)
