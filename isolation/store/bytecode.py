"""Owns the processes that compile environments in the background. An environment is usable without them."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

from isolation.store.layout import Layout

__all__ = ["Compilers"]

_PROGRAM = Path(__file__).with_name("compile_bytecode.py")
_MARK = "penstock-compiled"


class Compilers:
    """At most one compiling process for each environment, all of them ended with the store.

    They take turns: the work can wait, and the processors belong to those who start workers.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = threading.Lock()

    def ensure(self, fingerprint: str) -> None:
        """Begin to compile an environment unless that is done or going on."""
        environment = self._layout.environment(fingerprint)
        if (environment / _MARK).exists():
            return
        with self._guard:
            self._reap()
            if fingerprint not in self._running:
                self._running[fingerprint] = self._start(environment)

    def wait(self, seconds: float) -> bool:
        """Wait until all are done; False when time is up. For tests and benchmarks that want a quiet machine."""
        with self._guard:
            running = list(self._running.values())
        try:
            for process in running:
                process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """End what still runs; the next start goes on where it stopped."""
        with self._guard:
            for process in self._running.values():
                if process.stdin is not None:
                    process.stdin.close()
            for process in self._running.values():
                _reap_within(process, 2.0)
            self._running.clear()

    def _reap(self) -> None:
        ended = [name for name, process in self._running.items() if process.poll() is not None]
        for name in ended:
            process = self._running.pop(name)
            if process.stdin is not None:
                process.stdin.close()

    def _start(self, environment: Path) -> subprocess.Popen[bytes]:
        python, lease = environment / "bin" / "python", self._layout.lease(environment.name)
        arguments = [str(environment), str(lease), str(self._layout.lock("bytecode"))]
        return subprocess.Popen(
            [str(python), "-I", "-S", "-B", str(_PROGRAM), *arguments],
            cwd="/",
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _reap_within(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
