"""The commands that read a file and start nothing: lint, explain, graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli.failures import Exit
from orchestrator.cli.main import main

Heard = pytest.CaptureFixture[str]


def test_a_right_file_is_summed_up(guard: Path, capsys: Heard) -> None:
    assert main(["lint", str(guard)]) == Exit.FINE
    heard = capsys.readouterr()
    assert heard.out == f"{guard / 'pipeline.yaml'}: ok (2 pipelines, 2 stages, 1 plugin, 2 tests)\n"
    assert heard.err == ""


def test_a_right_file_has_an_empty_list_of_problems(guard: Path, capsys: Heard) -> None:
    assert main(["lint", str(guard), "--json"]) == Exit.FINE
    assert json.loads(capsys.readouterr().out) == []


def test_every_mistake_of_every_file_is_told(guard: Path, tmp_path: Path, capsys: Heard) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("version: 1\nname: other\npipelins: {}\n")
    wrong = guard / "pipeline.yaml"
    wrong.write_text(wrong.read_text().replace("hook: tool_pre_invoke", "hook: tool_pre_invok").replace("20s", "20"))
    assert main(["lint", str(wrong), str(other)]) == Exit.CONFIGURATION
    heard = capsys.readouterr()
    assert heard.out == ""
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in heard.err.splitlines()] == [
        "pipeline.yaml:8:15",
        "pipeline.yaml:12:11",
        "other.yaml:3:1",
    ]


@pytest.mark.parametrize(("options", "status"), [((), Exit.FINE), (("--strict",), Exit.CONFIGURATION)])
def test_warnings_fail_only_when_strict(guard: Path, capsys: Heard, options: tuple[str, ...], status: Exit) -> None:
    file = guard / "pipeline.yaml"
    file.write_text(file.read_text().replace("plugins:\n", "plugins:\n  idle: { source: ./words }\n"))
    assert main(["lint", str(file), *options]) == status
    heard = capsys.readouterr()
    assert heard.out == f"{file}: 1 warning (2 pipelines, 2 stages, 1 plugin, 2 tests)\n"
    assert heard.err == f"{file}:4:3: unused-plugin plugins.idle: no stage uses it (warning)\n"


def test_a_folder_without_a_pipeline_file_is_a_wrong_configuration(tmp_path: Path, capsys: Heard) -> None:
    assert main(["lint", str(tmp_path)]) == Exit.CONFIGURATION
    assert "pipeline.yaml:1:1: unreadable" in capsys.readouterr().err


def test_a_wrong_manifest_is_told_at_its_own_place(guard: Path, capsys: Heard) -> None:
    manifest = guard / "words" / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace("outputs", "output"))
    assert main(["lint", str(guard)]) == Exit.CONFIGURATION
    assert f"{manifest}:6:1: manifest " in capsys.readouterr().err


def test_a_value_is_explained_with_who_set_it(guard: Path, capsys: Heard) -> None:
    words = ["explain", "--file", str(guard), "pipelines.call.stages.check.timeout", "--json"]
    assert main(words) == Exit.FINE
    said = json.loads(capsys.readouterr().out)
    assert (said["value"], said["layer"]) == ("10s", "file")
    assert said["place"] == f"{guard / 'pipeline.yaml'}:10:44"


def test_a_value_of_a_profile_says_so(guard: Path, capsys: Heard) -> None:
    place = "pipelines.call.stages.check.mode"
    assert main(["explain", "-f", str(guard), "--profile", "lax", place]) == Exit.FINE
    heard = capsys.readouterr().out
    assert 'value     "permissive"' in heard
    assert "set by    profile lax: " in heard


def test_the_language_is_explained_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Heard
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "pipelines.any.stages.any.mode"]) == Exit.FINE
    assert 'default   "enforce"' in capsys.readouterr().out


def test_a_place_that_there_is_not_gets_a_suggestion(guard: Path, capsys: Heard) -> None:
    assert main(["explain", "-f", str(guard), "pipelines.cal.hook"]) == Exit.USAGE
    assert "did you mean 'pipelines.call'?" in capsys.readouterr().err


def test_a_wrong_file_is_explained_all_the_same(guard: Path, capsys: Heard) -> None:
    """Who looks up a key has often just misspelt it."""
    file = guard / "pipeline.yaml"
    file.write_text(file.read_text().replace("timeout: 10s", "timeot: 10s"))
    assert main(["explain", "-f", str(file), "pipelines.call.stages.check"]) == Exit.FINE
    assert "Longest time of one attempt." in capsys.readouterr().out


def test_a_pipeline_is_drawn(guard: Path, capsys: Heard) -> None:
    assert main(["graph", str(guard), "--pipeline", "second"]) == Exit.FINE
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("second on tool_pre_invoke, within ")
    assert rest == [
        "when payload.name == 'twice'",
        "",
        "┌─────────────┐",
        "│ again       │",
        "│ words/check │",
        "└─────────────┘",
    ]


@pytest.mark.parametrize(
    ("style", "first"), [("mermaid", "flowchart LR\n"), ("dot", 'digraph "call" {\n'), ("terminal", "call on ")]
)
def test_there_are_three_ways_to_draw(guard: Path, capsys: Heard, style: str, first: str) -> None:
    assert main(["graph", str(guard), "--format", style]) == Exit.FINE
    assert capsys.readouterr().out.startswith(first)


def test_several_pipelines_are_one_mermaid_chart(guard: Path, capsys: Heard) -> None:
    main(["graph", str(guard), "--format", "mermaid"])
    drawn = capsys.readouterr().out
    assert (drawn.count("flowchart"), drawn.count("subgraph")) == (1, 2)


def test_a_graph_is_data_too(guard: Path, capsys: Heard) -> None:
    assert main(["graph", str(guard), "--json"]) == Exit.FINE
    first, second = json.loads(capsys.readouterr().out)
    assert (first["pipeline"], second["match"]) == ("call", "payload.name == 'twice'")
    assert [stage["uses"] for stage in first["stages"]] == ["words/check"]
