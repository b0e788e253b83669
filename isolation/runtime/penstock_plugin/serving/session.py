"""One worker's conversation with its host: handshake, configurations, and what a call is made of.

Knows what each request means; `blocking` and `concurrent` decide when one is served, and answer it exactly once.
"""

from __future__ import annotations

import os
import sys
from time import monotonic

from ..call import Call, Start
from ..plugin import Plugin
from . import logs
from .codec import best_codec
from .faults import DEADLINE, INVALID_PARAMS, INVALID_REQUEST, NO_METHOD, PLUGIN, Fault, printable
from .frames import Lines, Sink
from .incoming import version_of
from .outgoing import Outgoing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..call import Config, Parameters
    from ..plugin import Stage
    from .incoming import Request

__all__ = ["PROTOCOL", "Session", "import_plugin"]

PROTOCOL = "1.0"
# What an async plugin takes at once; the host sends no more than is said in the handshake.
ASYNC_CONCURRENCY = 64


class Session:
    """Everything of one worker but its loop."""

    def __init__(self, entry: str, reader: int, writer: int, max_frame: int) -> None:
        self.entry = entry
        self.reader = reader
        self._sink = Sink(writer)
        self.out = Outgoing(self._sink, max_frame)
        self.lines = Lines(max_frame)
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
        """Answer the host until it says goodbye or is gone."""
        logs.send_logs_to(lambda members: self.out.notify("log", members))
        self.out.codec = best_codec()
        from .blocking import serve

        try:  # noqa: SIM105  # `import contextlib` costs every worker 3 ms of its start
            serve(self)
        except BrokenPipeError:
            pass  # the host is gone and nobody waits for an answer

    def _forked(self) -> None:
        """A fork of the worker must neither read nor write frames, nor keep the pipes open."""
        self._sink.silence()
        os.close(self.reader)

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
        stage = self.plugin.stages.get(parameters.stage)
        if stage is None:
            if self._start is None:
                raise Fault(INVALID_REQUEST, "initialize comes first")
            known = ", ".join(sorted(self.plugin.stages))
            raise Fault(INVALID_PARAMS, f"this plugin has no stage {parameters.stage!r}; it has {known}")
        if (stage.undoes is None) is bool(parameters.undoes):
            raise _wrongly_called(stage)
        settled = self._configs.get(parameters.config)
        if settled is None:
            raise Fault(INVALID_PARAMS, f"configuration {parameters.config!r} was never configured")
        until = None
        if parameters.deadline_ms is not None:
            until = arrived + parameters.deadline_ms / 1000
            if monotonic() >= until:
                raise Fault(DEADLINE, "its deadline had passed when the call was taken up")
        return Call(call_id, parameters, raw, settled, until, self.out.codec.decode, self._report)

    def _initialize(self, members: Any) -> dict[str, object]:
        """Import the plugin and say what it is."""
        if not isinstance(members, dict):
            raise Fault(INVALID_PARAMS, "params must be an object")
        versions = members.get("protocol") or {}
        least, most = str(versions.get("min", PROTOCOL)), str(versions.get("max", PROTOCOL))
        if not version_of(least) <= version_of(PROTOCOL) <= version_of(most):
            raise Fault(INVALID_PARAMS, f"this runtime speaks protocol {PROTOCOL}, the host {least} to {most}")
        self.lines.limit = self.out.max_frame = int(members.get("max_frame", self.out.max_frame))
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
            "stages": {stage.name: _described(stage) for stage in self.plugin.stages.values()},
            "concurrency": ASYNC_CONCURRENCY if self.on_loop else 1,
            "runtime": {"python": sys.version.split()[0], "json": self.out.codec.name},
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

    def settle(self, made: Mapping[str, tuple[object, dict[str, str]]]) -> None:
        """Take a new table of configurations into use, all at once. The plugin is ready then."""
        self._started = True
        self._configs = dict(made)

    def known_config(self, name: str) -> tuple[object, dict[str, str]] | None:
        """What was made of a configuration that an earlier table had; ids are made from the values."""
        return self._configs.get(name)

    def _report(self, members: dict[str, object]) -> None:
        self.out.notify("$/progress", members)


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


def _described(stage: Stage) -> dict[str, object]:
    described: dict[str, object] = {"async": stage.is_async}
    return described if stage.undoes is None else {**described, "undoes": stage.undoes}


def _wrongly_called(stage: Stage) -> Fault:
    if stage.undoes is None:
        return Fault(INVALID_PARAMS, f"stage {stage.name!r} is no undo; call it with stage/invoke")
    return Fault(INVALID_PARAMS, f"stage {stage.name!r} undoes {stage.undoes!r}; call it with stage/compensate")


def _path(text: object) -> Any:
    if text is None:
        return None
    from pathlib import Path

    return Path(str(text))
