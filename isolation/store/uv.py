"""Runs uv: with an environment of its own, every run bounded, its words passed on as they come. Reads no result."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Uv", "UvOutcome", "UvStopped", "uv_environment"]

RUN_SECONDS = 1800.0
"""Longest run: a big download on a slow line. A stalled connection ends much earlier by uv's own timeouts."""

KEPT_LINES = 40

# What uv needs of its user: where things are, how to reach an index, whom to trust. Not: VIRTUAL_ENV, CONDA_PREFIX,
# PYTHON*, UV_PROJECT*, UV_PYTHON and everything else that would make one build differ from the next.
_PASSED = frozenset(
    {
        "HOME",
        "USER",
        "LOGNAME",
        "PATH",
        "TMPDIR",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "NETRC",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "SSL_CLIENT_CERT",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_CONFIG_DIRS",
        "XDG_DATA_HOME",
        "PYENV_ROOT",
        "UV_CACHE_DIR",
        "UV_CONFIG_FILE",
        "UV_CREDENTIALS_DIR",
        "UV_DEFAULT_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_INDEX",
        "UV_INDEX_STRATEGY",
        "UV_INDEX_URL",
        "UV_INSECURE_HOST",
        "UV_KEYRING_PROVIDER",
        "UV_NATIVE_TLS",
        "UV_NO_CACHE",
        "UV_NO_CONFIG",
        "UV_NO_INDEX",
        "UV_OFFLINE",
        "UV_PYTHON_INSTALL_DIR",
        "UV_REQUEST_TIMEOUT",
        "UV_SYSTEM_CERTS",
        "UV_NETRC",
    }
)
_PASSED_PREFIXES = ("UV_HTTP_", "UV_INDEX_", "UV_CONCURRENT_")


class UvStopped(Exception):
    """The store is being closed; nobody waits for this run any more."""


@dataclass(frozen=True, slots=True)
class UvOutcome:
    """How a run ended. `lines` are the last ones of its stderr."""

    status: int
    output: bytes
    lines: tuple[str, ...]


def uv_environment(host: Mapping[str, str]) -> dict[str, str]:
    """Pick the variables of `host` that uv may see, and fix those that keep its output plain and its work local."""
    passed = {name: value for name, value in host.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)}
    return passed | {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}


class Uv:
    """The uv that came with us, and the runs of it that are going on."""

    def __init__(self, environment: Mapping[str, str], *, offline: bool = False) -> None:
        self._environment = dict(environment)
        self._offline = offline
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self.stopped = False

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables its runs get."""
        return self._environment

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        heard: Callable[[str], None] = lambda line: None,
        keep: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> UvOutcome:
        """Run uv to its end. `keep` is a descriptor that it inherits, and so holds while it lives."""
        # Imported here: the warm path never runs uv.
        from uv import find_uv_bin

        offline = ["--offline"] if self._offline else []
        process = self._start([find_uv_bin(), *arguments, *offline], cwd, keep, environment)
        try:
            return _follow(process, heard)
        finally:
            _end(process)
            with self._guard:
                self._running.discard(process)
            if self.stopped:
                raise UvStopped

    def stop(self) -> None:
        """End every run and refuse new ones."""
        with self._guard:
            self.stopped = True
            for process in self._running:
                _kill(process)

    def _start(
        self, argv: list[str], cwd: Path, keep: int | None, environment: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        with self._guard:
            if self.stopped:
                raise UvStopped
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=self._environment if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=() if keep is None else (keep,),
            )
            self._running.add(process)
            return process


def _follow(process: subprocess.Popen[bytes], heard: Callable[[str], None]) -> UvOutcome:
    """Read both pipes to their end, which comes when uv ends, or when its time is up and it is killed."""
    assert process.stdout is not None
    assert process.stderr is not None
    output, lines, rest = bytearray(), [], b""
    until = time.monotonic() + RUN_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() > until:
                lines.append(f"stopped after {RUN_SECONDS:.0f} s")
                break
            for key, _ in selector.select(1.0):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    output += chunk
                else:
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        text = line.decode("utf-8", "replace").rstrip()
                        lines.append(text)
                        heard(text)
    _end(process)
    kept = [line for line in [*lines, rest.decode("utf-8", "replace")] if line]
    return UvOutcome(process.returncode, bytes(output), tuple(kept[-KEPT_LINES:]))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Reap it; what closed its pipes and still runs is killed."""
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the run's own process group. Only while it is not reaped, so the number cannot be anybody else's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
