"""Pipes, terminals and signals: what only a real process shows."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

PENSTOCK = Path(sysconfig.get_path("scripts")) / "penstock"
WAIT_SECONDS = 60.0
CALL = json.dumps({"hook": "tool_pre_invoke", "payload": {"name": "t", "args": {"q": "fine"}}}).encode() + b"\n"


@contextmanager
def running(environment: Mapping[str, str], *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """The command with all its streams open; killed at the end if it is still there."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [PENSTOCK, *map(str, arguments)], stdin=pipe, stdout=pipe, stderr=pipe, env=dict(environment), bufsize=0
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def asked(process: subprocess.Popen[bytes]) -> dict[str, object]:
    """Write one call and wait for its answer, stdin still open."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(CALL)
    ready, _, _ = select.select([process.stdout], [], [], WAIT_SECONDS)
    assert ready, "no answer while stdin is open"
    answer: dict[str, object] = json.loads(process.stdout.readline())
    return answer


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_call_from_a_pipe_is_answered_while_the_pipe_is_open(environment: Mapping[str, str], guard: Path) -> None:
    with running(environment, "run", guard, "--input", "-", "--json") as process:
        assert [asked(process)["verdict"] for _ in range(3)] == ["allow"] * 3
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(WAIT_SECONDS) == 0


@pytest.mark.parametrize(
    ("number", "status", "said"), [(signal.SIGINT, 130, b"interrupted\n"), (signal.SIGTERM, 143, b"terminated\n")]
)
def test_a_signal_ends_the_workers_and_then_the_command(
    environment: Mapping[str, str], guard: Path, number: signal.Signals, status: int, said: bytes
) -> None:
    with running(environment, "run", guard, "--input", "-", "--json") as process:
        asked(process)
        workers = children(process.pid)
        process.send_signal(number)
        assert process.wait(WAIT_SECONDS) == status
        assert process.stderr is not None
        assert process.stderr.read() == said
        assert workers
        assert all(map(is_gone, workers))


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_reader_that_leaves_ends_the_command_without_a_word(
    environment: Mapping[str, str], guard: Path, concurrency: int
) -> None:
    (guard / "input.jsonl").write_bytes(CALL * 5000)
    with running(environment, "run", guard, "--json", "--concurrency", concurrency) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(WAIT_SECONDS) == 141
        assert process.stderr.read() == b""


def test_help_to_a_reader_that_left_is_quiet_too(environment: Mapping[str, str]) -> None:
    near, far = os.pipe()
    os.close(near)
    done = subprocess.run(
        [PENSTOCK, "--help"], stdout=far, stderr=subprocess.PIPE, env=environment, timeout=WAIT_SECONDS, check=False
    )
    os.close(far)
    assert (done.returncode, done.stderr) == (141, b"")


def on_a_terminal(environment: Mapping[str, str], *arguments: object) -> bytes:
    """What the command writes to a terminal, as stdout and stderr."""
    near, far = pty.openpty()
    with subprocess.Popen(
        [PENSTOCK, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=far, stderr=far, env=dict(environment)
    ) as process:
        os.close(far)
        said = bytearray()
        while select.select([near], [], [], WAIT_SECONDS)[0]:
            try:
                said += os.read(near, 65536)
            except OSError:  # EIO: the last writer closed the terminal
                break
        process.wait(WAIT_SECONDS)
    os.close(near)
    return bytes(said)


def test_a_terminal_gets_colours(environment: Mapping[str, str], guard: Path) -> None:
    coloured = {name: value for name, value in environment.items() if name != "NO_COLOR"}
    assert b"\x1b[32m" in on_a_terminal(coloured, "test", guard)


def test_a_full_disk_is_told_in_a_sentence(environment: Mapping[str, str], guard: Path) -> None:
    (guard / "input.jsonl").write_bytes(CALL)
    with open("/dev/full", "wb") as full:
        command = [str(PENSTOCK), "run", str(guard), "--json"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=WAIT_SECONDS, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device [penstock.system]\n")


def test_no_color_is_honoured(environment: Mapping[str, str], guard: Path) -> None:
    (guard / "input.jsonl").write_bytes(CALL)
    plain = {**environment, "NO_COLOR": "1"}
    for words in (("test", guard), ("run", guard), ("run", guard / "nothing"), ("doctor",)):
        assert b"\x1b[3" not in on_a_terminal(plain, *words), words


def test_progress_shows_on_a_terminal_only(environment: Mapping[str, str], guard: Path) -> None:
    (guard / "input.jsonl").write_bytes(CALL * 64)
    assert b"lines" in on_a_terminal(environment, "run", guard)
    done = subprocess.run(
        [PENSTOCK, "run", guard], capture_output=True, env=environment, timeout=WAIT_SECONDS, check=True
    )
    assert b"lines \xe2" not in done.stdout + done.stderr
