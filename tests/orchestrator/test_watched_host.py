"""`penstock serve` applies what is saved: from the start on, after a freeze, and in files that came in late."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from door_host import serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "live-reload"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example."""
    folder = tmp_path / "live"
    shutil.copytree(EXAMPLE, folder)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"PENSTOCK_STATE": str(tmp_path / "state")}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_save_is_applied_from_the_first_start_on(folder: Path, environment: Mapping[str, str]) -> None:
    with serving(folder, environment) as host:
        edit(folder / "pipeline.yaml", "[forbidden]", "[forbidden, secret]")
        host.serves(2)
        edit(folder / "plugins" / "guard" / "plugin.py", "if word in text)", "if word in text.lower())")
        host.serves(3)


def test_what_was_saved_while_frozen_is_applied_by_a_thaw_whoever_looked_at_it(
    folder: Path, environment: Mapping[str, str]
) -> None:
    with serving(folder, environment) as host:
        host.command("freeze", {"reason": "a night"})
        edit(folder / "pipeline.yaml", "[forbidden]", "[forbidden, secret]")
        planned = host.command("plan")
        assert planned["change"]["plugins"] == {"guard": "reconfigure", "label": "keep"}
        assert host.revision() == 1
        host.command("thaw")
        host.serves(2)


def test_a_host_that_starts_frozen_watches_once_it_is_thawed(folder: Path, environment: Mapping[str, str]) -> None:
    with serving(folder, environment) as host:
        host.command("freeze", {"reason": "a night"})
    with serving(folder, environment) as host:
        edit(folder / "pipeline.yaml", "[forbidden]", "[forbidden, secret]")
        host.command("thaw")
        host.serves(2)
        edit(folder / "pipeline.yaml", "[forbidden, secret]", "[secret]")
        host.serves(3)


def test_a_file_that_a_command_brought_in_is_watched(folder: Path, environment: Mapping[str, str]) -> None:
    words = folder / "words.yaml"
    words.write_text("hooks: { tool_post_invoke: { unmatched: deny } }\n")
    with serving(folder, environment) as host:
        host.command("freeze", {"reason": "a night"})
        edit(folder / "pipeline.yaml", "name: live\n", "name: live\ninclude: [words.yaml]\n")
        host.command("apply")
        host.command("thaw")
        assert host.revision() == 2
        edit(words, "deny", "allow")
        host.serves(3)


def test_what_was_rolled_back_from_stays_so_until_something_is_saved(
    folder: Path, environment: Mapping[str, str]
) -> None:
    with serving(folder, environment) as host:
        edit(folder / "pipeline.yaml", "[forbidden]", "[forbidden, secret]")
        host.serves(2)
        host.command("rollback")
        (folder / "README.md").touch()
        edit(folder / "pipeline.yaml", "[forbidden, secret]", "[forbidden, secret, more]")
        host.serves(4)


def test_a_hangup_stops_it_as_a_signal_to_end_does(folder: Path, environment: Mapping[str, str]) -> None:
    with serving(folder, environment) as host:
        host.signal(signal.SIGHUP)
        assert host.ended() == 0
        assert not host.path.exists()
