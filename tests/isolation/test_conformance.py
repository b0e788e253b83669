"""`check` passes what keeps the protocol, and names what does not."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from isolation.conformance import CHECKS, Finding, Outcome, Subject, check
from isolation.manifest import read_manifest
from isolation.spec import WorkerSpec, child_environment
from isolation.template import write_template

TOP = Path(__file__).parents[2]
HOSTILE = TOP / "tests" / "system" / "hostile" / "plugins"
SAMPLES = {
    "tool_pre_invoke": {"name": "tool", "args": {"q": "x"}},
    "tool_post_invoke": {"name": "tool", "result": {"content": []}},
}


def _subject(root: Path) -> Subject:
    manifest = read_manifest(root)
    spec = WorkerSpec(
        plugin=manifest.name,
        plugin_name=manifest.name,
        version=manifest.version,
        python=Path(sys.executable),
        root=root,
        stages=tuple(manifest.stages),
        digest="0" * 64,
        entry=manifest.entry,
        command=manifest.command,
        environment=child_environment(os.environ),
        site=False,
    )
    return Subject(spec, dict.fromkeys(manifest.stages, SAMPLES))


def _hostile(script: str) -> Subject:
    spec = WorkerSpec(
        plugin=script,
        plugin_name=script,
        version="1.0.0",
        python=Path(sys.executable),
        root=HOSTILE,
        stages=("act",),
        digest="0" * 64,
        entry=f"{script}:plugin" if script.startswith("runtime_") else None,
        command=None if script.startswith("runtime_") else (sys.executable, "-S", "-B", f"{script}.py"),
        environment=child_environment(os.environ),
        startup_seconds=1.0,
        max_frame_bytes=4 * 1024 * 1024,
        site=False,
    )
    return Subject(spec, {"act": {"tool_pre_invoke": SAMPLES["tool_pre_invoke"]}})


def _named(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.check == name)


def test_the_template_keeps_every_rule(tmp_path: Path) -> None:
    write_template(tmp_path / "new", "new")
    heard: list[Finding] = []
    findings = check(_subject(tmp_path / "new"), heard.append)
    assert [finding.check for finding in findings] == [entry.name for entry in CHECKS]
    assert [finding for finding in findings if finding.outcome is not Outcome.PASSED] == []
    assert heard == findings


@pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl")
def test_the_perl_example_keeps_every_rule() -> None:
    findings = check(_subject(TOP / "examples" / "perl-plugin"))
    assert [finding for finding in findings if finding.outcome is not Outcome.PASSED] == []


@pytest.mark.parametrize(
    ("script", "name", "said"),
    [
        ("fails_to_exist", "handshake", "exited with status 2"),
        ("handshake_wrong_version", "handshake", "speaks protocol '2.0'; this host speaks '1.0'"),
        ("handshake_wrong_name", "handshake", "its manifest says handshake_wrong_name 1.0.0"),
        ("handshake_wrong_stages", "handshake", "does not offer act of its manifest"),
        ("handshake_zero_concurrency", "handshake", "an integer from 1 on"),
        ("handshake_never", "handshake", "no answer to id 1 within 1 s"),
        ("greets_on_stdout", "handshake", "Welcome to my plugin!"),
        ("runtime_import_error", "handshake", "No module named 'no_such_package_anywhere'"),
        ("configure_error", "configure", "the word list is empty"),
        ("answers_twice", "stages", "answered id 3 again"),
        ("answers_unknown_id", "stages", "though it was never asked"),
        ("answers_string_id", "stages", "id"),
        ("answers_both", "stages", "exactly one of result and error"),
        ("result_list", "stages", "the result must be an object or null"),
        ("result_unknown_member", "stages", "the result has allow"),
        ("result_payload_and_patch", "stages", "a payload and a patch"),
        ("result_violation_without_reason", "stages", "code and reason are strings"),
        ("segfaults_in_call", "stages", "killed by signal 11"),
        ("polite", "unknown stage", "reads as: allow"),
        ("polite", "unknown method", "-32601"),
        ("polite", "garbage", "ended at a line that is no JSON"),
    ],
)
def test_what_a_plugin_does_wrong_is_named_with_a_remedy(script: str, name: str, said: str) -> None:
    finding = _named(check(_hostile(script)), name)
    assert finding.outcome is not Outcome.PASSED
    assert said in finding.said
    assert finding.remedy


def test_an_exception_is_shown_with_the_authors_own_lines() -> None:
    said = _named(check(_hostile("runtime_import_error")), "handshake").said
    assert "runtime_import_error.py" in said
    assert "import no_such_package_anywhere" in said


def test_a_plugin_that_stays_is_found_out() -> None:
    findings = check(replace(_hostile("stays_after_shutdown"), end_seconds=0.3))
    failed = {finding.check for finding in findings if finding.outcome is Outcome.FAILED}
    assert {"shutdown", "end of input", "SIGTERM"} <= failed


def test_a_plugin_that_cannot_start_is_not_tried_any_further() -> None:
    assert [finding.check for finding in check(_hostile("handshake_exit"))] == ["handshake"]


def test_a_plugin_that_needs_its_secrets_is_checked_with_samples_of_them(tmp_path: Path) -> None:
    """The operator's own have no business in a check."""
    (tmp_path / "plugin.py").write_text(
        "from penstock_plugin import Plugin\n\nplugin = Plugin()\n\n\n"
        "@plugin.configure\ndef log_in(config):\n    return config.secrets['token']\n\n\n"
        "@plugin.stage('act')\ndef act(call):\n    assert call.config == call.secrets['token']\n"
    )
    manifest = (
        '[tool.penstock]\nname = "asks"\nversion = "1.0.0"\nentry = "plugin:plugin"\n\n[tool.penstock.stages.act]\n'
    )
    (tmp_path / "pyproject.toml").write_text(manifest)
    subject = _subject(tmp_path)
    assert _named(check(subject), "configure").outcome is Outcome.FAILED
    findings = check(replace(subject, secrets=("token",)))
    assert {finding.outcome for finding in findings} == {Outcome.PASSED}
