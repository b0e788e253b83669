"""One worker's conversation with its host: handshake, configurations, and what every request gets for an answer.

Knows what each message means; `blocking` and `concurrent` decide when a call runs. Every request is answered
exactly once, whatever the author's code does.
"""

from __future__ import annotations

import os
import sys
from time import monotonic

from ..answer import Answer, Violation
from ..call import Call, Config, Start
from ..plugin import Plugin
from . import logs
from .codec import Codec, InvalidMessage, PlainParameters, best_codec
from .faults import (
    DEADLINE,
    INVALID_PARAMS,
    INVALID_REQUEST,
    NO_METHOD,
    PARSE,
    PLUGIN,
    TOO_LARGE,
    Fault,
    as_error,
    printable,
)
from .frames import Lines, Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..call import Parameters

__all__ = ["PROTOCOL", "Request", "Session"]

PROTOCOL = "1.0"
# What an async plugin takes at once; the host sends no more than is said in the handshake.
ASYNC_CONCURRENCY = 64


class Request:
    """A request or, with `id` None, a notification."""

    __slots__ = ("id", "method", "params")

    def __init__(self, call_id: int | None, method: str, params: object) -> None:
        self.id = call_id
        self.method = method
        self.params = params


class Session:
    """Everything of one worker but its loop."""

    def __init__(self, entry: str, reader: int, writer: int, max_frame: int) -> None:
        self.entry = entry
        self.reader = reader
        self.sink = Sink(writer)
        self.max_frame = max_frame
        self.lines = Lines(max_frame)
        self.codec: Codec = Codec()
        self.plugin = Plugin()
        self.ended = False
        """Whether the host said goodbye."""
        self.on_loop = False
        """Whether the plugin has anything `async def`, and so has to live on an event loop."""
        self._start: Start | None = None
        self._started = False
        self._configs: dict[str, tuple[object, dict[str, str]]] = {}
        os.register_at_fork(after_in_child=self._forked)

    def serve(self) -> None:
        """Answer the host until it says goodbye. Returns then; exits with 1 when the plugin cannot be imported."""
        logs.send_logs_to(lambda members: self.notify("log", members))
        self.codec = best_codec()
        from .blocking import serve

        try:  # noqa: SIM105  # `import contextlib` costs every worker 3 ms of its start
            serve(self)
        except BrokenPipeError:
            pass  # the host is gone and nobody waits for an answer

    def _forked(self) -> None:
        """A fork of the worker must neither read nor write frames, nor keep the pipes open."""
        self.sink.silence()
        for descriptor in (self.reader, self.sink.descriptor):
            os.close(descriptor)

    # What goes out

    def notify(self, method: str, members: Mapping[str, object]) -> None:
        """Send one notification; one that would be over the limit is not sent."""
        line = self.codec.encode({"jsonrpc": "2.0", "method": method, "params": members}) + b"\n"
        if len(line) <= self.max_frame:
            self.sink.write(line)

    def result_line(self, call_id: int, result: object) -> bytes:
        """The answer to a request, or the error that it cannot be one."""
        try:
            encoded = self.codec.encode(result)
        except BaseException as error:  # noqa: BLE001  # walks the author's objects, so their code may run here
            return self.error_line(call_id, Fault(PLUGIN, f"its answer cannot be written as JSON: {_named(error)}"))
        if len(encoded) > self.max_frame - 64:
            fault = Fault(TOO_LARGE, f"its answer has {len(encoded)} bytes; a frame may have {self.max_frame}")
            return self.error_line(call_id, fault)
        if b"\n" in encoded:  # only pre-encoded JSON of the author's can hold one, and it would cut the frame
            return self.error_line(call_id, Fault(PLUGIN, "its answer holds encoded JSON with a newline in it"))
        return b'{"jsonrpc":"2.0","id":%d,"result":%b}\n' % (call_id, encoded)

    def error_line(self, call_id: int | None, error: BaseException) -> bytes:
        """The error answer of whatever went wrong."""
        try:
            return self.codec.encode({"jsonrpc": "2.0", "id": call_id, "error": as_error(error)}) + b"\n"
        except MemoryError:
            number = b"null" if call_id is None else b"%d" % call_id
            return b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32804,"message":"MemoryError"}}\n' % number

    # What comes in

    def request_of(self, line: bytes) -> Request | None:
        """A line as a request; None for an answer, which nobody waits for here. Raises Fault for what is neither."""
        try:
            message = self.codec.decode(line)
        except ValueError as error:
            raise Fault(PARSE, f"not a line of JSON: {error}") from None
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            raise Fault(INVALID_REQUEST, "not a JSON-RPC 2.0 message")
        if "method" not in message and ("result" in message or "error" in message):
            return None
        call_id, method = message.get("id"), message.get("method")
        # In Python 1, 1.0 and True are equal; on the wire they are three different ids.
        if not isinstance(method, str) or ("id" in message and type(call_id) is not int):
            raise Fault(INVALID_REQUEST, "method must be a string and id an integer")
        return Request(call_id, method, message.get("params", {}))

    def control(self, request: Request) -> object:
        """The result of a request that needs no code of the author's but its import. Raises what went wrong."""
        if request.method == "ping":
            return {}
        if request.method == "initialize":
            return self._initialize(request.params)
        if request.method == "shutdown":
            self.ended = True
            return {}
        raise Fault(NO_METHOD, f"there is no method {printable(request.method)!r}")

    def call_of(self, call_id: int, parameters: Parameters, raw: object, arrived: float) -> Call:
        """What the author's function is handed. Raises Fault when there is no use in calling it."""
        if parameters.stage not in self.plugin.stages:
            if self._start is None:
                raise Fault(INVALID_REQUEST, "initialize comes first")
            known = ", ".join(sorted(self.plugin.stages))
            raise Fault(INVALID_PARAMS, f"this plugin has no stage {parameters.stage!r}; it has {known}")
        settled = self._configs.get(parameters.config)
        if settled is None:
            raise Fault(INVALID_PARAMS, f"configuration {parameters.config!r} was never configured")
        until = None
        if parameters.deadline_ms is not None:
            until = arrived + parameters.deadline_ms / 1000
            if monotonic() >= until:
                raise Fault(DEADLINE, "its deadline had passed when the call was taken up")
        return Call(call_id, parameters, raw, settled, until, self.codec.decode, self._report)

    def plain_parameters(self, members: object) -> tuple[Parameters, object]:
        """Parameters and payload of a call that another host wrote, its members in any order."""
        if not isinstance(members, dict):
            raise Fault(INVALID_PARAMS, "params must be an object")
        if not isinstance(members.get("payload"), dict):
            raise Fault(INVALID_PARAMS, "params.payload must be an object")
        try:
            return PlainParameters(members), members["payload"]
        except InvalidMessage as error:
            raise Fault(INVALID_PARAMS, str(error)) from None

    def answer_line(self, call: Call, answer: object) -> bytes:
        """The answer of a stage as a line."""
        if answer is None:
            return b'{"jsonrpc":"2.0","id":%d,"result":{}}\n' % call.id
        try:
            members = _members_of(call.stage, answer)
        except BaseException as error:  # noqa: BLE001  # subclasses of the author's may run code here
            return self.error_line(call.id, error)
        return self.result_line(call.id, members)

    def _initialize(self, members: Any) -> dict[str, object]:
        """Import the plugin and say what it is."""
        if not isinstance(members, dict):
            raise Fault(INVALID_PARAMS, "params must be an object")
        versions = members.get("protocol") or {}
        least, most = str(versions.get("min", PROTOCOL)), str(versions.get("max", PROTOCOL))
        if not _version(least) <= _version(PROTOCOL) <= _version(most):
            raise Fault(INVALID_PARAMS, f"this runtime speaks protocol {PROTOCOL}, the host {least} to {most}")
        self.max_frame = int(members.get("max_frame", self.max_frame))
        self.lines.limit = self.max_frame
        self.plugin = import_plugin(self.entry)
        who = members.get("plugin") or {}
        missing = [name for name in members.get("stages") or () if name not in self.plugin.stages]
        if missing:
            raise Fault(PLUGIN, f"the manifest names stages that {self.entry} does not declare: {', '.join(missing)}")
        self._start = Start(str(who.get("name")), str(who.get("version")), _path(members.get("data")), self._report)
        self.on_loop = self.plugin.is_async
        return {
            "protocol": PROTOCOL,
            "plugin": {"name": who.get("name"), "version": who.get("version")},
            "stages": {stage.name: {"async": stage.is_async} for stage in self.plugin.stages.values()},
            "concurrency": ASYNC_CONCURRENCY if self.on_loop else 1,
            "runtime": {"python": sys.version.split()[0], "json": self.codec.name},
        }

    def startup(self) -> Any:
        """Run @plugin.startup unless it ran before; what it returns may be a coroutine to await."""
        if self._start is None:
            raise Fault(INVALID_REQUEST, "initialize comes first")
        if self._started or self.plugin.on_startup is None:
            return None
        return self.plugin.on_startup(self._start)

    def configured(self, config: Config) -> Any:
        """What @plugin.configure makes of one configuration; may be a coroutine to await."""
        return config if self.plugin.on_configure is None else self.plugin.on_configure(config)

    def wanted_configs(self, members: object) -> dict[str, Config]:
        """The table of a `configure` request. Raises Fault when it is none."""
        table = members.get("configs") if isinstance(members, dict) else None
        if not isinstance(table, dict):
            raise Fault(INVALID_PARAMS, "params.configs must be an object")
        if not all(isinstance(entry, dict) for entry in table.values()):
            raise Fault(INVALID_PARAMS, "every configuration must be an object with the member `with`")
        return {name: Config(entry.get("with") or {}, entry.get("secrets")) for name, entry in table.items()}

    def settle(self, made: Mapping[str, tuple[object, dict[str, str]]]) -> None:
        """Take a new table of configurations into use, all at once. The plugin is ready then."""
        self._started = True
        self._configs = dict(made)

    def known_config(self, name: str) -> tuple[object, dict[str, str]] | None:
        """What was made of a configuration that an earlier table had; ids are made from the values."""
        return self._configs.get(name)

    def _report(self, members: dict[str, object]) -> None:
        self.notify("$/progress", members)


def import_plugin(entry: str) -> Plugin:
    """The `Plugin` that `module:object` names."""
    module_name, _, name = entry.partition(":")
    __import__(module_name)
    found: object = sys.modules[module_name]
    for part in name.split("."):
        if not hasattr(found, part):
            raise Fault(PLUGIN, f"module {module_name!r} has no {name!r}; `entry` in the manifest is {entry!r}")
        found = getattr(found, part)
    if not isinstance(found, Plugin):
        raise Fault(PLUGIN, f"{entry} is of type {type(found).__name__}, not penstock_plugin.Plugin")
    return found


def _members_of(stage: str, answer: object) -> dict[str, object]:
    if isinstance(answer, Answer):
        return answer.as_json()
    if isinstance(answer, Violation):
        return {"violation": answer.as_json()}
    kind = type(answer).__name__
    if kind in ("coroutine", "generator", "async_generator"):
        if kind != "async_generator":
            answer.close()  # type: ignore[attr-defined]  # else Python warns that it was never awaited
        raise Fault(PLUGIN, f"stage {stage!r} returned a {kind}; write `async def`, and no `yield`")
    raise Fault(PLUGIN, f"stage {stage!r} returned {kind}; return None, or what call.allow, .modify, .deny give")


def _named(error: BaseException) -> str:
    described = as_error(error)
    return str(described["message"])


def _version(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        raise Fault(INVALID_PARAMS, f"{text!r} is no protocol version") from None


def _path(text: object) -> Any:
    if text is None:
        return None
    from pathlib import Path

    return Path(str(text))
