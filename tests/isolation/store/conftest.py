"""What the store's tests share: an index of their own, an empty store, and plugin folders made on the spot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from wheelhouse import DISTRIBUTIONS, Index, Project

from isolation.store.events import BuildEvent
from isolation.store.store import Store


@pytest.fixture(scope="session")
def index() -> Iterator[Index]:
    with Index(DISTRIBUTIONS) as running:
        yield running


@pytest.fixture(scope="session")
def variables(index: Index, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user whose only index is ours, with a cache that the tests share."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    return inherited | {
        "UV_CACHE_DIR": str(tmp_path_factory.mktemp("uv-cache")),
        "UV_DEFAULT_INDEX": index.url,
        "UV_HTTP_RETRIES": "0",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture
def store(tmp_path: Path, variables: dict[str, str]) -> Iterator[Store]:
    with Store(tmp_path / "store", environment=variables, background_bytecode=False) as opened:
        yield opened


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Make a plugin folder: `project("name", "alpha")`, more files by `files={...}`."""

    def make(
        name: str, *dependencies: str, head: str = "", table: str = "", files: dict[str, str] | None = None
    ) -> Path:
        folder = tmp_path / "plugins" / name
        folder.mkdir(parents=True, exist_ok=True)
        listed = ", ".join(f'"{dependency}"' for dependency in dependencies)
        requires = "" if "requires-python" in head else 'requires-python = ">=3.11"\n'
        lines = f'[project]\nname = "{name}"\nversion = "1.0"\n{requires}dependencies = [{listed}]\n{head}\n'
        (folder / "pyproject.toml").write_text(f"{lines}\n[tool.penstock]\n{table}\n[tool.penstock.stages.mask]\n")
        for path, text in {"plugin.py": "plugin = None\n", **(files or {})}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    return make


@pytest.fixture
def heard() -> list[BuildEvent]:
    return []
