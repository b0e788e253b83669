"""`check` proves what a stage and its undo promise together, and names the promise that is broken."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from isolation.conformance import CHECKS, UNDO_CHECKS, Finding, Outcome, Subject, check
from isolation.manifest import read_manifest
from isolation.spec import WorkerSpec, child_environment

MANIFEST = """
[project]
name = "shop"
version = "1.0.0"

[tool.penstock]
data = true

[tool.penstock.stages.reserve]
idempotent = true
outputs = { ticket = "string", wanted = "int" }
hooks = ["tool_pre_invoke"]

[tool.penstock.stages.release]
undoes = "reserve"
outputs = { released = "bool", why = "string" }
"""

GOOD = """
from penstock_plugin import Busy, Plugin
from penstock_plugin.effects import Effects

plugin = Plugin()
effects = Effects()
plugin.startup(effects.open)
tickets = []

@plugin.stage("reserve")
def reserve(call):
    with effects.once(call) as effect:
        if effect.due:
            tickets.append(call.key)
            effect.out = {"ticket": f"{len(tickets)}"}
    return call.allow(out=effect.out)

@plugin.compensation("release", undoes="reserve")
def release(call):
    with effects.undo(call) as effect:
        effect.out = {"released": True}
    return call.allow(out=effect.out if effect.due else {"released": True})
"""

PEER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        method, params = message["method"], message["params"]
        result = {}
        if method == "initialize":
            stages = {"reserve": {}, "release": {"undoes": "reserve"}}
            result = {"protocol": "1.0", "plugin": params["plugin"], "stages": stages}
        if method == "stage/compensate":
            result = ANSWER
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
        if method == "shutdown":
            break
"""


def _subject(folder: Path, source: str, *, command: bool = False) -> Subject:
    (folder / "pyproject.toml").write_text(MANIFEST)
    (folder / "plugin.py").write_text(source)
    manifest = read_manifest(folder)
    (folder / "data").mkdir()
    spec = WorkerSpec(
        plugin=manifest.name,
        plugin_name=manifest.name,
        version=manifest.version,
        python=Path(sys.executable),
        root=folder,
        stages=tuple(manifest.stages),
        digest="0" * 64,
        entry=None if command else manifest.entry,
        command=(sys.executable, "-S", "plugin.py") if command else None,
        environment=child_environment(os.environ),
        data=folder / "data",
        site=False,
        undoes=manifest.undoes,
    )
    samples = {"reserve": {"tool_pre_invoke": {"name": "tool", "args": {"q": "x"}}}}
    return Subject(spec, samples, idempotent=frozenset({"reserve"}))


def _named(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.check == name)


def test_a_plugin_that_uses_the_ledger_keeps_every_promise(tmp_path: Path) -> None:
    findings = check(_subject(tmp_path, GOOD))
    assert [finding.check for finding in findings] == [entry.name for entry in (*CHECKS, *UNDO_CHECKS)]
    assert [finding for finding in findings if finding.outcome is not Outcome.PASSED] == []
    assert list((tmp_path / "data").iterdir()) == [], "its own data directory was used"


FORGETFUL = "release(call):\n    return None\n"
"""An undo that does nothing at all."""


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (
            ("release(call):", FORGETFUL + "def unused(call):"),
            "do after its undo",
            "reserve succeeded with a key that was done and undone",
        ),
        (
            ("release(call):", FORGETFUL + "def unused(call):"),
            "undo after a restart",
            "reserve succeeded with a key that another process has done, and this one undone",
        ),
        (
            ("release(call):", "release(call):\n    if call.undoes not in tickets: raise KeyError(call.undoes)"),
            "undo of nothing",
            "release of a key that never happened was answered with an error: -32804 KeyError",
        ),
        (
            ("release(call):", "release(call):\n    assert effects.read(call.undoes).state != 'undone'"),
            "undo",
            "release for the second time was answered with an error: -32804 AssertionError",
        ),
        (
            ("return call.allow(out=effect.out if", "return call.allow(out={'why': str(effect.due)} if"),
            "undo",
            'release put out {"why": "True"}, and {"released": true} the second time',
        ),
        (
            ("out=effect.out)\n\n", "out={'wanted': tickets.append(1) or len(tickets)})\n\n"),
            "do twice",
            'reserve put out {"wanted": ',
        ),
        (
            ("reserve(call):", "reserve(call):\n    if effects.read(call.key).state == 'undone': raise Busy('no')"),
            "do after its undo",
            "reserve with a key that was done and undone asks to be called again (-32802)",
        ),
        (
            ("effects.open", "lambda start: effects.open(_elsewhere(start))"),
            "undo after a restart",
            "reserve succeeded with a key whose undo came to another process",
        ),
    ],
)
def test_a_broken_promise_is_named_with_a_remedy(tmp_path: Path, change: tuple[str, str], name: str, said: str) -> None:
    elsewhere = """
def _elsewhere(start):
    import pathlib, tempfile
    from penstock_plugin import Start
    return Start("x", "1", pathlib.Path(tempfile.mkdtemp(dir=start.data)), print)
"""
    source = GOOD.replace("tickets = []", "tickets = []" + elsewhere).replace(*change)
    finding = _named(check(_subject(tmp_path, source)), name)
    assert finding.outcome is Outcome.FAILED
    assert said in finding.said
    assert finding.remedy


@pytest.mark.parametrize(
    ("answer", "name", "said"),
    [
        ('{"payload": {}}', "undo", 'of what the checks before have done was answered with {"payload": {}}'),
        ('{"violation": {"code": "x", "reason": "y"}}', "undo of nothing", "an undo gives `out` at most"),
        ("[]", "undo of nothing", "was answered with []"),
        ("{}", "undo by its method", "answered a stage/invoke of release, which is an undo, as if it had been right"),
        ("None", "do after its undo", "reserve succeeded with a key that was done and undone"),
    ],
)
def test_a_plugin_in_another_language_is_held_to_the_same(tmp_path: Path, answer: str, name: str, said: str) -> None:
    subject = _subject(tmp_path, PEER.replace("ANSWER", answer), command=True)
    finding = _named(check(subject), name)
    assert finding.outcome is Outcome.FAILED
    assert said in finding.said


def test_a_sample_that_is_refused_proves_nothing_and_says_what_to_give(tmp_path: Path) -> None:
    source = GOOD.replace("reserve(call):", "reserve(call):\n    if call.input.get('n') != 2: raise ValueError('n?')")
    subject = _subject(tmp_path, source)
    findings = check(subject)
    for name in ("undo", "do after its undo", "do twice", "undo after a restart"):
        doubt = _named(findings, name)
        assert doubt.outcome is Outcome.WARNING
        assert "ValueError: n?" in doubt.said
        assert "give it one that it takes: --sample reserve=FILE" in doubt.said
    assert _named(findings, "undo of nothing").outcome is Outcome.PASSED
    findings = check(replace(subject, inputs={"reserve": {"n": 2}}))
    assert {_named(findings, entry.name).outcome for entry in UNDO_CHECKS} == {Outcome.PASSED}


def test_what_a_plugin_says_that_it_undoes_is_held_against_its_manifest(tmp_path: Path) -> None:
    subject = _subject(
        tmp_path, GOOD.replace('@plugin.compensation("release", undoes="reserve")', '@plugin.stage("release")')
    )
    (finding,) = check(subject)
    assert 'says that its stage release undoes null; its manifest says "reserve"' in finding.said
