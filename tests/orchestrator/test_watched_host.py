"""`penstock serve` applies what is saved: from the start on, after a freeze, and in files that came in late."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from door_host import Client, Host, serving

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


def status(host: Host) -> dict[str, object]:
    found = host.ask("GET", "/v1/status")[1]
    assert isinstance(found, dict)
    return found


def revision(host: Host) -> int:
    found = status(host)["revision"]
    assert isinstance(found, dict)
    return int(found["number"])


def serves(host: Host, number: int) -> None:
    """Wait until a revision serves. The events come one by one; their stream is bounded by the client's patience."""
    with closing(Client(host.path)) as client:
        client.request("GET", "/v1/events")
        stream = client.getresponse()
        while revision(host) < number:
            line = stream.readline()
            assert line, "the stream ended"
    assert revision(host) == number


def command(host: Host, name: str, **params: object) -> object:
    code, answer = host.ask("POST", f"/v1/commands/{name}", params)
    assert code == 200, answer
    return answer


def test_a_save_is_applied_from_the_first_start_on(folder: Path, environment: Mapping[str, str]) -> None:
    with serving(folder, environment) as host:
        edit(folder / "pipeline.yaml", "[forbidden]", "[forbidden, secret]")
        serves(host, 2)
        edit(folder / "plugins" / "guard" / "plugin.py", "if word in text)", "if word in text.lower())")
        serves(host, 3)


def test_what_was_saved_while_frozen_is_applied_by_a_thaw_whoever_looked_at_it(
    folder: Path, environment: Mapping[str, str]
) -> None:
    with serving(folder, environment) as host:
        command(host, "freeze", reason="a night")
        edit(folder / "pipeline.yaml", "[forbidden]", "[forbidden, secret]")
        planned = command(host, "plan")
        assert isinstance(planned, dict)
        assert planned["change"]["plugins"] == {"guard": "reconfigure", "label": "keep"}
        assert revision(host) == 1
        command(host, "thaw")
        serves(host, 2)


def test_a_host_that_starts_frozen_watches_once_it_is_thawed(folder: Path, environment: Mapping[str, str]) -> None:
    with serving(folder, environment) as host:
        command(host, "freeze", reason="a night")
    with serving(folder, environment) as host:
        edit(folder / "pipeline.yaml", "[forbidden]", "[forbidden, secret]")
        command(host, "thaw")
        serves(host, 2)
        edit(folder / "pipeline.yaml", "[forbidden, secret]", "[secret]")
        serves(host, 3)


def test_a_file_that_a_command_brought_in_is_watched(folder: Path, environment: Mapping[str, str]) -> None:
    words = folder / "words.yaml"
    words.write_text("hooks: { tool_post_invoke: { unmatched: deny } }\n")
    with serving(folder, environment) as host:
        command(host, "freeze", reason="a night")
        edit(folder / "pipeline.yaml", "name: live\n", "name: live\ninclude: [words.yaml]\n")
        command(host, "apply")
        command(host, "thaw")
        assert revision(host) == 2
        edit(words, "deny", "allow")
        serves(host, 3)


def test_what_was_rolled_back_from_stays_so_until_something_is_saved(
    folder: Path, environment: Mapping[str, str]
) -> None:
    with serving(folder, environment) as host:
        edit(folder / "pipeline.yaml", "[forbidden]", "[forbidden, secret]")
        serves(host, 2)
        command(host, "rollback")
        (folder / "README.md").touch()
        edit(folder / "pipeline.yaml", "[forbidden, secret]", "[forbidden, secret, more]")
        serves(host, 4)


def test_a_hangup_stops_it_as_a_signal_to_end_does(folder: Path, environment: Mapping[str, str]) -> None:
    with serving(folder, environment) as host:
        host.signal(signal.SIGHUP)
        assert host.ended() == 0
        assert not host.path.exists()
