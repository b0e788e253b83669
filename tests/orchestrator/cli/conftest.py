"""A pipeline file with a small plugin that needs no package index, and the `penstock` command as users start it."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

PENSTOCK = Path(sysconfig.get_path("scripts")) / "penstock"

WAIT_SECONDS = 60.0
"""The longest that any command here may take; a first start builds an empty environment."""

MANIFEST = """\
[tool.penstock]
name = "words"
version = "1.0.0"

[tool.penstock.stages.check]
outputs = { found = "int" }

[tool.penstock.config-schema]
type = "object"
additionalProperties = false
properties.word = { type = "string" }
"""

CODE = '''\
"""Denies a word, masks `secret`, and dies of `die`."""

import logging
import os

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("check")
def check(call):
    text = call.payload["args"].get("q", "")
    if text == "die":
        os._exit(3)
    if text == "loud":
        logging.getLogger("words").warning("heard \\x1b[31m%s", text)
    if call.config.get("word", "bad") in text:
        return call.deny("words.found", "a bad word", details={"q": text})
    if "secret" in text:
        return call.modify({**call.payload, "args": {"q": text.replace("secret", "***")}}, out={"found": 1})
    return call.allow(out={"found": 0})
'''

PIPELINE = """\
version: 1
name: guard
plugins:
  words: { source: ./words }
pipelines:
  call:
    hook: [tool_pre_invoke]
    deadline: 20s
    stages:
      check: { uses: words/check, timeout: 10s }
  second:
    hook: tool_pre_invoke
    match: "payload.name == 'twice'"
    stages:
      again: { uses: words/check, timeout: 10s, with: { word: never } }
hooks:
  server_pre_register: { unmatched: deny }
tests:
  - name: a secret is masked
    pipeline: call
    payload: { name: t, args: { q: a secret } }
    expect: ["run.verdict == 'modify'", "stages.check.out.found == 1"]
  - name: a mock answers
    pipeline: call
    payload: { name: t, args: { q: fine } }
    mock: { check: { violation: { code: x, reason: y } } }
    expect: ["run.verdict == 'deny'"]
profiles:
  lax: { pipelines: { call: { stages: { check: { mode: permissive } } } } }
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


def write_guard(folder: Path) -> None:
    """Write the pipeline file and its plugin."""
    plugin = folder / "words"
    plugin.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (plugin / "pyproject.toml").write_text(MANIFEST)
    (plugin / "plugin.py").write_text(CODE)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests here, with the empty environment in it that every `words` shares."""
    root, folder = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("first")
    write_guard(folder)
    command = [str(PENSTOCK), "run", str(folder), "--input", os.devnull]
    seen = {**os.environ, "PENSTOCK_STORE": str(root), "PENSTOCK_STATE": str(folder / "state")}
    subprocess.run(command, env=seen, capture_output=True, timeout=WAIT_SECONDS, check=True)
    return root


@pytest.fixture
def environment(store: Path, tmp_path: Path) -> Mapping[str, str]:
    """What the command sees of the world."""
    state = str(tmp_path / "state")
    return {**os.environ, "PENSTOCK_STORE": str(store), "PENSTOCK_STATE": state, "COLUMNS": "100", "TERM": "xterm"}


@pytest.fixture
def guard(tmp_path: Path) -> Path:
    """A folder with a pipeline file and its plugin."""
    folder = tmp_path / "guard"
    write_guard(folder)
    return folder


@pytest.fixture
def penstock(environment: Mapping[str, str], tmp_path: Path) -> Run:
    """Runs the command in an empty folder."""

    def run(*arguments: object, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PENSTOCK), *map(str, arguments)],
            input=typed,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**environment, **more},
            timeout=WAIT_SECONDS,
            check=False,
        )

    return run
