"""What the launcher promises before a byte of the plugin runs, and what it leaves to see."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from started import Started

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux's own")
# What a plugin of plain functions must not pay for at its start.
COSTLY = {"asyncio", "contextlib", "ctypes", "dataclasses", "inspect", "logging", "typing", "traceback"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty venv whose `.pth` file and sitecustomize say what they find."""
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    packages = next(home.glob("lib/python*/site-packages"))
    (packages / "spy.pth").write_text("import spy\n")
    (packages / "spy.py").write_text(
        "import ctypes, os, sys\n"
        "signal = ctypes.c_int()\n"
        "ctypes.CDLL(None).prctl(2, ctypes.byref(signal))\n"
        "print('pth: pdeathsig', signal.value, 'stdin', os.readlink('/proc/self/fd/0'), file=sys.stderr, flush=True)\n"
        "print('pth: noise on stdout', flush=True)\n"
    )
    (packages / "sitecustomize.py").write_text("import sys; print('sitecustomize ran', file=sys.stderr, flush=True)\n")
    return home


@LINUX
def test_no_byte_of_the_plugin_runs_before_the_restrictions(environment: Path) -> None:
    """A .pth file runs at every start, even with -I; here it already dies with its host and cannot touch a frame."""
    with Started("plain:plugin", python=str(environment / "bin" / "python"), site=True) as plugin:
        out = plugin.ready().call("modules")["result"]["out"]
        status, stderr = plugin.ended()
    assert status == 0
    assert "pth: pdeathsig 9 stdin /dev/null" in stderr
    assert "pth: noise on stdout" in stderr
    # Debian's Python brings a sitecustomize of its own, which hides the plugin's.
    assert "sitecustomize ran" in stderr or importlib.util.find_spec("sitecustomize") is not None
    assert any("site-packages" in entry for entry in out["path"])


def test_a_plugin_without_an_environment_sees_no_package_of_the_host() -> None:
    with Started("plain:plugin", site=False) as plugin:
        out = plugin.ready().call("modules")["result"]["out"]
    assert not any("site-packages" in entry for entry in out["path"])


def test_the_plugins_own_folder_comes_first_and_cannot_shadow_the_runtime(tmp_path: Path) -> None:
    """Names such as `codec`, `json` or `penstock_plugin` in a plugin's folder are the plugin's affair."""
    (tmp_path / "penstock_plugin.py").write_text("raise SystemExit('not mine')\n")
    (tmp_path / "codec.py").write_text("WORD = 'mine'\n")
    (tmp_path / "plugin.py").write_text(
        "import codec\nfrom penstock_plugin import Plugin\nplugin = Plugin()\n"
        "@plugin.stage('word')\ndef word(call):\n    return call.allow(out={'word': codec.WORD})\n"
    )
    with Started("plugin:plugin", root=tmp_path) as plugin:
        assert plugin.ready().call("word")["result"]["out"] == {"word": "mine"}


def test_nothing_costly_is_imported_for_plain_functions(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "import sys\nfrom penstock_plugin import Plugin\nplugin = Plugin()\n"
        "@plugin.stage('modules')\ndef modules(call):\n    return call.allow(out={'modules': sorted(sys.modules)})\n"
    )
    with Started("plugin:plugin", root=tmp_path) as plugin:
        modules = plugin.ready().call("modules")["result"]["out"]["modules"]
    assert COSTLY & set(modules) == set()


def test_no_bytecode_is_written_beside_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("from other import plugin\n")
    (tmp_path / "other.py").write_text("from penstock_plugin import Plugin\nplugin = Plugin()\n")
    with Started("plugin:plugin", root=tmp_path) as plugin:
        plugin.ready()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.py", "plugin.py"]


@LINUX
def test_the_protocols_descriptors_are_not_handed_to_programs_it_starts() -> None:
    with Started("plain:plugin") as plugin:
        out = plugin.ready().call("descriptors")["result"]["out"]
    assert out["own"]["0"] == "/dev/null"
    assert out["own"]["1"] == out["own"]["2"]
    child = [line.split(" -> ")[0].split()[-1] for line in out["of_a_child"].splitlines() if " -> " in line]
    assert sorted(child) == ["0", "1", "2", "3"]  # 3 is the folder that ls reads


@LINUX
def test_a_worker_whose_host_is_gone_leaves_at_once() -> None:
    with Started("plain:plugin", parent=1) as plugin:
        status, stderr = plugin.ended()
    assert status == 113
    assert "the host, process 1, is gone" in stderr


@LINUX
def test_a_command_starts_with_the_signals_of_a_fresh_program(tmp_path: Path) -> None:
    """Python ignores SIGPIPE, and what is ignored stays ignored across exec."""
    with Started(command=["sh", "-c", "grep SigIgn /proc/self/status; pwd"], root=tmp_path) as plugin:
        ignored = plugin.next_line().split()[1]
        assert int(ignored, 16) & (1 << 12) == 0
        assert plugin.next_line().decode() == str(tmp_path.resolve())


def test_a_command_finds_the_programs_of_its_environment_first(environment: Path) -> None:
    command = ["python", "-S", "-c", "import sys; print(sys.executable)"]
    with Started(command=command, python=str(environment / "bin" / "python"), root=environment) as plugin:
        assert plugin.next_line().decode() == str(environment / "bin" / "python")


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [("./missing", 127, "no such program"), ("no-such-program-anywhere", 127, "no such program"),
     ("./plain_text", 126, "is it executable")],
)  # fmt: skip
def test_a_command_that_cannot_be_started_says_why(tmp_path: Path, command: str, status: int, said: str) -> None:
    (tmp_path / "plain_text").write_text("hello\n")
    with Started(command=[command], root=tmp_path) as plugin:
        ended, stderr = plugin.ended()
    assert (ended, said in stderr) == (status, True), stderr
    assert os.linesep.join(stderr.splitlines()).startswith("penstock: cannot start")
