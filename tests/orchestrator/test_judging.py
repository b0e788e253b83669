"""`penstock plugin check` refuses what a run would refuse, and an `out` that the manifest does not declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from isolation.manifest import Manifest, read_manifest
from orchestrator.judging import complaint

MANIFEST = """
[tool.penstock]
command = ["awk"]

[tool.penstock.stages.act]
outputs = { found = "int" }

[tool.penstock.stages.act.hooks]
tool_pre_invoke = { writes = ["payload.args"] }
http_auth_resolve_user = {}
something_of_ours = {}
"""
PAYLOAD = {"name": "search", "args": {"q": "x", "n": 1}}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "pyproject.toml").write_text(MANIFEST)
    return read_manifest(tmp_path)


@pytest.mark.parametrize(
    "result",
    [
        b"null",
        b"{}",
        b'{"patch": {"args": {"q": null}}, "out": {"found": 1}}',
        b'{"payload": {"name": "search", "args": {}}}',
        b'{"violation": {"code": "a", "reason": "b"}}',
    ],
)
def test_what_a_run_takes_is_fine(manifest: Manifest, result: bytes) -> None:
    assert complaint(manifest, "act", "tool_pre_invoke", PAYLOAD, result) is None


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (b'{"patch": {"name": "other"}}', "changed payload.name; the manifest's `writes` allow payload.args"),
        (b'{"payload": {"args": {"q": "x", "n": 1}}}', "changed payload.name; "),
        (b'{"violation": {"code": "penstock.mine", "reason": "b"}}', "is the host's own"),
        (b'{"violation": {"code": "a", "reason": "b", "http_status": "403"}}', "Expected `int"),
        (b'{"out": {"fuond": 1}}', "put out 'fuond'; the manifest's `outputs` are found"),
        (b'{"out": {"found": "1"}}', "put out 'found' as something else than int"),
        (b'{"result": {}}', "it takes no result"),
        (b'{"payload": {"args": {"q": 1e999}}}', "Number out of range"),
    ],
)
def test_what_a_run_refuses_is_told(manifest: Manifest, result: bytes, said: str) -> None:
    assert said in str(complaint(manifest, "act", "tool_pre_invoke", PAYLOAD, result))


def test_a_hook_without_declared_writes_and_a_hook_of_one_s_own_allow_any_change(manifest: Manifest) -> None:
    assert complaint(manifest, "act", "something_of_ours", {}, b'{"patch": {"a": 1}}') is None
    assert complaint(manifest, "act", "http_auth_resolve_user", {}, b'{"patch": {"a": 1}}') is None
