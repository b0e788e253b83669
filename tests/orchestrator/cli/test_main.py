"""The root of the command line: help, versions, suggestions, completion, and what becomes of errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import click
import pytest

from isolation.errors import StartError
from orchestrator.cli.failures import Exit, Invocation, report
from orchestrator.cli.main import COMMANDS, main, penstock
from orchestrator.control.refusal import Refused

Run = Callable[..., "CompletedProcess[str]"]


def test_help_imports_nothing_heavy() -> None:
    """It must stay within a fifth of a second of CPU, and imports are what costs."""
    code = "import sys; from orchestrator.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "pydantic", "yaml", "rich", "msgspec", "uvloop", "networkx", "jsonschema_rs", "subprocess"}
    heavy |= {"starlette", "uvicorn", "httptools", "socket"}
    assert not heavy & set(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_the_table_says(name: str) -> None:
    command = penstock.get_command(click.Context(penstock), name)
    assert command is not None
    assert (command.name, command.short_help) == (name, COMMANDS[name].short_help)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: penstock {name} ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lnit"], "No such command 'lnit'. Did you mean 'lint'?"),
        (["plugin", "chek"], "No such command 'chek'. Did you mean 'check'?"),
        (["lint", "--strcit", "."], "No such option '--strcit'. Did you mean '--strict'?"),
        (["--versoin"], "No such option '--versoin'."),
        (["lint", "no/such/file.yaml"], "'no/such/file.yaml' does not exist"),
        (["lint"], "Missing argument 'PATH...'"),
        (["run"], "Missing argument 'PATH'"),
        (["env"], "Usage: penstock env"),
    ],
)
def test_wrong_usage_is_explained_on_stderr(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == Exit.USAGE
    heard = capsys.readouterr()
    assert said in heard.err
    assert heard.out == ""


def test_no_command_at_all_shows_help_and_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == Exit.USAGE
    assert "Commands:" in capsys.readouterr().err


def test_the_version_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("penstock ")


def test_a_bug_is_one_line_and_tells_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError("oops\nmore"), Invocation()) == Exit.FAILED
    expected = "error: unexpected ZeroDivisionError: oops (a bug; `penstock --traceback ...` shows where)\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("error", "code", "exit"),
    [
        (Refused("penstock.no_canary", "no revision is on trial", "wait"), "penstock.no_canary", Exit.FAILED),
        (Refused("penstock.lint", "p.yaml:1:1: no\np.yaml:2:1: no", ""), "penstock.lint", Exit.CONFIGURATION),
        (PermissionError(13, "Permission denied", "p.yaml"), "penstock.system", Exit.FAILED),
        (ZeroDivisionError("oops"), "penstock.bug", Exit.FAILED),
    ],
)
def test_with_json_an_error_is_data_too(
    error: Exception, code: str, exit: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error, Invocation(json=True)) == exit
    heard = capsys.readouterr()
    told = json.loads(heard.out)["error"]
    assert (told["code"], told["hint"]) == (code, getattr(error, "hint", ""))
    assert told["message"].splitlines()[0] in heard.err


def test_a_bug_shows_its_traceback_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    report(ZeroDivisionError("oops"), Invocation(traceback=True))
    assert capsys.readouterr().err.startswith("ZeroDivisionError: oops\n")


def test_a_known_failure_has_its_code_and_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(StartError("it broke"), Invocation()) == Exit.FAILED
    assert capsys.readouterr().err == f"error: it broke [penstock.start]\nhint: {StartError.hint}\n"


def test_several_failures_are_all_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ExceptionGroup("two", [StartError("one"), StartError("two")]), Invocation()) == Exit.FAILED
    assert capsys.readouterr().err.count("error: ") == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(penstock: Run, shell: str) -> None:
    done = penstock("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_PENSTOCK_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("penstock li", {"lint"}),
        ("penstock plugin ", {"new", "check", "test", "lock"}),
        ("penstock run guard --pipeline ", {"call", "second"}),
        ("penstock run guard --profile l", {"lax"}),
        ("penstock test guard --only a", {"a secret is masked", "a mock answers"}),
        ("penstock explain --file guard pipelines.call.", {"pipelines.call.hook", "pipelines.call.stages"}),
        ("penstock run elsewhere --pipeline ", set()),
    ],
)
def test_words_are_completed(penstock: Run, guard: Path, typed: str, expected: set[str]) -> None:
    words = typed.split(" ")
    done = penstock(_PENSTOCK_COMPLETE="fish_complete", COMP_WORDS=typed, COMP_CWORD=words[-1])
    found = {line.partition(",")[2].partition("\t")[0] for line in done.stdout.splitlines() if line}
    assert expected <= found
    if not expected:
        assert not found
