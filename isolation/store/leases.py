"""What this process uses: shared locks that keep a collection in another process away. They end with the process."""

from __future__ import annotations

import threading

from isolation.store.filelock import FileLock, LockMode
from isolation.store.layout import Layout

__all__ = ["Leases"]

LEASE_WAIT_SECONDS = 60.0
"""How long to wait for a collection that is just removing the entry; removing a large one takes seconds."""


class Leases:
    """The leases of one store in one process, counted by name."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._held: dict[str, tuple[FileLock, int]] = {}
        self._guard = threading.Lock()

    def take(self, name: str) -> None:
        """Hold `name` once more."""
        with self._guard:
            held = self._held.get(name)
            if held is not None:
                self._held[name] = (held[0], held[1] + 1)
                return
        lock = FileLock.take(self._layout.lease(name), LockMode.SHARED, within_seconds=LEASE_WAIT_SECONDS)
        with self._guard:
            held = self._held.get(name)
            self._held[name] = (lock, 1) if held is None else (held[0], held[1] + 1)
            if held is not None:
                lock.release()

    def drop(self, name: str) -> None:
        """Hold `name` once less."""
        with self._guard:
            held = self._held.pop(name, None)
            if held is not None and held[1] > 1:
                self._held[name] = (held[0], held[1] - 1)
            elif held is not None:
                held[0].release()

    def close(self) -> None:
        """Let go of everything."""
        with self._guard:
            for lock, _ in self._held.values():
                lock.release()
            self._held.clear()
