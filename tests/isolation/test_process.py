"""Real children: what they write arrives, how they end is told once and last, and they do end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from living import PATIENCE_SECONDS, Gate, descriptors, run, until

from isolation.errors import ExitReport
from isolation.process import STDERR_KEPT_BYTES, ChildProcess, Spawn

Act = Callable[["Watched"], None]


class Watched:
    """A child and everything that it told."""

    def __init__(self, argv: Sequence[str], cwd: Path) -> None:
        self.out = bytearray()
        self.told: list[str] = []
        self.log: list[bytes] = []
        self.gone: asyncio.Future[ExitReport] = asyncio.get_running_loop().create_future()
        self.child = ChildProcess(Spawn(argv, dict(os.environ), cwd), self, asyncio.get_running_loop())

    def received(self, data: bytes) -> None:
        self.out += data
        self.told.append("received")

    def printed(self, data: bytes) -> None:
        self.log.append(data)

    def written(self) -> None:
        self.told.append("written")

    def ending(self) -> None:
        self.told.append("ending")

    def exited(self, report: ExitReport) -> None:
        self.told.append("exited")
        self.gone.set_result(report)

    async def end(self) -> ExitReport:
        """How it ended; `exited` was the last thing told, and told once."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            report = await self.gone
        assert self.told.count("exited") == 1 and self.told[-1] == "exited"
        assert "ending" in self.told
        return report


def python(source: str) -> list[str]:
    return [sys.executable, "-S", "-B", "-c", source]


def watch(argv: Sequence[str], cwd: Path, *acts: Act) -> Watched:
    """Start a child, do `acts` to it, and return it when it has ended. Nothing of it stays open."""
    watched: list[Watched] = []

    async def main() -> None:
        before = descriptors()
        watched.append(Watched(argv, cwd))
        for act in acts:
            act(watched[0])
        await watched[0].end()
        assert descriptors() == before

    run(main())
    return watched[0]


# What a child writes.


def test_everything_written_before_the_end_arrives_before_the_end_is_told(tmp_path: Path) -> None:
    source = "import os\nfor _ in range(50): os.write(1, b'x' * 10_000)\nos._exit(7)"
    watched = watch(python(source), tmp_path)
    assert len(watched.out) == 500_000
    assert watched.gone.result() == ExitReport(status=7)


def test_a_signal_is_told_as_a_signal(tmp_path: Path) -> None:
    watched = watch(python("import os; os.kill(os.getpid(), 11)"), tmp_path)
    assert watched.gone.result() == ExitReport(signal=signal.SIGSEGV)


def test_the_last_of_stderr_is_kept_and_no_more(tmp_path: Path) -> None:
    source = "import sys\nfor n in range(100_000): print('line', n, file=sys.stderr)\nprint('the end', file=sys.stderr)"
    report = watch(python(source), tmp_path).gone.result()
    assert report.stderr.endswith("line 99999\nthe end")
    assert len(report.stderr) <= STDERR_KEPT_BYTES


def test_stderr_that_is_no_text_does_no_harm(tmp_path: Path) -> None:
    report = watch(python("import os; os.write(2, b'caf\\xff\\n')"), tmp_path).gone.result()
    assert report.stderr == "caf\N{REPLACEMENT CHARACTER}"


# What is written to a child.


def test_what_does_not_fit_into_the_pipe_follows_in_order(tmp_path: Path) -> None:
    """Several megabytes through `cat`, which blocks when we do not read."""

    async def main() -> None:
        watched = Watched(["cat"], tmp_path)
        pieces = [bytes([65 + number]) * 1_500_000 for number in range(6)]
        for piece in pieces:
            assert watched.child.write(piece)
        assert watched.child.unwritten > 8_000_000
        await until(lambda: len(watched.out) == 9_000_000)
        assert watched.out == b"".join(pieces)
        assert watched.child.unwritten == 0 and "written" in watched.told
        watched.child.stop("was stopped", wait_seconds=PATIENCE_SECONDS)
        assert (await watched.end()).status == 0

    run(main())


def test_a_stop_flushes_first(tmp_path: Path) -> None:
    """The child gets all that was written before its stdin is closed."""

    async def main() -> None:
        watched = Watched(["cat"], tmp_path)
        watched.child.write(b"x" * 5_000_000)
        watched.child.stop("was stopped", wait_seconds=PATIENCE_SECONDS)
        assert (await watched.end()).status == 0
        assert len(watched.out) == 5_000_000

    run(main())


def test_what_is_held_is_written_at_once_and_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        watched = Watched(["cat"], tmp_path)
        watched.child.hold()
        assert watched.child.write(b"one") and watched.child.write(b"two")
        assert watched.child.unwritten == 6
        watched.child.release()
        assert watched.child.unwritten == 0
        watched.child.write(b"three")
        await until(lambda: len(watched.out) == 11)
        assert watched.out == b"onetwothree"
        watched.child.kill("the test is over")
        await watched.end()

    run(main())


def test_a_child_that_closed_its_stdin_is_ended(tmp_path: Path) -> None:
    """Nothing can be asked any more, so it is told as an end although the child lives on."""

    async def main() -> None:
        gate = Gate(tmp_path)
        source = f"import os, signal\nos.close(0)\nopen({str(gate.path)!r}).close()\nsignal.pause()"
        watched = Watched(python(source), tmp_path)
        await gate.reached()
        assert not watched.child.write(b"anybody there?\n")
        assert watched.told == ["ending"]
        assert not watched.child.write(b"no\n")
        report = await watched.end()
        assert (report.signal, report.reason) == (signal.SIGKILL, "closed its stdin")

    run(main())


def test_a_child_that_closes_its_stdin_in_the_middle_of_a_frame_is_ended(tmp_path: Path) -> None:
    async def main() -> None:
        watched = Watched(python("import os, signal\nos.read(0, 1)\nos.close(0)\nsignal.pause()"), tmp_path)
        assert watched.child.write(b"x" * 5_000_000)
        report = await watched.end()
        assert (report.signal, report.reason) == (signal.SIGKILL, "closed its stdin")
        assert watched.child.unwritten == 0

    run(main())


# How a child ends.


def test_a_child_that_closed_its_stdout_is_ended(tmp_path: Path) -> None:
    report = watch(python("import os, signal\nos.close(1)\nsignal.pause()"), tmp_path).gone.result()
    assert (report.signal, report.reason) == (signal.SIGKILL, "closed its stdout")


@pytest.mark.parametrize("session", ["", ", start_new_session=True"])
def test_a_grandchild_that_keeps_the_pipes_open_does_not_hide_the_end(tmp_path: Path, session: str) -> None:
    """One of the group is killed with it; a stranger in a session of its own just loses its reader."""
    source = (
        "import os, subprocess\n"
        f"grandchild = subprocess.Popen(['sleep', '60']{session})\n"
        "os.write(1, str(grandchild.pid).encode())\nos._exit(4)"
    )
    watched = watch(python(source), tmp_path)
    assert watched.gone.result() == ExitReport(status=4)
    grandchild = int(watched.out)
    if session:
        os.kill(grandchild, signal.SIGKILL)
    else:
        run(until(lambda: not _lives(grandchild)))


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.{handler})\nopen({gate!r}).close()\nsignal.pause()"


@pytest.mark.parametrize(
    ("handler", "ended_by"), [("SIG_DFL", signal.SIGTERM), ("SIG_IGN", signal.SIGKILL)], ids=["SIGTERM", "SIGKILL"]
)
def test_the_ladder_goes_on_until_the_child_ends(tmp_path: Path, handler: str, ended_by: signal.Signals) -> None:
    async def main() -> None:
        gate = Gate(tmp_path)
        watched = Watched(python(STUBBORN.format(handler=handler, gate=str(gate.path))), tmp_path)
        await gate.reached()
        watched.child.stop("was stopped", wait_seconds=0.1)
        watched.child.stop("was stopped again", wait_seconds=0.1)
        report = await watched.end()
        assert (report.signal, report.reason) == (ended_by, "was stopped")

    run(main())


def test_nothing_can_be_done_to_a_child_that_is_gone(tmp_path: Path) -> None:
    """Its pid may be somebody else's by now."""

    async def main() -> None:
        watched = Watched(["true"], tmp_path)
        report = await watched.end()
        watched.child.kill("too late")
        watched.child.stop("too late", wait_seconds=0.0)
        assert not watched.child.write(b"too late")
        watched.child.hold()
        assert not watched.child.write(b"too late")
        watched.child.release()
        assert report == ExitReport(status=0)
        assert watched.told.count("exited") == 1

    run(main())


def test_an_owner_that_raises_is_still_told_of_the_end(tmp_path: Path) -> None:
    class Raising(Watched):
        def received(self, data: bytes) -> None:
            super().received(data)
            raise RuntimeError("a bug of the owner's")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        watched = Raising(python("import os; os.write(1, b'x'); os._exit(2)"), tmp_path)
        assert (await watched.end()).status == 2

    run(main())


def test_what_cannot_be_started_leaves_nothing_open(tmp_path: Path) -> None:
    async def main() -> None:
        before = descriptors()
        for argv, cwd in ((["/no/such/program"], tmp_path), (["true"], tmp_path / "missing")):
            with pytest.raises(FileNotFoundError):
                Watched(argv, cwd)
        assert descriptors() == before

    run(main())


def test_a_child_is_the_leader_of_its_own_session(tmp_path: Path) -> None:
    """Ctrl-C at a terminal is the host's to handle."""
    watched = watch(python("import os; print(os.getpid() == os.getsid(0) == os.getpgrp())"), tmp_path)
    assert watched.out == b"True\n"


ELSEWHERE = """
import asyncio, os
for name in ("pidfd_open", "waitid"):
    delattr(os, name)
from pathlib import Path
from isolation.process import ChildProcess, Spawn

class Owner:
    def __init__(self): self.out, self.gone = b"", asyncio.get_running_loop().create_future()
    def received(self, data): self.out += data
    def printed(self, data): pass
    def written(self): pass
    def ending(self): pass
    def exited(self, report): self.gone.set_result(report)

async def main():
    owner = Owner()
    child = ChildProcess(Spawn(["cat"], dict(os.environ), Path.cwd()), owner, asyncio.get_running_loop())
    child.write(b"hello ")
    child.stop("was stopped", wait_seconds=5.0)
    report = await asyncio.wait_for(owner.gone, 10.0)
    print(owner.out.decode(), report.status)

asyncio.run(main())
"""


def test_it_runs_where_the_system_has_no_pidfd_and_no_waitid() -> None:
    """As on macOS, and on asyncio's own loop."""
    host = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (host.stdout, host.stderr) == ("hello  0\n", "")


def test_a_child_that_is_paused_has_to_wait(tmp_path: Path) -> None:
    """A flood is read at the pace that its reader chooses, and the end is seen all the same."""

    class Slow(Watched):
        def received(self, data: bytes) -> None:
            super().received(data)
            self.child.pause(0.04)

    async def main() -> None:
        began = time.monotonic()
        flood = Slow(python("import os\nwhile True: os.write(1, b'a line\\n' * 1000)"), tmp_path)
        await until(lambda: flood.told.count("received") == 5)
        assert time.monotonic() - began >= 4 * 0.04
        flood.child.kill("the test is over")
        assert (await flood.end()).signal == signal.SIGKILL

    run(main())
