"""A plugin started through the one launcher, spoken to in raw lines."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from isolation.spec import LAUNCHER

__all__ = ["PLUGINS", "Message", "Started", "compensation", "invocation", "line_of"]

PLUGINS = Path(__file__).parent / "plugins"
PATIENCE_SECONDS = 10.0
"""Bounds every wait for what should come at once."""

Message = dict[str, Any]


def line_of(message: Mapping[str, object]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def invocation(number: int, stage: str, payload: Mapping[str, object] | None = None, **members: object) -> bytes:
    """A `stage/invoke` as the host writes it: `bytes` first, `payload` last."""
    body = line_of(payload if payload is not None else {"name": "tool", "args": {"q": "x"}})[:-1]
    params = {"bytes": len(body), "stage": stage, "hook": "tool_pre_invoke", "config": "c1", "run": f"R{number}"}
    params |= {"attempt": 1, "key": f"R{number}/s", "deadline_ms": 5000, "trace": None, "input": {}, "context": {}}
    frame = {"jsonrpc": "2.0", "id": number, "method": "stage/invoke", "params": {**params, **members, "payload": 0}}
    return line_of(frame)[:-4] + body + b"}}\n"


def compensation(
    number: int, stage: str, undoes: str, payload: Mapping[str, object] | None = None, **members: object
) -> bytes:
    """A `stage/compensate` as the host writes it."""
    line = invocation(number, stage, payload, undoes=undoes, **members)
    return line.replace(b"stage/invoke", b"stage/compensate", 1)


class Started:
    """A worker without a host around it."""

    def __init__(
        self,
        entry: str | None = None,
        *,
        root: Path = PLUGINS,
        command: list[str] | None = None,
        python: str = sys.executable,
        site: bool = False,
        max_frame: int = 1024 * 1024,
        parent: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        spec = {"parent": parent or os.getpid(), "root": str(root), "entry": entry, "command": command}
        spec |= {"max_frame": max_frame, "site": site}
        self.process = subprocess.Popen(
            [python, "-I", "-S", "-B", str(LAUNCHER), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=root,
            env={"PATH": os.environ["PATH"], **(environment or {})},
            start_new_session=True,
        )
        self.notifications: list[Message] = []
        self._asked = 0
        self._unread = b""

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def next_line(self) -> bytes:
        """The next line of stdout, b"" at its end."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self._unread:
            if not select.select([descriptor], [], [], PATIENCE_SECONDS)[0]:
                raise TimeoutError("the plugin said nothing")
            data = os.read(descriptor, 65536)
            if not data:
                return b""
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def next_message(self) -> Message:
        line = self.next_line()
        assert line, f"stdout ended: {self.ended()}"
        message: Message = json.loads(line)
        return message

    def answer(self) -> Message:
        """The next answer; notifications on the way are kept."""
        while "method" in (message := self.next_message()):
            self.notifications.append(message)
        return message

    def ask(self, method: str, params: Mapping[str, object] | None = None) -> Message:
        self._asked += 1
        self.send(line_of({"jsonrpc": "2.0", "id": self._asked, "method": method, "params": params or {}}))
        return self.answer()

    def call(self, stage: str, payload: Mapping[str, object] | None = None, **members: object) -> Message:
        self._asked += 1
        self.send(invocation(self._asked, stage, payload, **members))
        return self.answer()

    def undo(self, stage: str, undoes: str, payload: Mapping[str, object] | None = None, **members: object) -> Message:
        self._asked += 1
        self.send(compensation(self._asked, stage, undoes, payload, **members))
        return self.answer()

    def ready(self, with_: Mapping[str, object] | None = None, secrets: Mapping[str, str] | None = None) -> Started:
        """Shake hands and configure `c1`."""
        plugin = {"name": "test", "version": "1.0.0"}
        shaken = self.ask("initialize", {"protocol": {"min": "1.0", "max": "1.0"}, "plugin": plugin, "stages": []})
        assert "result" in shaken, shaken
        configured = self.ask("configure", {"configs": {"c1": {"with": with_ or {}, "secrets": secrets or {}}}})
        assert configured.get("result") == {}, configured
        return self

    def ended(self) -> tuple[int, str]:
        """Wait for its end: exit status and stderr."""
        _, stderr = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, stderr.decode()

    def __enter__(self) -> Started:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()
