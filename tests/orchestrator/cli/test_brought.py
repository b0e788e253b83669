"""`penstock NAME` where NAME is a command that a plugin brings: whose it is, where it runs, what it sees."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., "CompletedProcess[str]"]

TOLD = '''
import json, os, signal, sys

def tell():
    """Say what this command sees, as it is asked to."""
    import penstock_plugin
    if sys.argv[1:2] == ["die"]:
        os.kill(os.getpid(), signal.SIGTERM)
    seen = {"argv": sys.argv, "in": sys.stdin.read(), "cwd": os.getcwd(), "file": __file__,
            "data": os.environ.get("PENSTOCK_DATA"), "secret": os.environ.get("SECRET"), "prefix": sys.prefix}
    print(json.dumps(seen))
    return int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else None
'''


@pytest.fixture
def telling(guard: Path) -> Path:
    """The pipeline file, whose plugin brings the command `tell` and has a data directory."""
    manifest = guard / "words" / "pyproject.toml"
    head = '[tool.penstock]\ndata = true\ncommands = { tell = "told:tell" }'
    manifest.write_text(manifest.read_text().replace("[tool.penstock]", head, 1))
    (guard / "words" / "told.py").write_text(TOLD)
    return guard


def test_a_command_runs_in_the_plugins_environment_with_the_callers_words(
    penstock: Run, telling: Path, tmp_path: Path, store: Path, environment: Mapping[str, str]
) -> None:
    done = penstock("tell", "--file", telling, "7", "--plugin", "-x", "--", "ü", typed="heard", SECRET="x")
    assert (done.returncode, done.stderr) == (7, "")
    seen = json.loads(done.stdout)
    assert (seen["argv"], seen["in"]) == (["tell", "7", "--plugin", "-x", "--", "ü"], "heard")
    assert (seen["cwd"], seen["secret"]) == (str(tmp_path), None)
    for inside in ("file", "prefix"):
        assert Path(seen[inside]).is_relative_to(store), inside
    assert Path(seen["data"]).is_relative_to(Path(environment["PENSTOCK_STATE"]) / "data")


def test_a_plugin_alone_has_the_same_data_as_in_its_file(penstock: Run, telling: Path) -> None:
    of_file, of_plugin = (
        json.loads(penstock(*words).stdout)
        for words in (
            ("plugin", "exec", "--file", telling, "tell"),
            ("plugin", "exec", "--plugin", telling / "words", "tell"),
        )
    )
    assert of_file["data"] == of_plugin["data"]


def test_the_file_here_is_looked_into(penstock: Run, telling: Path, tmp_path: Path) -> None:
    text = (telling / "pipeline.yaml").read_text().replace("./words", "./guard/words")
    (tmp_path / "pipeline.yaml").write_text(text)
    assert penstock("tell").returncode == 0
    assert penstock("plugin", "exec").stdout == "tell  words 1.0.0 (told:tell)\n"
    wrong = penstock("tel")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "No such command 'tel'. Did you mean 'tell'?" in wrong.stderr


def test_a_plugins_command_in_a_folder_without_a_file_says_what_it_needs(penstock: Run) -> None:
    wrong = penstock("attest", "anchors", "list")
    assert wrong.returncode == 2 and "--file PATH or --plugin FOLDER" in wrong.stderr


def test_a_slip_is_a_slip_beside_a_file_that_is_wrong_too(penstock: Run, telling: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("version: 7\n")
    slip = penstock("lnit")
    assert slip.returncode == 2 and "Did you mean 'lint'?" in slip.stderr
    assert penstock("tell").returncode == 78


def test_two_plugins_with_one_command_are_told_apart(penstock: Run, telling: Path) -> None:
    file = telling / "pipeline.yaml"
    text = file.read_text().replace("again: { uses: words", "again: { uses: more")
    file.write_text(text.replace("plugins:", "plugins:\n  more: { source: ./words }", 1))
    assert penstock("tell", "--file", telling).returncode == 0, "one plugin under two names"
    shutil.copytree(telling / "words", telling / "more")
    file.write_text(file.read_text().replace("more: { source: ./words }", "more: { source: ./more }"))
    both = penstock("tell", "--file", telling)
    assert both.returncode == 2 and "say --plugin FOLDER" in both.stderr
    assert penstock("tell", "--plugin", telling / "words").returncode == 0


def test_a_command_that_dies_of_a_signal_says_so(penstock: Run, telling: Path) -> None:
    assert penstock("tell", "--file", telling, "die").returncode == 128 + signal.SIGTERM
