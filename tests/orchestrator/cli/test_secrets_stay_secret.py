"""A secret goes to the plugin that is granted it, and nowhere else: every output of a real host is searched for it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import door_host
import pytest
from shop import Host, serving

FILE_MARKER = "f1le-marker-of-a-secret"
ENV_MARKER = "3nv-marker-of-a-secret"
MARKERS = (FILE_MARKER, ENV_MARKER)

PIPELINE = """\
version: 1
name: keyed
secrets:
  api: { from: file, path: ./api_token }
  mac: { from: env, name: KEYED_MAC }
plugins:
  keyed: { source: ./keyed, grant: { secrets: [token, mac] }, secrets: { token: api, mac: mac } }
pipelines:
  call:
    hook: tool_pre_invoke
    deadline: 20s
    durable: true
    stages:
      prove: { uses: keyed/prove, compensate: { uses: keyed/unprove } }
      last: { uses: keyed/last, needs: [prove] }
tests:
  - { name: proven, pipeline: call, payload: { name: t, args: {} }, expect: ["stages.prove.out.secrets == 2"] }
"""
MANIFEST = """\
[tool.penstock]
name = "keyed"
version = "1.0.0"

[tool.penstock.env]
pass = ["KEYED_MAC", "HOME"]

[tool.penstock.permissions]
secrets = ["token", "mac"]

[tool.penstock.stages.prove]
effects = "external"
outputs = { token = "string", mac = "string", secrets = "int", environment = "bool" }

[tool.penstock.stages.unprove]
undoes = "prove"

[tool.penstock.stages.last]
"""
CODE = '''\
"""Proves that it has its secrets, without giving them away."""

import hashlib
import logging
import os

from penstock_plugin import Plugin

plugin = Plugin()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


@plugin.configure
def check(config):
    logging.getLogger("keyed").debug("configured with %r", config)
    return {name: digest(value) for name, value in config.secrets.items()}


@plugin.stage("prove")
def prove(call):
    logging.getLogger("keyed").info("asked in %r, %r", call, call.config)
    known = {name: digest(value) for name, value in call.secrets.items()}
    assert known == call.config
    return call.allow(out={**known, "secrets": len(known), "environment": "KEYED_MAC" in os.environ})


@plugin.compensation("unprove", undoes="prove")
def unprove(call):
    assert len(call.secrets) == 2


@plugin.stage("last")
def last(call):
    if call.payload["args"].get("wish") == "deny":
        return call.deny("keyed.no", "no")
    if call.payload["args"].get("wish") == "raise":
        raise RuntimeError(f"no login with {call.secrets['token']} and {call.secrets['mac']}")
'''

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def keyed(tmp_path: Path) -> Path:
    """A folder with a file, a plugin that is handed two secrets, and the file of one of them."""
    folder = tmp_path / "keyed"
    (folder / "keyed").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "keyed" / "pyproject.toml").write_text(MANIFEST)
    (folder / "keyed" / "plugin.py").write_text(CODE)
    (folder / "api_token").write_text(FILE_MARKER + "\n")
    return folder


def assert_silent(what: str, data: bytes) -> None:
    for marker in MARKERS:
        assert marker.encode() not in data, f"{what} holds a secret"


def assert_folder_silent(folder: Path, but: Path | None = None) -> int:
    """Search every byte below a folder; return how many files there were."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path != but]
    for path in files:
        assert_silent(str(path), path.read_bytes())
    return len(files)


def workers_of(host: Host) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{host.process.pid}/task/{host.process.pid}/children").read_text().split()]


def test_the_plugin_has_its_secrets_and_nothing_else_shows_them(
    keyed: Path, environment: Mapping[str, str], penstock: Run
) -> None:
    host_sees = {**environment, "KEYED_MAC": ENV_MARKER}
    with serving(keyed, host_sees, "-vv") as host:
        records = [host.call("tool_pre_invoke", wish) for wish in ("", "deny", "raise")]
        workers = workers_of(host)
        assert workers
        for pid in workers:
            for part in ("environ", "cmdline"):
                assert_silent(f"/proc/{pid}/{part}", Path(f"/proc/{pid}/{part}").read_bytes())
            assert b"HOME=" in Path(f"/proc/{pid}/environ").read_bytes(), "what the manifest wants is passed on"
        listed = penstock("runs", "list", keyed, "--json")
        shown = [penstock("runs", "show", str(record["run_id"]), keyed, "--json") for record in records]
        for done in (listed, *shown):
            assert done.returncode == 0
            assert_silent("a command", (done.stdout + done.stderr).encode())
    assert [record["verdict"] for record in records] == ["allow", "deny", "deny"]
    assert_silent("the records", json.dumps(records).encode())
    state = Path(environment["PENSTOCK_STATE"])
    assert assert_folder_silent(state) >= 2, "a journal and the memory of runs"
    assert list(state.rglob("journal*"))
    assert_folder_silent(keyed, but=keyed / "api_token")


ASKED = (
    ("status",),
    ("plan",),
    ("apply",),
    ("history",),
    ("diff", "2"),
    ("logs", "--lines", "1000"),
    ("breakers",),
    ("override", "--list"),
    ("runs", "list"),
)
COMMANDS = ("status", "plan", "history", "override.list", "runs.list", "breakers.list")
"""Each of the host that serves the file, the change between two secrets included."""


def test_whatever_is_asked_of_a_daemon_over_such_a_file_is_silent(
    keyed: Path, environment: Mapping[str, str], penstock: Run
) -> None:
    """Also what a tap shows with the values: what a stage is given holds no secret, and its plugin puts none out."""
    file, before = keyed / "pipeline.yaml", "earlier-" + FILE_MARKER
    (keyed / "api_token").write_text(before)
    heard: list[tuple[str, bytes]] = []
    host_sees = {**environment, "KEYED_MAC": ENV_MARKER}
    with door_host.serving(keyed, host_sees, "-vv", "--no-watch") as host, ExitStack() as stack:
        streams = {}
        for path in ("/v1/events", "/v1/streams/tap?stage=call/last&values=true", "/v1/streams/logs?follow=true"):
            client = stack.enter_context(host.client())
            client.request("GET", path)
            streams[path] = client.getresponse()
            assert streams[path].status == 200, path
        (keyed / "api_token").write_text(FILE_MARKER + "\n")
        file.write_text(PIPELINE.replace("deadline: 20s", "deadline: 30s"))
        done = [penstock("plan", keyed, "--json")]
        for changed in (False, True):
            for wish in ("", "deny", "raise"):
                answer = host.call("tool_pre_invoke", {"name": "t", "args": {"wish": wish}})
                assert answer["verdict"] == ("deny" if wish else "allow")
                heard.append((f"the answer to {wish!r}", json.dumps(answer).encode()))
            if not changed:
                done.append(penstock("apply", keyed, "--json"))
        done += [penstock(*words, keyed) for words in (*ASKED, ("why", answer["run_id"]))]
        heard += [(name, json.dumps(host.command(name)).encode()) for name in COMMANDS]
        heard += [(path, repr(host.ask("GET", path)).encode()) for path in ("/v1/status", "/v1/runs", "/metrics")]
        host.signal()
        heard += [(path, stream.read()) for path, stream in streams.items()]
    said = dict(heard)
    assert b"event: ChangeApplied" in said["/v1/events"] and b"event: RunEnded" in said["/v1/events"]
    assert said["/v1/streams/tap?stage=call/last&values=true"].count(b'"wish":"raise"') == 2
    assert b"[secret]" in said["/v1/streams/logs?follow=true"]
    assert {one.returncode for one in done} == {0}, [(one.args, one.stderr) for one in done if one.returncode]
    for what, data in (*heard, ("the host", host.said.encode())):
        assert_silent(what, data)
    for one in done:
        assert_silent(str(one.args), (one.stdout + one.stderr).encode())
    assert_folder_silent(Path(environment["PENSTOCK_STATE"]))


def test_every_command_over_such_a_file_is_silent(keyed: Path, penstock: Run, environment: Mapping[str, str]) -> None:
    call = json.dumps({"hook": "tool_pre_invoke", "payload": {"name": "t", "args": {}}}) + "\n"
    dones = [
        penstock("run", keyed, "--input", "-", "--json", "-vv", typed=call, KEYED_MAC=ENV_MARKER),
        penstock("test", keyed, "-vv", KEYED_MAC=ENV_MARKER),
        penstock("lint", keyed, KEYED_MAC=ENV_MARKER),
        penstock("explain", "secrets.api", "-f", keyed, KEYED_MAC=ENV_MARKER),
        penstock("graph", keyed, KEYED_MAC=ENV_MARKER),
        penstock("doctor", keyed, "--json", KEYED_MAC=ENV_MARKER),
    ]
    for done in dones:
        assert_silent(str(done.args), (done.stdout + done.stderr).encode())
    assert [done.returncode for done in dones[:2]] == [0, 0], dones[0].stderr + dones[1].stderr
    assert "asked in" in dones[0].stderr, "the log of the plugin is there"
    assert json.loads(dones[0].stdout)["verdict"] == "allow"
    assert_folder_silent(Path(environment["PENSTOCK_STORE"]))


def test_the_plugin_is_handed_the_very_values(keyed: Path, penstock: Run) -> None:
    proofs = {"token": FILE_MARKER, "mac": ENV_MARKER}
    expect = [f"stages.prove.out.{name} == '{hashlib.sha256(v.encode()).hexdigest()}'" for name, v in proofs.items()]
    expect.append("!stages.prove.out.environment")
    file = keyed / "pipeline.yaml"
    file.write_text(PIPELINE.replace('["stages.prove.out.secrets == 2"]', json.dumps(expect)))
    done = penstock("test", keyed, KEYED_MAC=ENV_MARKER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_secret_that_is_not_there_is_one_clear_error(keyed: Path, penstock: Run) -> None:
    (keyed / "api_token").unlink()
    done = penstock("run", keyed, "--input", "-", typed="")
    assert done.returncode == 1
    assert "pipeline.yaml:4:28: the secret 'api' is not to be had: " in done.stderr
    assert "the secret 'mac' is not to be had: the variable KEYED_MAC is not set" in done.stderr
    assert "[penstock.secret]" in done.stderr and "hint: " in done.stderr
