"""`penstock run` as an operator uses it: what is answered, where it is printed, how it exits."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., "CompletedProcess[str]"]

PAGE = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "cli_page.py"))


def call(q: str, hook: str = "tool_pre_invoke", name: str = "lookup") -> str:
    return json.dumps({"hook": hook, "payload": {"name": name, "args": {"q": q}}, "context": {"tenant": "acme"}}) + "\n"


def records(done: CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_pipeline_of_a_line_gives_one_object(penstock: Run, guard: Path) -> None:
    """With the members that docs/cli.md names, in its order; nothing is signed here."""
    done = penstock("run", guard, "--input", "-", "--json", typed=call("a secret", name="twice"))
    first, second = records(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert [*first, "hook_verdict"] == [*second] == [*PAGE["RUN_MEMBERS"]]
    assert [*first["stages"]["check"]] == [*PAGE["STAGE_MEMBERS"]][:-1]  # type: ignore[index]
    assert (first["pipeline"], first["verdict"], second["pipeline"], second["verdict"]) == (
        "call",
        "modify",
        "second",
        "allow",
    )
    assert second["hook_verdict"] == "modify"
    assert second["payload"] == {"name": "twice", "args": {"q": "a ***"}}


@pytest.mark.parametrize(("hook", "verdict"), [("tool_post_invoke", "allow"), ("server_pre_register", "deny")])
def test_a_line_without_a_pipeline_gets_the_verdict_of_unmatched(
    penstock: Run, guard: Path, hook: str, verdict: str
) -> None:
    line = json.dumps({"hook": hook, "payload": {"name": "x"}}) + "\n"
    (record,) = records(penstock("run", guard, "--input", "-", "--json", typed=line))
    assert (record["pipeline"], record["verdict"], record["hook_verdict"]) == (None, verdict, verdict)


def test_the_default_input_lies_beside_the_file(penstock: Run, guard: Path) -> None:
    (guard / "input.jsonl").write_text(call("fine"))
    done = penstock("run", guard / "pipeline.yaml", "--json")
    assert [record["verdict"] for record in records(done)] == ["allow"]


def test_answers_keep_the_order_of_lines_when_they_run_concurrently(penstock: Run, guard: Path) -> None:
    typed = "".join(call(f"number {number}") for number in range(200))
    done = penstock("run", guard, "--input", "-", "--json", "--concurrency", "16", typed=typed)
    said = [record["payload"]["args"]["q"] for record in records(done)]  # type: ignore[index]
    assert said == [f"number {number}" for number in range(200)]


def test_malformed_lines_are_named_and_the_rest_is_answered(penstock: Run, guard: Path) -> None:
    bad = '{"hook": "tool_pre_invok", "payload": {}}\n'
    typed = (
        call("one") + "garbage\n" + "\n" + bad + call("two") + '{"hook": "tool_pre_invoke", "payload": {"a": 1e999}}\n'
    )
    done = penstock("run", guard, "--input", "-", "--json", typed=typed)
    assert done.returncode == 1
    assert len(records(done)) == 2
    second, fourth, sixth = done.stderr.splitlines()
    assert second == "malformed line: stdin:2: not JSON: invalid character (byte 0)"
    assert fourth == "malformed line: stdin:4: unknown hook 'tool_pre_invok'; did you mean 'tool_pre_invoke'?"
    assert sixth.startswith("malformed line: stdin:6: payload: ")


@pytest.mark.parametrize(("options", "status"), [((), 0), (("--fail-on-deny",), 1)])
def test_a_denial_fails_the_command_only_when_asked_to(
    penstock: Run, guard: Path, options: tuple[str, ...], status: int
) -> None:
    done = penstock("run", guard, "--input", "-", *options, typed=call("bad"))
    assert done.returncode == status


def test_the_table_counts_verdicts_and_says_why(penstock: Run, guard: Path) -> None:
    done = penstock("run", guard, "--input", "-", typed=call("fine") + call("secret") + call("bad") + call("bad"))
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert lines["call"][1:6] == ["4", "1", "1", "2", "·"]
    assert lines["└"][1:4] == ["check", "4", "2"]
    assert lines["words.found"][1:] == ["2", "3", "a", "bad", "word"]
    assert done.stderr == ""


def test_a_dead_worker_is_a_failed_run_and_a_denial(penstock: Run, guard: Path) -> None:
    done = penstock("run", guard, "--input", "-", "--json", typed=call("die"))
    (record,) = records(done)
    assert record["verdict"] == "deny"
    assert record["error"]["code"] == "penstock.worker_lost"  # type: ignore[index]


def test_one_pipeline_can_be_chosen(penstock: Run, guard: Path) -> None:
    done = penstock("run", guard, "--input", "-", "--json", "--pipeline", "second", typed=call("bad", name="twice"))
    assert [record["pipeline"] for record in records(done)] == ["second"]


def test_a_profile_is_laid_over_the_file(penstock: Run, guard: Path) -> None:
    done = penstock("run", guard, "--input", "-", "--json", "--profile", "lax", typed=call("bad"))
    assert [record["verdict"] for record in records(done)] == ["allow"]


def test_what_a_plugin_logs_cannot_steer_the_terminal(penstock: Run, guard: Path) -> None:
    done = penstock("run", guard, "--input", "-", "--json", typed=call("loud"))
    assert "warning: words: heard \\x1b[31mloud stage=check run=" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_pipeline_that_is_not_there_is_wrong_usage(penstock: Run, guard: Path) -> None:
    done = penstock("run", guard, "--input", "-", "--pipeline", "cal")
    assert done.returncode == 2
    assert "no pipeline 'cal'; did you mean 'call'?" in done.stderr


def test_an_input_that_is_not_there_is_wrong_usage(penstock: Run, guard: Path) -> None:
    done = penstock("run", guard)
    assert done.returncode == 2
    assert "input.jsonl does not exist; name the input with --input FILE" in done.stderr


def test_a_wrong_file_is_reported_line_by_line(penstock: Run, guard: Path) -> None:
    file = guard / "pipeline.yaml"
    file.write_text(
        file.read_text().replace("deadline:", "deadlin:").replace("uses: words/check,", "uses: words/chek,", 1)
    )
    done = penstock("run", file, "--input", "-")
    assert (done.returncode, done.stdout) == (78, "")
    places = [line.split(":")[1] for line in done.stderr.splitlines()]
    assert places == ["8", "10"]
    assert "did you mean 'deadline'?" in done.stderr


def test_a_wrong_file_is_one_json_list_when_json_is_spoken(penstock: Run, guard: Path) -> None:
    file = guard / "pipeline.yaml"
    file.write_text(file.read_text().replace("deadline:", "deadlin:"))
    done = penstock("run", file, "--input", "-", "--json")
    (problem,) = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (78, "")
    assert (problem["line"], problem["column"], problem["suggestion"]) == (8, 5, "deadline")


def test_a_plugin_that_does_not_start_says_why(penstock: Run, guard: Path) -> None:
    (guard / "words" / "plugin.py").write_text("import no_such_module\n")
    done = penstock("run", guard, "--input", "-", typed=call("fine"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no_such_module" in done.stderr
    assert "hint: " in done.stderr
