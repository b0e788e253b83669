"""A stage of attestation that did not run is a denial, through the engine, the real plugin and a real TLS server."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from isolation.store.store import Store, default_store_root
from orchestrator.loading import load
from orchestrator.orchestrator import Orchestrator

EXAMPLE = Path(__file__).parents[2] / "examples" / "server-admission"
PLUGIN = EXAMPLE.parents[1] / "plugins" / "attestation"
# An environment may have to be built first, on a machine that is busy with other tests.
SECONDS = 300.0

FOUND = '{ verdict: "", codes: [], result: {} }'
IDENTITY = "uses: attestation/identity, mode: permissive"
CHALLENGE = (
    "uses: attestation/challenge, needs: [identity], mode: permissive, "
    'in: { identity: "${stages.identity.out.result}" }'
)
BOTH = 'identity: "${stages.identity.out.result}", evidence: "${stages.challenge.out.result}"'
SKIPPED = {
    "when": f"when: \"payload.name == ''\", otherwise: {FOUND}",
    "disabled": f"mode: disabled, otherwise: {FOUND}",
    "failed": f"on_error: continue, otherwise: {FOUND}",
}
"""The ways in which a stage is skipped; the last one fails because its input cannot be worked out."""


def stages(identity: str = "on_error: fail", challenge: str = "on_error: fail", given: str = BOTH) -> str:
    """The stages of a pipeline, with what is said of the first two."""
    lines = {"identity": f"{IDENTITY}, {identity}", "challenge": f"{CHALLENGE}, {challenge}"}
    for name, said in lines.items():
        if "mode: disabled" in said:
            lines[name] = said.replace("mode: permissive, ", "")
        if "on_error: continue" in said:
            bad = 'number: "${int(payload.name)}"'
            has_input = "in: {" in said
            lines[name] = said.replace("in: {", f"in: {{ {bad},") if has_input else f"{said}, in: {{ {bad} }}"
    written = "".join(f"      {name}: {{ {said} }}\n" for name, said in lines.items())
    return (
        f"{written}      appraise: {{ uses: attestation/appraise, needs: [identity, challenge], in: {{ {given} }} }}\n"
    )


PIPELINES = {
    "whole": stages(),
    **{f"identity_{how}": stages(identity=said) for how, said in SKIPPED.items()},
    **{f"challenge_{how}": stages(challenge=said) for how, said in SKIPPED.items()},
    "identity_not_handed_on": stages(given='evidence: "${stages.challenge.out.result}"'),
    "evidence_not_handed_on": stages(given='identity: "${stages.identity.out.result}"'),
}
NO_IDENTITY = {"A-IDENTITY-MISSING", "A-RESULT-FORM"}
NO_EVIDENCE = {"C-KIND-MISSING", "D-EVIDENCE-WEAKER"}
"""The server was admitted with evidence before, so that to show none is a drift, too."""

EXPECTED = {
    "whole": set[str](),
    **{f"identity_{how}": NO_IDENTITY for how in SKIPPED},
    **{f"challenge_{how}": NO_EVIDENCE for how in SKIPPED},
    "identity_not_handed_on": {"A-IDENTITY-MISSING"},
    "evidence_not_handed_on": NO_EVIDENCE,
    "cut_off": {"penstock.timeout"},
}


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The modules of the example, which are no package."""
    sys.path.insert(0, str(EXAMPLE))
    import admission  # type: ignore[import-not-found, unused-ignore]

    yield admission
    sys.path.remove(str(EXAMPLE))


@pytest.fixture
def served(example: Any, tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A pipeline file for one good server that has to show evidence, and its registration."""
    own = example.Authority("own")
    (good,) = (one for one in example.servers(own, own) if one.name == "good evidence")
    with ExitStack() as stack:
        port = stack.enter_context(example.serving(good, tmp_path))
        example.write(tmp_path, own, [(good, port)])
        head = (tmp_path / "pipeline.yaml").read_text().partition("pipelines:")[0]
        written = [
            f"  {name}:\n    hook: server_pre_register\n    deadline: 60s\n    stages:\n{body}"
            for name, body in PIPELINES.items()
        ]
        cut = "  cut_off:\n    hook: server_pre_register\n    deadline: 1ms\n    stages:\n" + stages()
        (tmp_path / "pipeline.yaml").write_text(f"{head}pipelines:\n{''.join(written)}{cut}")
        yield tmp_path, {"name": "good", "url": f"https://127.0.0.1:{port}{example.PLACE}"}


def test_a_stage_that_was_skipped_failed_or_cut_off_is_a_denial(served: tuple[Path, dict[str, str]]) -> None:
    """The whole pipeline lets the same server in, at the beginning and at the end."""
    folder, payload = served
    came: dict[str, tuple[str, set[str]]] = {}

    async def register(orchestrator: Orchestrator, pipeline: str) -> None:
        result = await orchestrator.invoke("server_pre_register", payload, pipeline=pipeline)
        violation = json.loads(json.dumps(result.records[0]["violation"])) or {}
        reasons = violation.get("details", {}).get("reasons", [])
        came[pipeline] = (result.verdict, {one["code"] for one in reasons} or {*filter(None, [violation.get("code")])})

    async def go() -> None:
        loaded = load(folder)
        with Store(default_store_root(), locked=True, pipeline=loaded.path) as store:
            async with asyncio.timeout(SECONDS), Orchestrator(loaded, store, state=folder / "state") as orchestrator:
                for pipeline in (*PIPELINES, "cut_off", "whole"):
                    await register(orchestrator, pipeline)

    asyncio.run(go())
    assert {name: codes for name, (_, codes) in came.items()} == EXPECTED
    assert {name for name, (verdict, _) in came.items() if verdict != "deny"} == {"whole"}


def test_the_record_is_proven_by_what_the_host_signed(served: tuple[Path, dict[str, str]]) -> None:
    """The command of the plugin reads the statements of the host: every decision so far, and no further."""
    folder, payload = served
    signed: list[dict[str, str]] = []

    async def go() -> None:
        loaded = load(folder)
        with Store(default_store_root(), locked=True, pipeline=loaded.path) as store:
            async with asyncio.timeout(SECONDS), Orchestrator(loaded, store, state=folder / "state") as orchestrator:
                for pipeline in ("whole", "identity_not_handed_on"):
                    result = await orchestrator.invoke("server_pre_register", payload, pipeline=pipeline)
                    signed.append(json.loads(json.dumps(result.records[0]))["stages"]["appraise"]["signed"])

    asyncio.run(go())
    assert [{*one} for one in signed] == [{"result", "checkpoint"}] * 2
    results = [json.loads(_part(one["result"], 1)) for one in signed]
    said = [next(iter(one["submods"].values()))["ear.status"] for one in results]
    assert said == ["affirming", "contraindicated"]
    last = json.loads(_part(signed[-1]["checkpoint"], 1))["n"]

    statements, key = folder / "state" / "statements.jws", folder / "state" / "signing.pub.pem"
    words = ["attest", "--file", str(folder), "audit", "verify", "--statements", str(statements), "--key", str(key)]
    penstock = str(Path(sys.executable).with_name("penstock"))
    proven = subprocess.run([penstock, *words], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert proven.returncode == 0, proven.stdout + proven.stderr
    assert f"2 checkpoints, proven up to line {last}\n" in proven.stdout
    statements.write_text(statements.read_text().replace(signed[0]["checkpoint"][-20:], "A" * 20))
    forged = subprocess.run([penstock, *words], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert forged.returncode == 1 and "a checkpoint is not signed by the host" in forged.stdout


def _part(jws: str, number: int) -> bytes:
    return base64.urlsafe_b64decode(jws.split(".")[number] + "==")
