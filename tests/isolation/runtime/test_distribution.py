"""`pip install ./isolation/runtime` gives an author the whole package, and nothing of the host."""

from __future__ import annotations

import tomllib

from isolation.spec import LAUNCHER

RUNTIME = LAUNCHER.parent


def test_every_package_of_the_runtime_is_in_the_distribution() -> None:
    settings = tomllib.loads((RUNTIME / "pyproject.toml").read_text())
    package = RUNTIME / "penstock_plugin"
    found = {".".join(path.parent.relative_to(RUNTIME).parts) for path in package.rglob("__init__.py")}
    assert set(settings["tool"]["setuptools"]["packages"]) == found
    assert settings["project"]["dependencies"] == []
    assert (package / "py.typed").exists()
