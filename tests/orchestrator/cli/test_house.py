"""`penstock env` and `penstock doctor`: the state of the store and of the machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Run = Callable[..., "CompletedProcess[str]"]


def test_an_empty_store_has_no_environments(penstock: Run, tmp_path: Path) -> None:
    done = penstock("env", "list", "--json", PENSTOCK_STORE=str(tmp_path / "new"))
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_environments_are_listed_with_the_plugins_that_use_them(penstock: Run) -> None:
    (info,) = json.loads(penstock("env", "list", "--json").stdout)
    assert "words" in info["plugins"]  # and whatever other test had a plugin without requirements
    assert (info["packages"], info["whole"]) == ([], True)
    table = penstock("env", "list").stdout
    assert info["fingerprint"][:12] in table


def test_a_dry_collection_removes_nothing(penstock: Run) -> None:
    done = penstock("env", "gc", "--dry-run", "--json")
    assert (done.returncode, json.loads(done.stdout)["dry_run"]) == (0, True)
    assert len(json.loads(penstock("env", "list", "--json").stdout)) == 1


def test_the_doctor_is_content_here(penstock: Run, guard: Path) -> None:
    done = penstock("doctor", guard, "--json")
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert findings["plugin words"]["level"] == "ok"
    assert {"platform", "uv", "environments", "store", "pidfd"} <= set(findings)


def test_every_finding_that_is_not_fine_has_a_remedy(penstock: Run, guard: Path) -> None:
    (guard / "words" / "plugin.py").write_text("import no_such_module\n")
    done = penstock("doctor", guard, "--json")
    assert done.returncode == 1
    findings = json.loads(done.stdout)
    assert "plugin words" in {finding["subject"] for finding in findings if finding["level"] == "error"}
    assert all((finding["level"] == "ok") == (not finding["remedy"]) for finding in findings)


def test_a_wrong_file_is_a_finding(penstock: Run, guard: Path) -> None:
    (guard / "pipeline.yaml").write_text("version: 1\n")
    done = penstock("doctor", guard)
    assert done.returncode == 1
    assert "✗ pipeline file" in done.stdout


def test_a_store_that_cannot_be_is_found(penstock: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = penstock("doctor", PENSTOCK_STORE=str(tmp_path / "file"))
    assert done.returncode == 1
    assert "→ make it writable, or name another folder in PENSTOCK_STORE" in done.stdout
