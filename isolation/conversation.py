"""One plugin spoken to by hand, line by line, without an event loop: what `penstock plugin check` examines with.

It trusts nothing and forgives nothing: whatever breaks the protocol is a `Breach` that says what happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from types import TracebackType

from isolation.protocol import messages
from isolation.protocol.frames import FrameReader, FrameTooLarge
from isolation.spec import WorkerSpec

__all__ = ["Breach", "Conversation"]

READ_BYTES = 256 * 1024
STDERR_KEPT_BYTES = 4096


class Breach(Exception):
    """What the plugin did, or failed to do."""


class Conversation:
    """A started plugin. As a context manager it kills what is left at the end."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.notifications: list[str] = []
        self.refusals = 0
        """Errors with id null: the plugin could not read a line."""
        self._answers: dict[int, messages.Answer] = {}
        self._asked = 0
        self._owed: set[int] = set()
        self._frames = FrameReader(spec.max_frame_bytes)
        self._unwritten = bytearray()
        self._stderr = b""
        self._process = subprocess.Popen(
            spec.argv(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=spec.root,
            env=dict(spec.environment),
            start_new_session=True,
            bufsize=0,
        )
        self._selector = selectors.DefaultSelector()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ)
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)

    # Speaking.

    def ask(self, method: str, params: Mapping[str, object]) -> int:
        """Send a request and return its id."""
        number = self.next_id()
        self.send(messages.request_frame(number, method, params))
        return number

    def call(
        self,
        stage: str,
        hook: str,
        config: str,
        payload: Mapping[str, object],
        *,
        deadline_ms: int,
        input: Mapping[str, object] | None = None,
        key: str = "",
        undoes: str = "",
    ) -> int:
        """Send a `stage/invoke`, with `undoes` a `stage/compensate`, as the host writes it, and return its id."""
        number = self.next_id()
        invocation = messages.Invocation(
            static=messages.envelope(stage, hook, config),
            run=b"check",
            key=(key or f"check/{stage}").encode(),
            input=_written(input or {}),
            context=_CONTEXT,
            payload=_written(payload),
            undoes=undoes.encode(),
        )
        self.send(messages.invoke_frame(number, invocation, deadline_ms))
        return number

    def next_id(self, number: int | None = None) -> int:
        """Reserve an id for a request that the caller writes itself."""
        self._asked = self._asked + 1 if number is None else number
        self._owed.add(self._asked)
        return self._asked

    def send(self, line: bytes) -> None:
        """Send any bytes at all."""
        self._unwritten += line

    def close_stdin(self) -> None:
        """Say that nothing more will come."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def terminate(self) -> None:
        """Send SIGTERM to the plugin's group."""
        os.killpg(self._process.pid, signal.SIGTERM)

    # Listening.

    def answer(self, number: int, *, within: float) -> messages.Answer:
        """Wait for the answer to `number`."""
        until = time.monotonic() + within
        while number not in self._answers:
            if not self._pump(until):
                raise Breach(f"no answer to id {number} within {within:g} s{self.last_words()}")
        return self._answers[number]

    def exit_status(self, *, within: float) -> int:
        """Wait for the end of the process."""
        until = time.monotonic() + within
        while self._process.poll() is None:
            if not self._selector.get_map():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(max(0.0, until - time.monotonic()))
            elif self._pump(until, ended=True):
                continue
            if self._process.poll() is None and time.monotonic() >= until:
                raise Breach(f"was still there {within:g} s later")
        return int(self._process.returncode)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The last lines of its stderr, as an indented block; empty when there are none."""
        text = self._stderr.decode("utf-8", "replace").strip()
        return "".join(f"\n    {line}" for line in text.splitlines()[-12:])

    def _pump(self, until: float, *, ended: bool = False) -> bool:
        """Write and read what is possible now; False when the time is up. Raises Breach at the end of stdout."""
        self._watch_stdin()
        left = until - time.monotonic()
        events = self._selector.select(max(0.0, min(left, 0.05 if ended else left)))
        for key, _ in events:
            if key.fileobj is self._process.stdin:
                self._write()
            elif key.fileobj is self._process.stderr:
                self._stderr = (self._stderr + self._read(key))[-STDERR_KEPT_BYTES:]
            else:
                data = self._read(key)
                if data:
                    self._take(data)
                elif not ended:
                    raise Breach(self._how_it_ended())
        return bool(events) or time.monotonic() < until

    def _watch_stdin(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        watched = not stdin.closed and stdin.fileno() in self._selector.get_map()
        if stdin.closed or bool(self._unwritten) == watched:
            return
        if self._unwritten:
            self._selector.register(stdin, selectors.EVENT_WRITE)
        else:
            self._selector.unregister(stdin)

    def _write(self) -> None:
        assert self._process.stdin is not None
        try:
            written = os.write(self._process.stdin.fileno(), self._unwritten[:65536])
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._selector.unregister(self._process.stdin)
            self._unwritten.clear()
            return
        del self._unwritten[:written]

    def _read(self, key: selectors.SelectorKey) -> bytes:
        try:
            data = os.read(key.fd, READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            self._selector.unregister(key.fileobj)
        return data

    def _take(self, data: bytes) -> None:
        try:
            for line in self._frames.feed(data):
                self._message(line)
        except FrameTooLarge:
            raise Breach(f"sent a line of over {self.spec.max_frame_bytes} bytes") from None

    def _message(self, line: bytes) -> None:
        try:
            message = messages.parse(line)
        except messages.Malformed as error:
            if _refuses_our_line(line):
                self.refusals += 1
                return
            raise Breach(f"wrote to stdout what is no message ({error}): {line[:120]!r}") from None
        if isinstance(message, messages.Notification):
            self.notifications.append(message.method)
        elif isinstance(message, messages.Request):
            self.send(messages.error_frame(message.id, messages.METHOD_NOT_FOUND, "the host offers nothing"))
        elif message.id not in self._owed:
            repeated = "again" if message.id in self._answers else "though it was never asked"
            raise Breach(f"answered id {message.id} {repeated}")
        else:
            self._owed.discard(message.id)
            self._answers[message.id] = message

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        status = self._process.poll()
        if status is None:
            return f"closed its stdout and lives on{self.last_words()}"
        how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        return f"{how}{self.last_words()}"

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _written(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _refuses_our_line(line: bytes) -> bool:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("id", 0) is None and isinstance(message.get("error"), dict)


_CONTEXT = (
    b'{"request_id":"check","tenant":"","server_id":"","user":{"id":"","email":"","roles":[],"groups":[],"is_admin":'
    b'false},"content_type":"","tool":null,"gateway":null,"metadata":{},"state":{}}'
)
