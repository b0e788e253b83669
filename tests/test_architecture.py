"""ARCHITECTURE.md and the rules in it, held to the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("orchestrator", "isolation", "pipelines")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
RUNTIME = ROOT / "isolation" / "runtime"


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "tests" not in path.parts and "build" not in path.parts)


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def test_imports_point_one_way() -> None:
    """The contracts of import-linter in pyproject.toml are kept."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_imports_the_plugins() -> None:
    """Plugins are folders that the host reads as data."""
    importers = [
        path
        for package in PACKAGES
        for path in _sources(ROOT / package)
        if any(name.split(".")[0] == "plugins" for name in _imports(path))
    ]
    assert importers == []


def test_the_runtime_imports_the_standard_library_and_itself() -> None:
    """One module may use a faster JSON library where the plugin's own environment has it."""
    own = {"penstock_plugin"}
    faster = {"msgspec", "orjson"}
    users = set()
    for path in _sources(RUNTIME):
        tops = {name.split(".")[0] for name in _imports(path)} - {"__future__"}
        foreign = tops - set(sys.stdlib_module_names) - own
        assert foreign <= faster, f"{path} imports {foreign - faster}"
        if foreign:
            users.add(path)
    assert len(users) <= 1, users


def test_broad_excepts_stand_where_architecture_says() -> None:
    """ARCHITECTURE.md lists the boundaries at which anything may be caught."""
    listed = set(re.findall(r"^- `([a-z_/]+\.py)`", _section("Boundaries that catch everything"), re.MULTILINE))
    found = set()
    for package in PACKAGES:
        for path in _sources(ROOT / package):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ExceptHandler) and _is_broad(node):
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == listed


def _is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    reraises = any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))
    return not reraises and any(one is None or ast.unparse(one) in ("Exception", "BaseException") for one in caught)


def _section(title: str) -> str:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_names_every_room(package: str) -> None:
    """Every module and package directly below a package stands in the map, and nothing else does."""
    rooms = {
        path.name + ("/" if path.is_dir() else "")
        for path in (ROOT / package).iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }
    named = set(re.findall(rf"^\| `{package}/([a-z_/]+(?:\.py)?)` \|", _section("Map"), re.MULTILINE))
    assert rooms == named


def test_public_names_have_docstrings() -> None:
    """Whatever `__all__` offers says what its types cannot."""
    bare = []
    for package in PACKAGES:
        for path in _sources(ROOT / package):
            tree = ast.parse(path.read_text())
            offered = _offered(tree)
            for node in tree.body:
                is_offered = getattr(node, "name", None) in offered
                if is_offered and isinstance(node, DEFINITIONS) and ast.get_docstring(node) is None:
                    bare.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert bare == []


def _offered(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_every_module_says_what_it_owns() -> None:
    """Each file opens with a docstring."""
    silent = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in _sources(ROOT / package)
        if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_no_two_modules_of_the_tests_bear_one_name() -> None:
    """The tests are folders, not packages: Python would take the one module for the other."""
    read = [path for path in (ROOT / "tests").rglob("*.py") if not (path.parent / "pyproject.toml").exists()]
    names = Counter(path.name for path in read if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_no_test_sleeps_or_patches() -> None:
    """Tests wait for events and prove promises; they do not patch."""
    pattern = re.compile(r"sleep\(\s*(?!0\s*\))[\d.]+\s*\)|mock\.patch|MagicMock|monkeypatch\.setattr")
    own = Path(__file__)
    guilty = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/*.py")]
        if path != own
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert guilty == []
