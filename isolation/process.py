"""One child process and its three pipes on an event loop: the only place that spawns, reads, writes and kills.

It knows bytes, not messages. It speaks to its owner through `ProcessEvents` and promises that `exited` is the
last thing it says, exactly once, after everything the child wrote before its end was delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from isolation.errors import ExitReport

__all__ = ["ChildProcess", "ProcessEvents", "Spawn"]

READ_BYTES = 64 * 1024
LARGE_READ_BYTES = 1024 * 1024
PIPE_BYTES = 256 * 1024
"""Room for a few large frames, so that host and worker do not take turns at 64 KiB."""

STDERR_KEPT_BYTES = 8 * 1024
STDERR_PAUSE_SECONDS = 0.02
"""After a read of stderr the loop is left to others for this long: a flood costs a plugin its own speed only."""

EOF_GRACE_SECONDS = 0.05
"""A child that ends closes its pipes an instant before its exit status is known; wait this long for the status, and
kill one that has none then: nothing can be said to it, or heard from it, any more."""

EXIT_POLL_SECONDS = 0.01
"""How often to look for the end of a child where the system has no pidfd."""

_F_SETPIPE_SZ = 1031


class ProcessEvents(Protocol):
    """What the owner of a child is told."""

    def received(self, data: bytes) -> None:
        """Bytes of the child's stdout."""

    def printed(self, data: bytes) -> None:
        """Bytes of the child's stderr; none when that ends."""

    def written(self) -> None:
        """All that had waited for the child to read has been written."""

    def ending(self) -> None:
        """A pipe was closed or the process ended: no more can be asked, and `exited` follows. May be told again."""

    def exited(self, report: ExitReport) -> None:
        """The child is gone and reaped, its group killed."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """What to start: arguments, the whole environment, the working directory."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path


class ChildProcess:
    """A started child in its own session. Never signalled after it was reaped."""

    def __init__(self, spawn: Spawn, events: ProcessEvents, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events = events
        self._stderr = deque[bytes]()
        self._stderr_size = 0
        self._unwritten = deque[memoryview]()
        self.unwritten = 0
        """Bytes that wait for the child to read."""
        self._held: list[bytes] | None = None
        self._reason = ""
        self._stopping = False
        self._gone = False
        self._timers = set[asyncio.TimerHandle]()
        # Popen from the loop's own thread: PDEATHSIG fires when the spawning thread ends, and this one outlives us.
        self._child = subprocess.Popen(
            spawn.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(spawn.environment),
            cwd=spawn.cwd,
            start_new_session=True,
            bufsize=0,
        )
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self.pid = self._child.pid
        self._stdin: int | None = self._child.stdin.fileno()
        self._stdout: int | None = self._child.stdout.fileno()
        self._stderr_fd: int | None = self._child.stderr.fileno()
        self._exit_fd: int | None = None
        self._listen()

    def _listen(self) -> None:
        for pipe in (self._stdin, self._stdout, self._stderr_fd):
            assert pipe is not None
            os.set_blocking(pipe, False)
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe or 0, _F_SETPIPE_SZ, PIPE_BYTES)
        assert self._stdout is not None and self._stderr_fd is not None
        self._loop.add_reader(self._stdout, self._stdout_ready)
        self._loop.add_reader(self._stderr_fd, self._stderr_ready)
        try:
            self._exit_fd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux; or an old kernel, a sandbox, no descriptor left
            self._later(EXIT_POLL_SECONDS, self._poll_exit)
        else:
            self._loop.add_reader(self._exit_fd, self._exit_ready)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(handle)
            act()

        handle = self._loop.call_later(seconds, run)
        self._timers.add(handle)

    # Writing.

    def write(self, data: bytes) -> bool:
        """Write or queue `data`; False when the child's stdin is closed, and then nothing of it was written."""
        if self._stdin is None:
            return False
        if self._held is not None:
            self._held.append(data)
            self.unwritten += len(data)
            return True
        if self._unwritten:
            self._unwritten.append(memoryview(data))
            self.unwritten += len(data)
            return True
        try:
            written = os.write(self._stdin, data)
        except BlockingIOError:
            written = 0
        except OSError:
            self._stdin_closed()
            return False
        if written < len(data):
            self._unwritten.append(memoryview(data)[written:])
            self.unwritten += len(data) - written
            self._loop.add_writer(self._stdin, self._stdin_ready)
        return True

    def hold(self) -> None:
        """Keep what is written until `release`: answers that came together are followed by one write, one wake-up."""
        self._held = []

    def release(self) -> bool:
        """Write or queue what was held; False when the child's stdin is closed, and then nothing of it was written."""
        held, self._held = self._held, None
        if not held:
            return True
        data = held[0] if len(held) == 1 else b"".join(held)
        self.unwritten = max(0, self.unwritten - len(data))
        return self.write(data)

    def _stdin_ready(self) -> None:
        while self._unwritten and self._stdin is not None:
            head = self._unwritten[0]
            try:
                written = os.write(self._stdin, head)
            except BlockingIOError:
                return
            except OSError:
                self._stdin_closed()
                return
            self.unwritten -= written
            if written < len(head):
                self._unwritten[0] = head[written:]
                return
            self._unwritten.popleft()
        if self._stdin is not None:
            self._loop.remove_writer(self._stdin)
        if self._stopping:
            self._close_stdin()
        else:
            self._events.written()

    def _stdin_closed(self) -> None:
        self._close_stdin()
        self._ends_soon("closed its stdin")

    def _close_stdin(self) -> None:
        if self._stdin is None:
            return
        self._loop.remove_writer(self._stdin)
        self._unwritten.clear()
        self.unwritten = 0
        self._stdin = None
        assert self._child.stdin
        self._child.stdin.close()

    # Reading.

    def _stdout_ready(self) -> None:
        if self._stdout is None:
            return
        try:
            data = os.read(self._stdout, READ_BYTES)
            # Only the middle of a large frame is read in large pieces: many small ones would hold the loop too long.
            if len(data) == READ_BYTES and b"\n" not in data:
                with contextlib.suppress(OSError):
                    data += os.read(self._stdout, LARGE_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._events.received(data)
        else:
            self._stop_reading_stdout()
            self._ends_soon("closed its stdout")

    def pause(self, seconds: float) -> None:
        """Read nothing from stdout for a while; a child that writes on has to wait."""
        if self._stdout is not None:
            self._loop.remove_reader(self._stdout)
            self._later(seconds, self._resume_stdout)

    def _resume_stdout(self) -> None:
        if self._stdout is not None:
            self._loop.add_reader(self._stdout, self._stdout_ready)

    def _stop_reading_stdout(self) -> None:
        if self._stdout is not None:
            self._loop.remove_reader(self._stdout)
            self._stdout = None

    def _stderr_ready(self) -> None:
        if self._stderr_fd is None:
            return
        try:
            data = os.read(self._stderr_fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._keep_stderr(data)
        if not data:
            self._loop.remove_reader(self._stderr_fd)
            self._stderr_fd = None
            return
        self._loop.remove_reader(self._stderr_fd)
        self._later(STDERR_PAUSE_SECONDS, self._resume_stderr)

    def _resume_stderr(self) -> None:
        if self._stderr_fd is not None:
            self._loop.add_reader(self._stderr_fd, self._stderr_ready)

    def _keep_stderr(self, data: bytes) -> None:
        self._events.printed(data)
        self._stderr.append(data[-STDERR_KEPT_BYTES:])
        self._stderr_size += len(self._stderr[-1])
        while self._stderr_size - len(self._stderr[0]) >= STDERR_KEPT_BYTES:
            self._stderr_size -= len(self._stderr.popleft())

    def stderr(self) -> str:
        """The last lines of the child's stderr, at most `STDERR_KEPT_BYTES`."""
        return b"".join(self._stderr)[-STDERR_KEPT_BYTES:].decode("utf-8", "replace").strip()

    # Ending.

    def _ends_soon(self, reason: str) -> None:
        self._later(EOF_GRACE_SECONDS, lambda: self.kill(reason))
        self._events.ending()

    def kill(self, reason: str) -> None:
        """End the child's whole group with SIGKILL. The first reason is kept."""
        if self._gone:
            return
        self._reason = self._reason or reason
        self._signal(signal.SIGKILL)

    def stop(self, reason: str, *, wait_seconds: float) -> None:
        """Walk the ladder: close stdin, wait, SIGTERM to the group, wait, SIGKILL. `exited` follows within 2 waits."""
        if self._gone:
            return
        self._reason = self._reason or reason
        self._stopping = True
        if self._unwritten:
            self._later(wait_seconds / 4, self._close_stdin)
        else:
            self._close_stdin()
        self._later(wait_seconds, lambda: self._signal(signal.SIGTERM))
        self._later(2 * wait_seconds, lambda: self._signal(signal.SIGKILL))

    def _signal(self, number: signal.Signals) -> None:
        # The child is unreaped, so its pid and its group cannot belong to anybody else.
        if not self._gone:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _poll_exit(self) -> None:
        if self._ended():
            self._exit_ready()
        else:
            self._later(EXIT_POLL_SECONDS, self._poll_exit)

    def _ended(self) -> bool:
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except AttributeError:  # macOS before Python 3.13
            return self._child.poll() is not None
        except ChildProcessError:  # somebody else reaped it; how it ended is lost
            return True

    def _exit_ready(self) -> None:
        if self._gone or not self._ended():
            return
        # Whoever of its group is left would keep our pipes open; the zombie still reserves the group's number.
        self._signal(signal.SIGKILL)
        self._gone = True
        try:
            self._close_stdin()
            self._events.ending()
            self._drain()
        finally:
            status = self._child.wait()
            self._close_pipes()
            self._events.exited(self._report(status))

    def _drain(self) -> None:
        # What a dead child wrote fits into its pipe; more can only come from a stranger that kept the pipe.
        left = LARGE_READ_BYTES
        while self._stdout is not None and left > 0:
            try:
                data = os.read(self._stdout, left)
            except OSError:
                break
            if not data:
                break
            left -= len(data)
            self._events.received(data)
        self._stop_reading_stdout()

    def _close_pipes(self) -> None:
        if self._exit_fd is not None:
            self._loop.remove_reader(self._exit_fd)
            os.close(self._exit_fd)
        if self._stderr_fd is not None:
            with contextlib.suppress(OSError):
                self._keep_stderr(os.read(self._stderr_fd, LARGE_READ_BYTES))
            self._events.printed(b"")
            self._loop.remove_reader(self._stderr_fd)
            self._stderr_fd = None
        self._close_stdin()
        assert self._child.stdout and self._child.stderr
        self._child.stdout.close()
        self._child.stderr.close()
        for timer in self._timers:
            timer.cancel()

    def _report(self, status: int) -> ExitReport:
        stderr = self.stderr()
        if status < 0:
            return ExitReport(signal=-status, stderr=stderr, reason=self._reason)
        return ExitReport(status=status, stderr=stderr, reason=self._reason)
