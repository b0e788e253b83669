"""Environments: found again, shared, repaired, and refused with one clear error each. Real uv, real files."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from wheelhouse import DISTRIBUTIONS, Index, Project, wheel

from isolation.errors import EnvironmentBuildError
from isolation.manifest import read_manifest
from isolation.store.events import BuildEvent
from isolation.store.interpreters import Interpreters
from isolation.store.store import PreparationErrors, Store, default_store_root
from isolation.store.uv import Uv, uv_environment


def said(python: Path, code: str) -> str:
    """Run code on a prepared interpreter as a worker would see it, and return what it prints."""
    found = subprocess.run([python, "-I", "-B", "-c", code], capture_output=True, text=True, timeout=20, check=True)
    return found.stdout.strip()


def refused(store: Store, folder: Path, extras: tuple[str, ...] | None = None) -> EnvironmentBuildError:
    with pytest.raises(EnvironmentBuildError) as caught:
        store.prepare(read_manifest(folder), extras)
    assert not list((store.root / "building").iterdir()), "a refused build leaves nothing behind"
    return caught.value


def test_a_project_gets_what_its_lock_says_and_nothing_of_the_host(store: Store, project: Project) -> None:
    prepared = store.prepare(read_manifest(project("one", "alpha<2")))
    assert said(prepared.python, "import alpha; print(alpha.value)") == "1"
    assert said(prepared.python, "import importlib.util as u; print(u.find_spec('pydantic'))") == "None"


def test_it_is_found_again_without_running_uv(store: Store, project: Project, variables: dict[str, str]) -> None:
    manifest = read_manifest(project("one", "alpha"))
    first = store.prepare(manifest)
    heard: list[BuildEvent] = []
    nowhere = {**variables, "UV_CACHE_DIR": "/dev/null/none", "UV_DEFAULT_INDEX": "http://127.0.0.1:9/"}
    with Store(store.root, environment=nowhere, background_bytecode=False) as other:
        assert other.prepare(manifest, report=heard.append) == first
    assert [event.phase for event in heard] == ["found", "ready"]


def test_plugins_with_equal_locks_share_one_environment(store: Store, project: Project) -> None:
    one = store.prepare(read_manifest(project("one", "alpha==1.0")))
    two = store.prepare(read_manifest(project("two", "alpha<2")))
    other = store.prepare(read_manifest(project("three", "alpha>=2")))
    assert one.environment == two.environment
    assert one.digest != two.digest
    assert other.environment != one.environment


def test_requirements_are_locked_with_hashes_on_first_use(
    store: Store, project: Project, heard: list[BuildEvent]
) -> None:
    folder = project("words", files={"requirements.txt": "beta # comment\nalpha<2\n"})
    (folder / "pyproject.toml").write_text("[tool.penstock.stages.mask]\n")
    prepared = store.prepare(read_manifest(folder), report=heard.append)
    assert said(prepared.python, "import beta; print(beta.value)") == "1"
    lock = tomllib.loads((folder / "pylock.toml").read_text())
    assert all(file["hashes"]["sha256"] for package in lock["packages"] for file in package["wheels"])
    assert "lock" in [event.phase for event in heard]


def test_requirements_that_left_their_lock_are_refused_until_locked_again(store: Store, project: Project) -> None:
    folder = project("words", files={"requirements.txt": "alpha<2\n"})
    (folder / "pyproject.toml").write_text("[tool.penstock.stages.mask]\n")
    store.prepare(read_manifest(folder))
    (folder / "requirements.txt").write_text("alpha\nbeta\n")
    error = refused(store, folder)
    assert "no longer matches pylock.toml" in error.message
    assert f"penstock plugin lock {folder}" in error.hint
    store.lock(read_manifest(folder))
    prepared = store.prepare(read_manifest(folder))
    assert said(prepared.python, "import beta; print(beta.value)") == "1"


def test_a_lock_made_elsewhere_counts_when_its_versions_answer(store: Store, project: Project) -> None:
    folder = project("words", files={"requirements.txt": "alpha<2\n"})
    (folder / "pyproject.toml").write_text("[tool.penstock.stages.mask]\n")
    store.lock(read_manifest(folder))
    text = (folder / "pylock.toml").read_text()
    (folder / "pylock.toml").write_text(text[: text.index("[tool.penstock]")])
    store.prepare(read_manifest(folder))
    (folder / "requirements.txt").write_text("alpha>=2\n")
    assert "no longer matches" in refused(store, folder).message


def test_a_single_file_has_a_lock_of_its_own(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text('# /// script\n# dependencies = ["alpha<2"]\n# [tool.penstock.stages.mask]\n# ///\n')
    (tmp_path / "neighbour.py").write_text("secret = 1\n")
    prepared = store.prepare(read_manifest(file))
    assert (tmp_path / "one.py.lock").is_file()
    assert said(prepared.python, "import alpha; print(alpha.value)") == "1"
    assert [entry.name for entry in prepared.snapshot.iterdir()] == ["one.py"]
    file.write_text(file.read_text().replace("alpha<2", "beta"))
    assert "no longer match" in refused(store, file).message


def test_a_plugin_without_requirements_gets_an_empty_environment(store: Store, project: Project) -> None:
    folder = project("bare")
    prepared = store.prepare(read_manifest(folder))
    assert not (folder / "uv.lock").exists()
    assert prepared.environment is not None
    assert not list(prepared.environment.glob("lib/*/site-packages/*.dist-info"))


def test_a_command_without_requirements_gets_no_environment(store: Store, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.penstock]\ncommand = ["perl", "x.pl"]\n[tool.penstock.stages.a]\n')
    prepared = store.prepare(read_manifest(tmp_path))
    assert (prepared.environment, prepared.fingerprint) == (None, None)
    assert prepared.python.is_absolute()


def test_extras_are_the_authors_choice_unless_the_operator_chooses(store: Store, project: Project) -> None:
    head = '[project.optional-dependencies]\nmore = ["beta"]\n'
    folder = project("one", "alpha<2", head=head)
    plain, full = store.prepare(read_manifest(folder)), store.prepare(read_manifest(folder), ("more",))
    question = "import importlib.util as u; print(u.find_spec('beta') is not None)"
    assert (said(plain.python, question), said(full.python, question)) == ("False", "True")
    assert "has no extra less (it has: more)" in refused(store, folder, ("less",)).message


@pytest.mark.parametrize("kind", ["project", "requirements", "script"])
def test_locked_refuses_what_has_no_lock(
    kind: str, project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    source = project("one", "alpha", files={"requirements.txt": "alpha\n"})
    if kind == "requirements":
        (source / "pyproject.toml").write_text("[tool.penstock.stages.mask]\n")
    if kind == "script":
        source = source / "one.py"
        source.write_text('# /// script\n# dependencies = ["alpha"]\n# [tool.penstock.stages.mask]\n# ///\n')
    with Store(tmp_path / "store", locked=True, environment=variables) as store:
        error = refused(store, source)
    assert "--locked does not make one" in error.message
    assert f"penstock plugin lock {source}" in error.hint


def test_a_project_that_left_its_lock_is_refused(store: Store, project: Project) -> None:
    folder = project("one", "alpha<2")
    store.prepare(read_manifest(folder))
    project("one", "beta")
    error = refused(store, folder)
    assert error.message == "its requirements no longer match their lock"
    assert "uv.lock" in error.resolver
    assert f"penstock plugin lock {folder}" in error.hint
    store.lock(read_manifest(folder))
    store.prepare(read_manifest(folder))


def test_a_tampered_hash_is_refused_and_nothing_is_installed(store: Store, project: Project) -> None:
    folder = project("one", "alpha<2")
    store.lock(read_manifest(folder))
    lock = folder / "uv.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text()))
    error = refused(store, folder)
    assert "does not have the hash" in error.message
    assert "Hash mismatch" in error.resolver
    assert not list((store.root / "environments").iterdir())


def test_an_sdist_is_built_only_when_its_name_is_allowed(
    store: Store, project: Project, heard: list[BuildEvent]
) -> None:
    error = refused(store, project("one", "raw"))
    assert "there is no wheel" in error.message
    assert "raw" in error.resolver
    assert 'sdists = ["NAME"]' in error.hint
    prepared = store.prepare(read_manifest(project("one", "raw", table='sdists = ["raw"]')), report=heard.append)
    assert said(prepared.python, "import raw; print(raw.built)") == "True"
    assert any(event.phase == "source" and "raw is built from source" in event.detail for event in heard)


def test_offline_with_a_cold_cache_says_so(project: Project, variables: dict[str, str], tmp_path: Path) -> None:
    folder = project("one", "alpha<2")
    with Store(tmp_path / "store", environment=variables) as online:
        online.lock(read_manifest(folder))
    cold = {**variables, "UV_CACHE_DIR": str(tmp_path / "cold")}
    with Store(tmp_path / "other", offline=True, environment=cold, background_bytecode=False) as offline:
        error = refused(offline, folder)
        assert "offline, and uv's cache does not hold what is needed" in error.message
        assert "alpha" in error.resolver
        (folder / "wheels").mkdir()
        name, content = wheel("alpha", "1.0")
        (folder / "wheels" / name).write_bytes(content)
        prepared = offline.prepare(read_manifest(folder))
        assert said(prepared.python, "import alpha; print(alpha.value)") == "1"
        assert not (prepared.snapshot / "wheels").exists()


def test_a_vendored_wheel_with_other_content_is_refused(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    folder = project("one", "alpha<2")
    vendored = tmp_path / "vendored"
    vendored.mkdir()
    (vendored / wheel("alpha", "1.0")[0]).write_bytes(wheel("alpha", "1.0", "value = 666\n")[1])
    with Store(tmp_path / "store", environment=variables) as online:
        online.lock(read_manifest(folder))
    cold = {**variables, "UV_CACHE_DIR": str(tmp_path / "cold"), "UV_FIND_LINKS": str(vendored)}
    with Store(tmp_path / "other", offline=True, environment=cold) as offline:
        assert "does not have the hash" in refused(offline, folder).message


def test_a_mirror_serves_what_was_locked_with_another_index(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    own = {name: value for name, value in variables.items() if name != "UV_DEFAULT_INDEX"}
    with Index(DISTRIBUTIONS) as author:
        head = f'[[tool.uv.index]]\nurl = "{author.url}"\ndefault = true\n'
        folder = project("one", "alpha<2", head=head)
        with Store(tmp_path / "store", environment=own) as store:
            store.lock(read_manifest(folder))
    cold = {**variables, "UV_CACHE_DIR": str(tmp_path / "cold")}
    with Store(tmp_path / "store", environment=cold) as store:
        prepared = store.prepare(read_manifest(folder))
    assert said(prepared.python, "import alpha; print(alpha.value)") == "1"


def test_an_index_out_of_reach_says_so(project: Project, variables: dict[str, str], tmp_path: Path) -> None:
    away = {**variables, "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_CACHE_DIR": str(tmp_path / "cold")}
    with Store(tmp_path / "store", environment=away) as store:
        assert "the package index cannot be reached" in refused(store, project("one", "alpha")).message


def test_requirements_nobody_can_satisfy_say_which(store: Store, project: Project) -> None:
    error = refused(store, project("one", "alpha>=9"))
    assert "no set of versions satisfies" in error.message
    assert "alpha" in error.resolver


def test_a_python_that_is_not_installed_is_named_with_what_is(store: Store, project: Project) -> None:
    error = refused(store, project("one", "alpha", head='requires-python = ">=4.9"'))
    assert "needs Python >=4.9" in error.message
    assert sys.version.split()[0] in error.message
    assert "uv python install" in error.hint


def test_another_python_is_used_when_the_plugin_wants_it(
    store: Store, project: Project, variables: dict[str, str]
) -> None:
    uv = Uv(uv_environment(variables))
    found = Interpreters(store.root / "search.json", uv).search()
    others = [entry for entry in found if entry.abi != str(sysconfig.get_config_var("SOABI"))]
    others = [entry for entry in others if int(entry.version.split(".")[1]) >= 8]
    if not others:
        pytest.skip("only one minor version of Python is installed here")
    minor = ".".join(others[0].version.split(".")[:2])
    folder = project("one", "alpha<2", head=f'requires-python = "=={minor}.*"')
    prepared = store.prepare(read_manifest(folder))
    assert said(prepared.python, "import alpha, sys; print('%d.%d' % sys.version_info[:2])") == minor


def test_a_damaged_environment_is_built_again(store: Store, project: Project) -> None:
    manifest = read_manifest(project("one", "alpha<2"))
    prepared = store.prepare(manifest)
    module = next(Path(str(prepared.environment)).glob("lib/*/site-packages/alpha.py"))
    for harm in (lambda: module.write_text("value = 666\n"), module.unlink, prepared.python.unlink):
        harm()
        assert store.prepare(manifest).environment == prepared.environment
        assert said(prepared.python, "import alpha; print(alpha.value)") == "1"


def test_an_environment_without_its_seal_is_built_again(store: Store, project: Project) -> None:
    manifest = read_manifest(project("one", "alpha<2"))
    prepared = store.prepare(manifest)
    shutil.rmtree(prepared.python.parent)
    (prepared.python.parent.parent / "penstock-seal.json").write_text('{"facts": {"finge')
    assert said(store.prepare(manifest).python, "import alpha; print(alpha.value)") == "1"


def test_a_torn_memo_is_made_again(store: Store, project: Project) -> None:
    manifest = read_manifest(project("one", "alpha<2"))
    first = store.prepare(manifest)
    for memo in (store.root / "memo").iterdir():
        memo.write_text("{")
    assert store.prepare(manifest) == first


def test_all_failures_are_told_together(store: Store, project: Project) -> None:
    fine, one, two = project("fine", "alpha"), project("one", "alpha>=9"), project("two", "raw")
    wanted = [(read_manifest(folder), None) for folder in (fine, one, two)]
    with pytest.raises(PreparationErrors) as caught:
        store.prepare_all(wanted)
    assert sorted(error.plugin for error in caught.value.errors) == ["one", "two"]


def test_equal_environments_are_built_once_in_parallel(store: Store, project: Project) -> None:
    heard: list[BuildEvent] = []
    wanted = [(read_manifest(project(f"plugin{number}", "alpha<2")), None) for number in range(4)]
    prepared = store.prepare_all(wanted, heard.append)
    assert [entry.plugin for entry in prepared] == [manifest.name for manifest, _ in wanted]
    assert len({entry.environment for entry in prepared}) == 1
    assert [event.phase for event in heard].count("built") == 1


def test_bytecode_is_compiled_behind_and_then_the_environment_is_sealed(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    with Store(tmp_path / "store", environment=variables) as store:
        prepared = store.prepare(read_manifest(project("one", "alpha<2", "gamma")))
        assert store.settle(30.0)
        environment = Path(str(prepared.environment))
        assert list(environment.glob("lib/*/site-packages/__pycache__/gamma.*.pyc"))
        writable = [path for path in environment.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o222]
        assert writable == []
        assert store.prepare(read_manifest(tmp_path / "plugins" / "one")) == prepared


def test_compiling_goes_on_where_a_killed_process_stopped(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    manifest = read_manifest(project("one", "alpha<2", "gamma"))
    with Store(tmp_path / "store", environment=variables) as store:
        prepared = store.prepare(manifest)
    environment = Path(str(prepared.environment))
    with Store(tmp_path / "store", environment=variables) as store:
        assert store.prepare(manifest) == prepared
        assert store.settle(30.0)
    assert (environment / "penstock-compiled").exists()


def test_a_store_that_cannot_be_written_is_one_clear_error(tmp_path: Path, project: Project) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentBuildError) as caught:
        Store(tmp_path / "file")
    assert "PENSTOCK_STORE" in caught.value.hint


def test_the_store_is_private(store: Store) -> None:
    assert store.root.stat().st_mode & 0o777 == 0o700


def test_uv_sees_its_users_index_and_proxy_but_no_venv() -> None:
    seen = uv_environment(
        {"PATH": "/bin", "UV_INDEX_MINE_PASSWORD": "p", "HTTPS_PROXY": "x", "SSL_CERT_FILE": "c", "UV_CACHE_DIR": "d"}
        | {"VIRTUAL_ENV": "v", "PYTHONPATH": "p", "UV_PROJECT_ENVIRONMENT": "e", "UV_PYTHON": "3", "AWS_SECRET": "s"}
    )
    assert {"PATH", "UV_INDEX_MINE_PASSWORD", "HTTPS_PROXY", "SSL_CERT_FILE", "UV_CACHE_DIR"} <= set(seen)
    assert not {"VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "AWS_SECRET"} & set(seen)


def test_the_store_is_where_the_user_says(tmp_path: Path) -> None:
    assert default_store_root({"PENSTOCK_STORE": str(tmp_path)}) == tmp_path
    assert default_store_root({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "penstock"
    assert default_store_root({}) == Path.home() / ".cache" / "penstock"


def test_a_closed_store_builds_nothing(store: Store, project: Project) -> None:
    store.close()
    assert "closed" in refused(store, project("one", "alpha")).message


def test_requirements_that_name_a_missing_file_say_which(store: Store, project: Project) -> None:
    folder = project("words", files={"requirements.txt": "-r more.txt\n"})
    (folder / "pyproject.toml").write_text("[tool.penstock.stages.mask]\n")
    assert "more.txt" in refused(store, folder).message


def test_closing_the_store_ends_a_build_that_is_going_on(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        deaf = {**variables, "UV_DEFAULT_INDEX": url, "UV_CACHE_DIR": str(tmp_path / "cold")}
        store = Store(tmp_path / "store", environment=deaf)
        with ThreadPoolExecutor(1) as threads:
            pending = threads.submit(store.prepare, read_manifest(project("one", "alpha")))
            connection, _ = silent.accept()
            with connection:
                store.close()
                error = pending.exception(timeout=20)
    assert isinstance(error, EnvironmentBuildError)
    assert "closed" in error.message


EVIL_BACKEND = """
import pathlib

pathlib.Path("{witness}").write_text("ran")
"""


@pytest.mark.parametrize("layout", ["project", "script", "requirements"])
def test_locking_runs_nobody_s_build(layout: str, store: Store, project: Project, tmp_path: Path) -> None:
    """To resolve a folder or an sdist without static metadata, uv would run its build as the user."""
    witness, source = tmp_path / "witness", tmp_path / "dynamic"
    source.mkdir()
    (source / "backend.py").write_text(EVIL_BACKEND.format(witness=witness))
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (source / "pyproject.toml").write_text(f'[project]\nname = "dynamic"\ndynamic = ["version"]\n{system}')
    requirement = f"dynamic @ {source.as_uri()}"
    if layout == "project":
        target = project("one", requirement)
    elif layout == "script":
        target = tmp_path / "one.py"
        head = f"# /// script\n# dependencies = ['{requirement}']\n# [tool.penstock]\n# [tool.penstock.stages.mask]\n"
        target.write_text(f"{head}# ///\n")
    else:
        target = tmp_path / "one"
        target.mkdir()
        (target / "requirements.txt").write_text(f"{requirement}\n")
        (target / "pyproject.toml").write_text("[tool.penstock]\n[tool.penstock.stages.mask]\n")
        (target / "plugin.py").write_text("plugin = None\n")
    error = refused(store, target)
    assert not witness.exists()
    assert "nobody has allowed" in error.message


def test_an_sdist_that_is_allowed_by_name_leaves_the_wheels_of_others_alone(store: Store, project: Project) -> None:
    folder = project("one", "raw", "alpha<2", table='sdists = ["raw", "alpha"]')
    prepared = store.prepare(read_manifest(folder))
    assert said(prepared.python, "import raw, alpha; print(raw.built, alpha.value)") == "True 1"
