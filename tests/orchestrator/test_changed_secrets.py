"""A secret that is changed while a host serves reaches the plugin, in the process that it has and in later ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from door_host import Host, serving

FIRST, SECOND = "the-first-of-the-tokens", "the-second-of-the-tokens"

PIPELINE = """\
version: 1
name: keyed
secrets:
  api: { from: file, path: ./api_token }
plugins:
  keyed: { source: ./keyed, grant: { secrets: [token] }, secrets: { token: api } }
hooks:
  ask: { summary: Who are you, payload: { name: string, args: object }, can_deny: true }
pipelines:
  ask:
    hook: ask
    deadline: 20s
    stages:
      tell: { uses: keyed/tell }
"""
MANIFEST = """\
[tool.penstock]
name = "keyed"
version = "1.0.0"

[tool.penstock.permissions]
secrets = ["token"]

[tool.penstock.stages.tell]
"""
CODE = '''\
"""Tells which process it is and the length of its secret; takes no secret that begins with `bad`."""

import os

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.configure
def check(config):
    if config.secrets["token"].startswith("bad"):
        raise ValueError(f"nobody knows {config.secrets['token']}")


@plugin.stage("tell")
def tell(call):
    if call.payload["args"].get("wish") == "die":
        os._exit(3)
    return call.modify({**call.payload, "args": {"pid": os.getpid(), "characters": len(call.secrets["token"])}})
'''


@pytest.fixture
def keyed(tmp_path: Path) -> Path:
    """A folder with a file, a plugin that is handed a secret, and the file of that."""
    folder = tmp_path / "keyed"
    (folder / "keyed").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "keyed" / "pyproject.toml").write_text(MANIFEST)
    (folder / "keyed" / "plugin.py").write_text(CODE)
    (folder / "api_token").write_text(FIRST)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    return {"PENSTOCK_STATE": str(tmp_path / "state"), "PENSTOCK_STORE": str(tmp_path / "store")}


def save(file: Path, text: str) -> None:
    """Replace a file as a secret store does."""
    file.with_name(f".{file.name}.new").write_text(text)
    os.replace(file.with_name(f".{file.name}.new"), file)


def told(host: Host, wish: str = "") -> tuple[int, int]:
    """Which process answered, and how long its secret is."""
    answer = host.call("ask", {"name": "t", "args": {"wish": wish}})
    assert answer["verdict"] == "modify", answer
    payload = answer["payload"]
    assert isinstance(payload, dict)
    return payload["args"]["pid"], payload["args"]["characters"]


def generation(host: Host) -> object:
    return host.command("status")["plugins"][0]["generation"]


def test_it_is_told_to_the_process_that_there_is(keyed: Path, environment: Mapping[str, str]) -> None:
    with serving(keyed, environment) as host:
        (process, characters), serves = told(host), generation(host)
        assert characters == len(FIRST)
        save(keyed / "api_token", SECOND)
        host.serves(2)
        assert told(host) == (process, len(SECOND))
        assert generation(host) == serves


def test_a_worker_that_is_started_again_has_the_new_one(keyed: Path, environment: Mapping[str, str]) -> None:
    with serving(keyed, environment) as host:
        seen = [told(host)]
        save(keyed / "api_token", SECOND)
        host.serves(2)
        assert host.call("ask", {"name": "t", "args": {"wish": "die"}})["verdict"] == "deny"
        seen.append(told(host))
    assert [characters for _, characters in seen] == [len(FIRST), len(SECOND)]
    assert len({process for process, _ in seen}) == 2


def test_one_that_the_plugin_refuses_changes_nothing_and_is_shown_nowhere(
    keyed: Path, environment: Mapping[str, str]
) -> None:
    with serving(keyed, environment) as host:
        before = told(host)
        with host.client() as client:
            client.request("GET", "/v1/events")
            stream = client.getresponse()
            save(keyed / "api_token", "bad-token-of-a-thief")
            events = b""
            while b"event: ChangeRefused" not in events:
                events += stream.readline()
            events += stream.readline()
        said = events + repr([host.command(name) for name in ("status", "history")]).encode()
        assert b"nobody knows [secret]" in said
        assert told(host) == before
    written = [each.read_bytes() for each in Path(environment["PENSTOCK_STATE"]).rglob("*") if each.is_file()]
    assert len(written) > 1
    for data in (said, host.said.encode(), *written):
        assert b"thief" not in data
