"""A plugin that is careless with its secrets: whatever it says, its secrets are not in it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from living import CONFIGS, ask, run, serving, spec_of, until

from isolation.errors import ConfigureError, PluginError, StartError, WorkerLost
from isolation.protocol.messages import Fault
from isolation.redaction import REDACTED, SHORTEST_CHARACTERS, Redaction

MARKER = 'a "marker" of a secrét'
KEY = "-----BEGIN KEY-----\nbGluZSBvbmU\nbGluZSB0d28\n-----END KEY-----"

CARELESS = """
import logging, os, sys
from penstock_plugin import Plugin

plugin = Plugin()

@plugin.configure
def check(config):
    if config.get("refuse"):
        raise ValueError(f"no such token: {config.secrets['token']}")
    return config.secrets

@plugin.stage("tell")
def tell(call):
    token, key = call.secrets["token"], call.secrets["key"]
    logging.getLogger("careless").warning("with %s", token, extra={"key": key, token: [1, {"x": token}]})
    print("printed", token, key, flush=True)
    print("to stderr", token, key, file=sys.stderr, flush=True)
    if call.payload.get("die"):
        os._exit(3)
    if call.payload.get("raise"):
        raise RuntimeError(f"cannot log in with {token} and {key!r}")
    return call.allow(out={"token": token})
"""


def table(**with_: object) -> dict[str, object]:
    return {"c1": {"with": with_, "secrets": {"token": MARKER, "key": KEY}}}


def assert_silent(*said: object) -> None:
    for text in map(str, said):
        for secret in (MARKER, json.dumps(MARKER)[1:-1], "bGluZSBvbmU", "bGluZSB0d28"):
            assert secret not in text, text


def test_errors_logs_and_prints_of_a_careless_plugin_have_no_secret_in_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with serving(spec_of(tmp_path, CARELESS, "tell"), table()) as generation:
            failed = await ask(generation, "tell", {"raise": True}).error()
            assert isinstance(failed, PluginError) and f"cannot log in with {REDACTED}" in str(failed)
            assert_silent(failed, failed.data)
            answer = await ask(generation, "tell").answer()
            assert answer["out"]["token"] == MARKER, "what it answers is its own matter"
            lost = await ask(generation, "tell", {"die": True}).error()
            assert isinstance(lost, WorkerLost) and f"to stderr {REDACTED}" in lost.report.stderr
            assert_silent(lost, lost.report)
            await until(lambda: generation.status.last_exit)
            assert_silent(generation.status)
            await until(lambda: generation.workers)
            with pytest.raises(ConfigureError) as refused:
                await generation.configure({"c2": table(refuse=True)["c1"]})
            assert f"no such token: {REDACTED}" in str(refused.value)
            assert_silent(refused.value, repr(refused.value))

    run(main())
    told = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert any(f"with {REDACTED}" in text for text in told) and any(f"printed {REDACTED}" in text for text in told)
    assert_silent(*told)


def test_a_start_that_is_refused_tells_no_secret(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(StartError, match="no such token") as refused:
            async with serving(spec_of(tmp_path, CARELESS, "tell"), configs=table(refuse=True)):
                raise AssertionError("it started")
        assert_silent(refused.value, refused.value.__cause__)

    run(main())


def redaction(*secrets: str) -> Redaction:
    made = Redaction()
    made.learn({"c1": {"with": {}, "secrets": {str(number): one for number, one in enumerate(secrets)}}})
    return made


def test_the_longer_of_two_secrets_is_taken_out_as_a_whole() -> None:
    assert redaction("abcdef", "abcdefgh").text("x abcdefgh y abcdef") == f"x {REDACTED} y {REDACTED}"


def test_what_is_too_short_to_hide_is_left() -> None:
    short = "x" * (SHORTEST_CHARACTERS - 1)
    assert redaction(short).text(f"a {short} b") == f"a {short} b"


def test_secrets_of_earlier_tables_stay_secret() -> None:
    made = redaction("the old one")
    made.learn({"c2": {"with": {}, "secrets": {"token": "the new one"}}})
    assert made.text("the old one, the new one") == f"{REDACTED}, {REDACTED}"


def test_without_secrets_everything_passes_as_it_came() -> None:
    fault = Fault(-32804, "x", {"y": 1})
    for made in (Redaction(), redaction()):
        made.learn(CONFIGS)
        assert made.fault(fault) is fault and made.parameters(b'{"a": 1 }') == b'{"a": 1 }'


JSON = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=4) | st.sampled_from([True, MARKER, f"<{MARKER}>"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just(MARKER), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=JSON)
def test_nothing_that_json_holds_hides_a_secret(value: object) -> None:
    made = redaction(MARKER)
    for clean in (made.value(value), json.loads(made.parameters(json.dumps({"x": value}).encode()))):
        text = json.dumps(clean, ensure_ascii=False)
        assert json.dumps(MARKER, ensure_ascii=False)[1:-1] not in text
    if MARKER not in repr(value):
        assert made.value(value) == value
