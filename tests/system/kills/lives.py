"""Lets hosts live and kills them; collects what they told. See doomed_shop.py."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SHOP", "Host", "Told", "World", "hosts", "left_over"]

HERE = Path(__file__).parent
SHOP = HERE.parents[2] / "examples" / "saga" / "plugins" / "shop"
PATIENCE_SECONDS = 120.0
"""Bounds every wait for a host; a machine may be busy with other tests."""

Line = dict[str, object]


@dataclass
class World:
    """The folders of one story: a pipeline file with its plugin, the store, the state, the ledger outside."""

    folder: Path

    def __post_init__(self) -> None:
        shutil.copytree(SHOP, self.plugin, ignore=shutil.ignore_patterns("__pycache__"))
        self.write((HERE / "storm.yaml").read_text())

    def write(self, text: str) -> None:
        """Put a pipeline file there."""
        self.file.write_text(text.replace("@LEDGER@", str(self.ledger)))

    @property
    def file(self) -> Path:
        return self.folder / "pipeline.yaml"

    @property
    def plugin(self) -> Path:
        return self.folder / "plugins" / "shop"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"


@dataclass
class Told:
    """All that lives told, in order."""

    lines: list[Line] = field(default_factory=list)

    def having(self, name: str) -> list[Line]:
        """The lines of one kind."""
        return [line for line in self.lines if name in line]


class Host:
    """Lives of one world, one at a time."""

    def __init__(self, process: subprocess.Popen[bytes], told: Told) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.told = told
        self._stdin, self._stdout = process.stdin, process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._rest = b""
        self._since = 0

    def begin(self, life: str) -> float:
        """Begin a life; the time it began at."""
        self._since = len(self.told.lines)
        self._write(life)
        self._until("began", PATIENCE_SECONDS)
        return time.monotonic()

    def listen(self, seconds: float) -> None:
        """Take what is told in so many seconds."""
        self._until("", seconds)

    def listen_to(self, answers: int, seconds: float) -> None:
        """Take what is told until so many answers were heard in this life, at most so long."""
        until = time.monotonic() + seconds
        while self._heard() < answers and self._found("ended") is None and (left := until - time.monotonic()) > 0:
            self._take(left)

    def listen_for(self, name: str, seconds: float) -> None:
        """Take what is told until the next line with `name`, at most so long."""
        since, until = len(self.told.lines), time.monotonic() + seconds
        while not any(name in line for line in self.told.lines[since:]) and (left := until - time.monotonic()) > 0:
            if self._found("ended") is not None:
                return
            self._take(left)

    def listen_to_code(self, code: str, answers: int, seconds: float) -> None:
        """Take what is told until so many more answers with `code` were heard, at most so long."""
        since, until = len(self.told.lines), time.monotonic() + seconds

        def heard() -> int:
            return sum(line.get("code") == code for line in self.told.lines[since:])

        while heard() < answers and self._found("ended") is None and (left := until - time.monotonic()) > 0:
            self._take(left)

    def _heard(self) -> int:
        return sum("heard" in line for line in self.told.lines[self._since :])

    def ready(self) -> float:
        """Wait until workers are ready and earlier runs are taken up; the time when they were."""
        assert self._until("ready", PATIENCE_SECONDS), "the host never was ready"
        return time.monotonic()

    def kill(self) -> None:
        """SIGKILL."""
        if self._found("ended") is None:
            self._write("kill")
        assert self.ended() == 9, "the host ended before it was killed"

    def ended(self) -> object:
        """Wait for the end of the life; its wait status."""
        line = self._until("ended", PATIENCE_SECONDS)
        assert line is not None, "the host never ended"
        return line["ended"]

    def _write(self, text: str) -> None:
        self._stdin.write(text.encode() + b"\n")
        self._stdin.flush()

    def _until(self, name: str, seconds: float) -> Line | None:
        """Take what is told until this life has told a line with `name`, at most so long."""
        until = time.monotonic() + seconds
        while (found := self._found(name)) is None and (left := until - time.monotonic()) > 0:
            self._take(left)
        return found

    def _take(self, seconds: float) -> None:
        if self._selector.select(seconds):
            data = os.read(self._stdout, 1 << 16)
            assert data, "the process of the hosts ended"
            self.told.lines += self._lines(data)

    def _found(self, name: str) -> Line | None:
        return next((line for line in self.told.lines[self._since :] if name in line), None)

    def _lines(self, data: bytes) -> list[Line]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


@contextmanager
def hosts(world: World, told: Told) -> Iterator[Host]:
    """Lives of this world."""
    command = [sys.executable, str(HERE / "doomed_shop.py"), str(world.file), str(world.store), str(world.state)]
    with (
        (world.folder / "stderr").open("ab") as stderr,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        yield Host(process, told)


def left_over(world: World) -> list[str]:
    """Command lines of workers of this world that are still there after a moment."""
    until = time.monotonic() + 5.0
    while (left := _workers(str(world.store).encode())) and time.monotonic() < until:
        os.sched_yield()  # nobody tells us of the end of a process that is not our child
    return left


def _workers(store: bytes) -> list[str]:
    found: list[str] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it ended while we looked
            if b"launch.py" in command and store in command:
                found.append(command.replace(b"\0", b" ").decode())
    return found
