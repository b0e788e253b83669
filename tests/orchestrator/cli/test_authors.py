"""`penstock plugin` and `penstock test`: what authors and operators try before anything runs for real."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Run = Callable[..., "CompletedProcess[str]"]


def test_the_tests_of_a_file_pass(penstock: Run, guard: Path) -> None:
    done = penstock("test", guard)
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.rsplit("  ", 1)[0] for line in done.stdout.splitlines()]
    assert names == ["✓ a secret is masked", "✓ a mock answers", "2 tests passed"]


def test_a_failing_expectation_is_shown_with_its_place_and_its_values(penstock: Run, guard: Path) -> None:
    file = guard / "pipeline.yaml"
    file.write_text(file.read_text().replace("check.out.found == 1", "check.out.found == 7"))
    done = penstock("test", guard, "--only", "a secret is masked")
    assert done.returncode == 1
    shown = done.stdout.splitlines()
    assert shown[1].strip().endswith("pipeline.yaml:22:41: stages.check.out.found == 7")
    assert shown[2:4] == ["        is false", "        stages.check.out.found = 1"]
    assert shown[-1] == "1 test, 1 failed"


def test_tests_are_data_too(penstock: Run, guard: Path) -> None:
    done = penstock("test", guard, "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["name"], first["passed"], first["verdict"]) == ("a secret is masked", True, "modify")
    assert second["failures"] == []


def test_a_test_that_is_not_there_is_wrong_usage(penstock: Run, guard: Path) -> None:
    done = penstock("test", guard, "--only", "a secret is maskd")
    assert done.returncode == 2
    assert "did you mean 'a secret is masked'?" in done.stderr


def test_a_good_plugin_passes_every_check(penstock: Run, guard: Path) -> None:
    done = penstock("plugin", "check", guard / "words", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {finding["outcome"] for finding in json.loads(done.stdout)} == {"passed"}


def test_a_plugin_that_does_not_start_fails_with_a_remedy(penstock: Run, guard: Path) -> None:
    (guard / "words" / "plugin.py").write_text("raise SystemExit('no')\n")
    done = penstock("plugin", "check", guard / "words")
    assert done.returncode == 1
    assert done.stdout.startswith("✗ handshake")
    assert "→ " in done.stdout


def test_an_answer_that_a_run_would_refuse_fails_the_check(penstock: Run, guard: Path) -> None:
    manifest = guard / "words" / "pyproject.toml"
    hooks = 'hooks.tool_pre_invoke.writes = ["payload.args"]\n'
    manifest.write_text(manifest.read_text().replace("outputs =", f"{hooks}outputs ="))
    code = 'from penstock_plugin import Plugin\nplugin = Plugin()\n@plugin.stage("check")\ndef check(call):\n'
    (guard / "words" / "plugin.py").write_text(f"{code}    return call.patch({{'name': 'other'}})\n")
    done = penstock("plugin", "check", guard / "words")
    assert done.returncode == 1
    assert "check on tool_pre_invoke: changed payload.name; the manifest's `writes` allow payload.args" in done.stdout


def test_a_configuration_that_breaks_the_schema_is_wrong_usage(penstock: Run, guard: Path) -> None:
    done = penstock("plugin", "check", guard / "words", "--with", '{"wrod": "x"}')
    assert done.returncode == 2
    assert "does not fit the plugin's schema" in done.stderr


def test_a_new_plugin_has_three_files_and_is_right(penstock: Run, tmp_path: Path) -> None:
    done = penstock("plugin", "new", "my_words")
    assert done.returncode == 0
    assert sorted(Path(line).name for line in done.stdout.splitlines()) == [
        "plugin.py",
        "pyproject.toml",
        "test_plugin.py",
    ]
    assert "penstock plugin test my_words" in done.stderr


def test_a_name_that_is_none_is_refused(penstock: Run) -> None:
    done = penstock("plugin", "new", "My-Words")
    assert done.returncode == 1
    assert "is no name for a plugin" in done.stderr


def test_a_wrong_manifest_is_a_wrong_configuration(penstock: Run, guard: Path) -> None:
    (guard / "words" / "pyproject.toml").write_text('[tool.penstock]\nname = "words"\nverson = "1"\n')
    done = penstock("plugin", "check", guard / "words")
    assert done.returncode == 78
    assert "words/pyproject.toml:3:1: manifest " in done.stderr
    assert "did you mean 'version'?" in done.stderr


def test_a_call_that_the_pipeline_does_not_take_is_said_to_be_none(penstock: Run, guard: Path) -> None:
    file = guard / "pipeline.yaml"
    lost = "  - { name: lost, pipeline: second, payload: { name: once }, expect: [\"run.verdict == 'modify'\"] }\n"
    file.write_text(file.read_text().replace("profiles:", lost + "profiles:"))
    done = penstock("test", guard, "--only", "lost")
    assert done.returncode == 1
    assert 'run.verdict = "allow"' in done.stdout
    assert "the pipeline's `match` does not hold for this call" in done.stdout


def _shop(folder: Path) -> Path:
    """A plugin with an undo, which takes no other payload than its own. Called `words` as all that share the store."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[tool.penstock]\nname = "words"\nversion = "1"\ndata = true\n'
        '[tool.penstock.stages.reserve]\neffects = "external"\nhooks = ["tool_pre_invoke"]\n'
        '[tool.penstock.stages.release]\nundoes = "reserve"\n'
    )
    (folder / "plugin.py").write_text(
        """
from penstock_plugin import Plugin
from penstock_plugin.effects import Effects
plugin = Plugin()
effects = Effects()
plugin.startup(effects.open)

@plugin.stage("reserve")
def reserve(call):
    with effects.once(call) as effect:
        if effect.due:
            print(call.payload["args"]["item"], "for", call.input["who"])

@plugin.compensation("release", undoes="reserve")
def release(call):
    with effects.undo(call) as effect:
        print(call.input["why"])
"""
    )
    return folder


def test_a_stage_with_an_undo_is_tried_with_the_sample_that_is_given(penstock: Run, tmp_path: Path) -> None:
    shop = _shop(tmp_path / "shop")
    (tmp_path / "buy.json").write_text('{"payload": {"name": "buy", "args": {"item": "tea"}}, "input": {"who": "ana"}}')
    (tmp_path / "back.json").write_text('{"input": {"why": "a test"}}')
    samples = ("--sample", f"reserve={tmp_path / 'buy.json'}", "--sample", f"release={tmp_path / 'back.json'}")
    done = penstock("plugin", "check", shop, "--json", *samples)
    assert done.returncode == 0, done.stdout + done.stderr
    findings = {finding["check"]: finding["outcome"] for finding in json.loads(done.stdout)}
    assert {"undo", "undo of nothing", "do after its undo", "undo after a restart"} <= set(findings)
    assert set(findings.values()) == {"passed"}
    assert "really calls the stages that have effects: reserve (external, undone afterwards)" in done.stderr


def test_a_sample_that_is_refused_proves_nothing_and_an_undo_that_fails_does(penstock: Run, tmp_path: Path) -> None:
    done = penstock("plugin", "check", _shop(tmp_path / "shop"))
    assert done.returncode == 1
    assert "✗ undo of nothing" in done.stdout and "KeyError: 'why'" in done.stdout
    (tmp_path / "back.json").write_text('{"input": {"why": "a test"}}')
    done = penstock("plugin", "check", tmp_path / "shop", "--sample", f"release={tmp_path / 'back.json'}")
    assert done.returncode == 0
    assert "! do after its undo" in done.stdout
    assert "give it one that it takes: --sample reserve=FILE" in done.stdout


def test_a_sample_that_is_none_is_wrong_usage(penstock: Run, tmp_path: Path) -> None:
    shop = _shop(tmp_path / "shop")
    (tmp_path / "s.json").write_text('{"payload": {}}')
    for sample, says in (
        ("reserv=s.json", "is not STAGE=FILE; the stages are reserve, release"),
        ("reserve=gone.json", "cannot be read"),
        (f"release={tmp_path / 's.json'}", "an undo gets the payload of what it undoes; give it to reserve"),
    ):
        done = penstock("plugin", "check", shop, "--sample", sample)
        assert done.returncode == 2
        assert says in " ".join(done.stderr.split())
