"""The paths of the door and what answers them. Commands and streams come from the orchestrator's own table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from orchestrator.control.refusal import Refused
from orchestrator.http.body import Gone, read_body
from orchestrator.http.failures import JSON, Failure, error_body, failure_of, respond
from orchestrator.http.hooks import HookDoor
from orchestrator.http.openapi import document
from orchestrator.http.params import params_of
from orchestrator.http.paths import READS
from orchestrator.http.peer import peer_of
from orchestrator.http.standing import Phase, Standing
from orchestrator.http.streams import StreamDoor
from orchestrator.metrics.exposition import exposed

__all__ = ["App"]

log = logging.getLogger("penstock.http")

MAX_COMMAND_BYTES = 64 * 1024
"""A command is a few names and a reason."""


@dataclass(frozen=True, slots=True)
class App:
    """An ASGI application. Whatever goes wrong is one JSON error object."""

    standing: Standing
    router: Router

    @classmethod
    def of(cls, standing: Standing) -> App:
        """The application of one host."""
        return cls(standing, Router(_routes(standing), redirect_slashes=False))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["app"] = self  # with this the router raises what it cannot follow
        try:
            await self.router(scope, receive, send)
        except Gone:
            return
        except asyncio.CancelledError:
            # The root of its task, which ends here; the server has hung up on the peer before.
            if self.standing.phase is not Phase.DRAINING:
                raise
        except Failure as error:
            await _refuse(scope, send, error)
        except HTTPException as error:
            allow = (error.headers or {}).get("Allow", "")
            headers = ((b"allow", allow.encode()),) if allow else ()
            await _refuse(scope, send, _unroutable(scope, error.status_code, allow), headers)
        except Exception:
            log.exception("http.crashed", extra={"where": scope["path"]})
            failed = Failure("penstock.internal", "the host failed while it answered", "its log has the traceback")
            await _refuse(scope, send, failed)


async def _refuse(scope: Scope, send: Send, error: Failure, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    if error.status in (408, 413) and not any(name == b"content-length" for name, _ in scope["headers"]):
        headers = (*headers, (b"connection", b"close"))  # nobody knows how much would still come
    await respond(send, error_body(error.code, str(error), error.hint), error.status, headers=headers)


def _unroutable(scope: Scope, status: int, allow: str) -> Failure:
    if status == 405:
        return Failure("penstock.method", f"{scope['path']} takes no {scope['method']}, but {allow}")
    return Failure("penstock.unknown_path", f"there is no {scope['path']}", "/v1/openapi.json has every path")


def _routes(standing: Standing) -> list[Route]:
    """The calls of hooks first: paths are tried in this order."""
    looks = _Looks(standing)
    shown: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
        ("/healthz", looks.health),
        ("/readyz", looks.readiness),
        ("/v1/openapi.json", looks.openapi),
        ("/metrics", looks.metrics),
        *((path, looks.reading(read.command)) for path, read in READS.items()),
    ]
    return [
        Route("/v1/hooks/{hook}", HookDoor(standing), methods=["POST"]),
        *(Route(path, look, methods=["GET"]) for path, look in shown),
        Route("/v1/commands/{name}", looks.command, methods=["POST"]),
        Route("/v1/events", StreamDoor(standing, "events"), methods=["GET"]),
        Route("/v1/streams/{name}", StreamDoor(standing), methods=["GET"]),
    ]


class _Looks:
    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    async def health(self, request: Request) -> Response:
        """That this is answered says it: the process lives, and its loop."""
        return _json({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        readiness = self._standing.readiness()
        return _json(readiness, 200 if readiness.ready else 503)

    async def openapi(self, request: Request) -> Response:
        control = self._standing.host.control
        return _json(document(control.commands, control.streams))

    async def metrics(self, request: Request) -> Response:
        body, kind = await exposed(self._standing.host, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": kind})

    def reading(self, command: str) -> Callable[[Request], Awaitable[Response]]:
        async def read(request: Request) -> Response:
            kind = self._standing.host.control.commands[command][0]
            texts = {**request.query_params, **request.path_params}
            return await self._perform(request, command, params_of(texts, kind))

        return read

    async def command(self, request: Request) -> Response:
        body = await read_body(request.scope, request.receive, MAX_COMMAND_BYTES)
        try:
            params = msgspec.json.decode(body or b"{}", type=dict[str, object])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Failure("penstock.bad_request", f"the body is no JSON object: {error}") from None
        return await self._perform(request, request.path_params["name"], params)

    async def _perform(self, request: Request, command: str, params: Mapping[str, object]) -> Response:
        by = peer_of(request.scope).actor
        log.info("http.command", extra={"command": command, "by": by})
        try:
            return _json(await self._standing.host.control.perform(command, params, by=by))
        except Refused as error:
            raise failure_of(error) from error


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type=JSON.decode())
