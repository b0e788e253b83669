"""What the host signs in a plugin's stead: which values, with which key, and where the statements are."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from isolation.store.store import Store
from orchestrator.loading import load
from orchestrator.orchestrator import Orchestrator
from orchestrator.signing.key import KEY_FILE, KEY_VARIABLE, PUBLIC_FILE, SigningKeyError, signing_key
from orchestrator.signing.statements import STATEMENTS_FILE

WAIT_SECONDS = 60.0

MANIFEST = """\
[tool.penstock]
name = "judge-of-names"
version = "1.0.0"

[tool.penstock.stages.judge]
outputs = { result = "object", note = "string" }
signs = ["result", "note"]

[tool.penstock.stages.look]
outputs = { result = "object" }
"""
CODE = """\
from penstock_plugin import Plugin

plugin = Plugin()

@plugin.stage("judge")
def judge(call):
    name = call.payload["name"]
    if name == "broken":
        raise ValueError(name)
    out = {"result": {"z": 1.5, "name": name, "ü": None}} | ({"note": "x"} if name == "noted" else {})
    return call.deny("no", "no", out=out) if name == "bad" else call.allow(out=out)

@plugin.stage("look")
def look(call):
    return call.allow(out={"result": {}})
"""
PIPELINE = """\
version: 1
name: signing
plugins: { judge: { source: ./judge } }
pipelines:
  names:
    hook: tool_pre_invoke
    stages:
      look: { uses: judge/look }
      first: { uses: judge/judge, needs: [look] }
      second: { uses: judge/judge, needs: [first], when: "payload.name == ''", otherwise: { result: {}, note: "" } }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "pyproject.toml").write_text(MANIFEST)
    (tmp_path / "judge" / "plugin.py").write_text(CODE)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    return tmp_path


def records(folder: Path, store: Store, *names: str, mocks: Mapping[str, Any] | None = None, **more: Any) -> list[Any]:
    """The stages of a run for each name, all of one host."""

    async def go() -> list[Any]:
        found = []
        orchestrator = Orchestrator(load(folder), store, state=folder / "state", **more)
        async with asyncio.timeout(WAIT_SECONDS), orchestrator:
            for name in names:
                result = await orchestrator.invoke("tool_pre_invoke", {"name": name}, mocks=mocks)
                found.append(result.records[0])
        return found

    return asyncio.run(go())


def read(jws: str, key: Ed25519PublicKey) -> tuple[dict[str, Any], Any]:
    """Verify a statement as anybody would, and return what it says. Raises InvalidSignature."""
    said, _, signature = jws.rpartition(".")
    key.verify(base64.urlsafe_b64decode(signature + "=="), said.encode())
    header, payload = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in said.split("."))
    return header, payload


def public(folder: Path) -> Ed25519PublicKey:
    key = load_pem_public_key((folder / "state" / PUBLIC_FILE).read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    return key


def test_named_outputs_are_signed_with_what_they_are_about(folder: Path, store: Store) -> None:
    """Whether the stage lets the call pass or not; outputs that are not named, or not there, are not."""
    good, bad, noted = records(folder, store, "good", "bad", "noted")
    assert "signed" not in good["stages"]["look"] and "signed" not in good["stages"]["second"]
    assert [[*one["stages"]["first"]["signed"]] for one in (good, bad, noted)] == [
        ["result"], ["result"], ["result", "note"],
    ]  # fmt: skip
    header, payload = read(bad["stages"]["first"]["signed"]["result"], public(folder))
    assert payload == bad["stages"]["first"]["out"]["result"] == {"z": 1.5, "name": "bad", "ü": None}
    about = {"run": bad["run_id"], "pipeline": "names", "stage": "judge-of-names/judge", "out": "result"}
    assert header.pop("penstock") == {**about, "verdict": "deny"}
    assert (header["alg"], header["typ"]) == ("EdDSA", "JWT")
    lines = (folder / "state" / STATEMENTS_FILE).read_text().splitlines()
    made = [jws for one in (good, bad, noted) for jws in one["stages"]["first"]["signed"].values()]
    assert lines == made


def test_a_statement_that_was_changed_is_no_statement(folder: Path, store: Store) -> None:
    (good,) = records(folder, store, "good")
    jws = good["stages"]["first"]["signed"]["result"]
    read(jws, public(folder))
    header, _, signature = jws.split(".")
    other = base64.urlsafe_b64encode(b'{"name":"evil"}').rstrip(b"=").decode()
    with pytest.raises(InvalidSignature):
        read(f"{header}.{other}.{signature}", public(folder))


def test_what_no_plugin_said_is_not_signed(folder: Path, store: Store) -> None:
    mocks = {"first": {"out": {"result": {"name": "mocked"}}}}
    (mocked,) = records(folder, store, "good", mocks=mocks)
    (broken,) = records(folder, store, "broken")
    for one in (mocked, broken):
        assert "signed" not in one["stages"]["first"]
    assert (folder / "state" / STATEMENTS_FILE).read_text() == ""


def test_a_rehearsal_signs_nothing(folder: Path, store: Store) -> None:
    (good,) = records(folder, store, "good", rehearsal=True)
    assert "signed" not in good["stages"]["first"]
    assert not (folder / "state").exists()


def test_a_statement_that_cannot_be_written_is_not_handed_out(folder: Path, store: Store) -> None:
    (folder / "state").mkdir(mode=0o700)
    (folder / "state" / STATEMENTS_FILE).symlink_to("/dev/full")
    (good,) = records(folder, store, "good")
    assert good["verdict"] == "allow" and "signed" not in good["stages"]["first"]


@pytest.mark.parametrize("half", [b"eyJ", b"e" * 200_000], ids=len)
def test_half_a_statement_that_a_crash_left_spoils_none_of_the_next(folder: Path, store: Store, half: bytes) -> None:
    file = folder / "state" / STATEMENTS_FILE
    for _ in range(2):
        records(folder, store, "good")
        with file.open("ab") as book:
            book.write(half)
    records(folder, store, "good")
    lines = file.read_text().splitlines()
    assert len(lines) == 3
    assert [read(line, public(folder))[1]["name"] for line in lines] == ["good"] * 3


def test_the_key_is_its_owners_alone_and_stays(folder: Path, store: Store) -> None:
    first = records(folder, store, "good")[0]["stages"]["first"]["signed"]["result"]
    key = folder / "state" / KEY_FILE
    assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE((key.parent / STATEMENTS_FILE).stat().st_mode) == 0o600
    records(folder, store, "good")
    read(first, public(folder))
    key.chmod(0o640)
    with pytest.raises(SigningKeyError, match="others than its owner may use"):
        records(folder, store, "good")


def pem(private: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_an_operators_own_key_is_used(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    own = tmp_path / "own.pem"
    own.touch(mode=0o600)
    own.write_bytes(pem(private))
    found = signing_key(tmp_path / "state", {KEY_VARIABLE: str(own)})
    assert found.private.public_key() == private.public_key()
    assert not (tmp_path / "state" / KEY_FILE).exists()
    assert (tmp_path / "state" / PUBLIC_FILE).read_bytes() == found.public_pem()


@pytest.mark.parametrize("content", [b"", b"secret words", pem(X25519PrivateKey.generate())])
def test_a_file_that_holds_no_such_key_is_refused_without_a_word_of_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE).touch(mode=0o600)
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(SigningKeyError) as refused:
        signing_key(tmp_path, {})
    assert "secret" not in str(refused.value)


def test_a_named_key_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(SigningKeyError):
        signing_key(tmp_path / "state", {KEY_VARIABLE: str(tmp_path / "missing")})
