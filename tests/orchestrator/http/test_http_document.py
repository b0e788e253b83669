"""OpenAPI, held to the code: docs/openapi.json is what a host says, and has every path; each is answered."""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path

import jsonschema_rs
import pytest
from door_host import Host, gate_payload
from starlette.routing import Route

from orchestrator.control.commands import Control
from orchestrator.http.app import App
from orchestrator.http.failures import FAILURES
from orchestrator.http.paths import READS
from orchestrator.http.standing import Standing

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "openapi.json"
DOCUMENT = json.loads(PAGE.read_text(encoding="utf-8"))

ARGUMENTS: Mapping[str, Mapping[str, object]] = {
    "breakers.open": {"name": "gate/judge"},
    "breakers.reset": {"name": "gate/judge"},
    "plugin.restart": {"name": "gate"},
}
"""With what a command is answered; those about a run are given one, the others need nothing."""


def test_the_page_is_what_the_code_makes_it() -> None:
    """`python docs/generate.py` writes it."""
    made = runpy.run_path(str(ROOT / "docs" / "api_page.py"))["openapi_json"]()
    assert PAGE.read_text(encoding="utf-8") == made


def test_a_host_shows_the_same_document(host: Host) -> None:
    assert host.ask("GET", "/v1/openapi.json") == (200, DOCUMENT)


def test_every_path_of_the_door_is_documented() -> None:
    async def routes() -> list[Route]:
        return [route for route in App.of(Standing()).router.routes if isinstance(route, Route)]

    documented = {
        path.replace(name, "{name}") if (name := path.rpartition("/")[2]) and _is_of_the_table(path) else path
        for path in DOCUMENT["paths"]
    }
    assert {route.path for route in asyncio.run(routes())} == documented


def _is_of_the_table(path: str) -> bool:
    return path.startswith(("/v1/commands/", "/v1/streams/"))


def test_every_command_and_stream_has_a_path(host: Host) -> None:
    made = runpy.run_path(str(ROOT / "docs" / "api_page.py"))
    control: Control = made["Control"](made["_Nobody"]())
    for table, where in ((control.commands, "commands"), (control.streams, "streams")):
        assert {f"/v1/{where}/{name}" for name in table} == {
            path for path in DOCUMENT["paths"] if path.startswith(f"/v1/{where}/")
        }


def _operations() -> Iterator[tuple[str, str]]:
    for path, item in DOCUMENT["paths"].items():
        for method in item:
            yield method.upper(), path


@pytest.mark.parametrize(("method", "path"), list(_operations()))
def test_every_documented_path_is_answered_as_documented(host: Host, method: str, path: str) -> None:
    """A command or a stream that needs more than it is given here is refused by itself, as documented; it is known."""
    run = host.call("pay", gate_payload())["run_id"]
    operation = DOCUMENT["paths"][path][method.lower()]
    command = path.rpartition("/")[2]
    body: object = None
    if path == "/v1/hooks/{hook}":
        body = {"payload": gate_payload()}
    elif method == "POST":
        body = ARGUMENTS.get(command, {"run": run} if _takes_a_run(operation) else {})
    with host.client() as client:
        sent = None if body is None else json.dumps(body).encode()
        client.request(method, path.replace("{hook}", "pass").replace("{run}", str(run)), sent)
        response = client.getresponse()
        documented = operation["responses"][str(response.status)]
        (kind,) = documented["content"]
        assert (response.headers["content-type"] or "").partition(";")[0] == kind
        if kind == "application/json":
            answer = json.loads(response.read())
            _must_fit(answer, documented["content"][kind]["schema"])
        if response.status != 200:
            assert _is_of_the_table(path), answer
            assert answer["error"]["code"] not in ("penstock.unknown_command", "penstock.unknown_path")


def _takes_a_run(operation: Mapping[str, object]) -> bool:
    return "OneRun" in json.dumps(operation.get("requestBody", {}))


def _must_fit(value: object, schema: Mapping[str, object]) -> None:
    jsonschema_rs.validate({**schema, "components": DOCUMENT["components"]}, value)


def test_refusals_have_the_documented_shape(host: Host) -> None:
    _, answer = host.ask("POST", "/v1/hooks/pass", b"{")
    _must_fit(answer, {"$ref": "#/components/schemas/ErrorBody"})


def test_every_failure_of_the_door_is_in_the_page_of_errors() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert all(f"| `{code}` | {status} | {sentence} |" in page for code, (status, sentence) in FAILURES.items())


# What is only looked at.


def test_each_path_that_only_looks_answers_as_its_command_does(host: Host) -> None:
    run = host.call("pass", gate_payload())["run_id"]
    for path, read in READS.items():
        params = {"run": run} if "{run}" in path else {}
        _, looked = host.ask("GET", path.replace("{run}", str(run)))
        _, told = host.ask("POST", f"/v1/commands/{read.command}", params)
        assert _without_time(looked) == _without_time(told)


def _without_time(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_time(one) for name, one in value.items() if not name.endswith("seconds")}
    return [_without_time(one) for one in value] if isinstance(value, list) else value


def test_runs_are_looked_for_by_query(host: Host) -> None:
    host.call("pass", gate_payload("deny"))
    host.call("pass", gate_payload())
    status, runs = host.ask("GET", "/v1/runs?limit=1&verdict=deny&pipeline=pass")
    assert isinstance(runs, list)
    assert (status, [run["verdict"] for run in runs]) == (200, ["deny"])
    status, answer = host.ask("GET", "/v1/runs?limit=many")
    assert status == 400
    for query in ("lmit=1", "status=prked", "verdict=denied"):  # `[]` would say that no run is parked
        status, answer = host.ask("GET", f"/v1/runs?{query}")
        assert isinstance(answer, dict)
        assert (status, answer["error"]["code"]) == (400, "penstock.bad_request")


@pytest.mark.parametrize(
    ("command", "body", "status", "code"),
    [
        ("nonsense", b"{}", 404, "penstock.unknown_command"),
        ("runs.show", b'{"run": "ZZZZZ"}', 404, "penstock.unknown_run"),
        ("plugin.restart", b'{"name": "gat"}', 404, "penstock.unknown_plugin"),
        ("status", b'{"more": 1}', 400, "penstock.bad_command"),
        ("status", b"[]", 400, "penstock.bad_request"),
        ("status", b"{", 400, "penstock.bad_request"),
        ("status", b" " * 70_000, 413, "penstock.too_large"),
    ],
)
def test_a_command_that_is_refused_says_why(host: Host, command: str, body: bytes, status: int, code: str) -> None:
    found, answer = host.ask("POST", f"/v1/commands/{command}", body)
    assert isinstance(answer, dict)
    assert (found, answer["error"]["code"]) == (status, code)


def test_a_command_needs_no_body(host: Host) -> None:
    status, answer = host.ask("POST", "/v1/commands/status")
    assert isinstance(answer, dict)
    assert (status, answer["name"]) == (200, "gates")
