"""What the door takes and gives, as OpenAPI 3.1: made of its paths, the table of commands and the types of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version

import msgspec

from orchestrator.control.commands import Command, Stream
from orchestrator.http.failures import FAILURES, ErrorBody
from orchestrator.http.hooks import HookAnswer, HookRequest
from orchestrator.http.paths import READS
from orchestrator.http.standing import Readiness

__all__ = ["document"]

_Json = dict[str, object]
_Schemas = Mapping[type, _Json]

_REF = "#/components/schemas/{name}"


def document(commands: Mapping[str, Command], streams: Mapping[str, Stream]) -> _Json:
    """The document of a host that has these commands and streams."""
    kinds = {kind for kind, _ in [*commands.values(), *streams.values()]}
    types = [HookRequest, HookAnswer, Readiness, ErrorBody, *sorted(kinds, key=lambda kind: kind.__name__)]
    refs, components = msgspec.json.schema_components(types, schema_hook=_any_json, ref_template=_REF)
    _in_ecma(components)
    schemas: _Schemas = dict(zip(types, refs, strict=True))
    paths = dict(_paths(commands, streams, schemas, components))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": version("penstock"),
            "description": "Served by `penstock serve` on a Unix socket, for its owner and root alone.",
        },
        "paths": paths,
        "components": {"schemas": dict(sorted(components.items()))},
    }


def _any_json(kind: type) -> _Json:
    """The schema of `object`, which is whatever JSON holds; msgspec takes no empty one."""
    if kind is not object:
        raise NotImplementedError(kind)
    return {"description": "any JSON"}


def _in_ecma(schema: object) -> None:
    """Write patterns as JSON Schema has them: its `$` is the end, as `\\Z` is in Python."""
    if isinstance(schema, list):
        for one in schema:
            _in_ecma(one)
    elif isinstance(schema, dict):
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            schema["pattern"] = pattern.replace(r"\A", "^").replace(r"\Z", "$")
        for one in schema.values():
            _in_ecma(one)


def _paths(
    commands: Mapping[str, Command],
    streams: Mapping[str, Stream],
    schemas: _Schemas,
    components: Mapping[str, _Json],
) -> Iterator[tuple[str, _Json]]:
    yield "/v1/hooks/{hook}", {"post": _hook(schemas)}
    yield "/healthz", {"get": _operation("health", "The process lives, and its event loop.", _anything("it does"))}
    yield "/readyz", {"get": _ready(schemas)}
    text = {"description": "the metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
    yield "/metrics", {"get": _operation("metrics", "Metrics in the text format of Prometheus.", text)}
    yield "/v1/openapi.json", {"get": _operation("openapi", "This document.", _anything("it"))}
    for path, read in READS.items():
        kind = commands[read.command][0]
        operation = _operation(
            f"get.{read.command}", read.summary, _anything("as the command answers"), errors=(400, 404)
        )
        operation["parameters"] = list(_parameters(path, kind, components))
        yield path, {"get": operation}
    yield "/v1/events", {"get": _stream("events", streams["events"][0], "get.events", schemas, components)}
    for name, (kind, _) in sorted(streams.items()):
        yield f"/v1/streams/{name}", {"get": _stream(name, kind, f"stream.{name}", schemas, components)}
    for name, (kind, _) in sorted(commands.items()):
        yield f"/v1/commands/{name}", {"post": _command(name, kind, schemas)}


def _hook(schemas: _Schemas) -> _Json:
    answer = {"description": "the verdict, whichever it is", "content": _content(schemas[HookAnswer])}
    operation = _operation(
        "hook",
        "Take a call of a hook through its pipelines.",
        answer,
        errors=(400, 404, 408, 413, 503),
    )
    operation["description"] = (
        "A caller that hangs up abandons its call: what it did is undone. Every call that is taken is answered with "
        "200; any other status says that no pipeline has seen it."
    )
    operation["parameters"] = [
        _parameter("hook", "path", {"type": "string"}, "one of docs/hooks.md, or of the pipeline file's own"),
        _parameter("traceparent", "header", {"type": "string"}, "W3C trace context; without one a new one is made"),
        _parameter("x-request-id", "header", {"type": "string"}, "counts where the context has no `request_id`"),
    ]
    operation["requestBody"] = {"required": True, "content": _content(schemas[HookRequest])}
    return operation


def _ready(schemas: _Schemas) -> _Json:
    content = _content(schemas[Readiness])
    operation = _operation("ready", "Whether calls should be sent here.", {"description": "yes", "content": content})
    responses = operation["responses"]
    assert isinstance(responses, dict)
    responses["503"] = {"description": "no, and why", "content": content}
    return operation


def _command(name: str, kind: type, schemas: _Schemas) -> _Json:
    operation = _operation(
        f"command.{name}",
        f"Follow the command `{name}`.",
        _anything("what came of it: an object, or a list of objects"),
        errors=(400, 404, 409, 413, 503),
    )
    operation["requestBody"] = {"required": False, "content": _content(schemas[kind])}
    return operation


def _stream(name: str, kind: type, id: str, schemas: _Schemas, components: Mapping[str, _Json]) -> _Json:
    events = {
        "description": "Server-sent events, each one JSON object; `event: error` before an early end.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    operation = _operation(id, f"Follow the stream `{name}`.", events, errors=(400, 404, 503))
    operation["parameters"] = list(_parameters("", kind, components))
    return operation


def _operation(id: str, summary: str, answer: Mapping[str, object], *, errors: tuple[int, ...] = ()) -> _Json:
    responses: dict[str, object] = {"200": answer}
    responses |= {str(status): _failure(status) for status in errors}
    return {"operationId": id, "summary": summary, "responses": responses}


def _failure(status: int) -> _Json:
    codes = [code for code, (one, _) in FAILURES.items() if one == status]
    said = " or ".join(f"`{code}`" for code in codes) or "refused; `error.code` says why"
    return {"description": said, "content": _content({"$ref": _REF.format(name=ErrorBody.__name__)})}


def _anything(description: str) -> _Json:
    return {"description": description, "content": _content({})}


def _content(schema: _Json) -> _Json:
    return {"application/json": {"schema": schema}}


def _parameters(path: str, kind: type, components: Mapping[str, _Json]) -> Iterator[_Json]:
    """The members of a command's parameters, each in the path if it stands there, else in the query."""
    properties = components[kind.__name__].get("properties")
    assert isinstance(properties, dict)
    for name, schema in properties.items():
        yield _parameter(name, "path" if f"{{{name}}}" in path else "query", schema)


def _parameter(name: str, where: str, schema: _Json, description: str = "") -> _Json:
    made: _Json = {"name": name, "in": where, "required": where == "path", "schema": schema}
    return made | ({"description": description} if description else {})
