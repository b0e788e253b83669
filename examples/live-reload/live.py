"""Changes two plugins and their pipeline file while calls go on, and prints what became of each change.

    python examples/live-reload/live.py

Everything happens in a copy of this folder: `penstock serve` serves it, eight callers ask it without a pause, and an
operator saves files and types commands. No call may fail.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
PENSTOCK = Path(sysconfig.get_path("scripts"), "penstock")

CALLERS = 8
WAIT_SECONDS = 120.0
"""The longest that anything may take here; it takes well under a second, unless the machine is busy."""

QUESTIONS = ("where is the sea", "a text that is longer than forty characters, for a large call", "the forbidden sea")


class Door(http.client.HTTPConnection):
    """A connection to the host's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("penstock", timeout=WAIT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_SECONDS)
        self.sock.connect(str(self._path))

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        """One request; the status and the object of its answer."""
        self.request(method, path, None if body is None else json.dumps(body).encode())
        response = self.getresponse()
        return response.status, json.loads(response.read())

    def call(self, text: str, user: str) -> tuple[int, dict[str, object]]:
        """Ask as a gateway does before it calls a tool."""
        payload = {"name": "search", "args": {"q": text}}
        return self.ask("POST", "/v1/hooks/tool_pre_invoke", {"payload": payload, "context": {"user": {"id": user}}})


@dataclass
class Tally:
    """What callers came to. A call without a label is answered all the same: its stage is permissive."""

    answered: int = 0
    failed: int = 0
    unlabelled: int = 0
    trouble: list[str] = field(default_factory=list)


class Callers:
    """Ask without a pause, each over one connection that is never closed, until they are told to stop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tally = Tally()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def taken(self) -> Tally:
        """What came since this was last asked."""
        with self._lock:
            tally, self._tally = self._tally, Tally()
        return tally

    def _call(self, number: int) -> None:
        door, turn = Door(self._path), number
        while not self._stop.is_set():
            turn += 1
            text = QUESTIONS[turn % len(QUESTIONS)]
            try:
                status, answer = door.call(text, f"user{number}-{turn % 50}")
            except OSError as error:
                status, answer = 0, {"error": repr(error)}
                door.close()
            self._count(text, status, answer)

    def _count(self, text: str, status: int, answer: dict[str, object]) -> None:
        expected = "deny" if "forbidden" in text else "allow"
        is_right = status == 200 and answer["error"] is None and answer["verdict"] == expected
        with self._lock:
            self._tally.answered += is_right
            self._tally.failed += not is_right
            self._tally.unlabelled += is_right and expected == "allow" and answer["hints"] is None
            if not is_right:
                self._tally.trouble.append(f"{status} {answer}")


class Operator:
    """Has a copy of the example's files, and a terminal."""

    def __init__(self, folder: Path, state: Path, door: Path) -> None:
        self._folder = folder
        self._door = door
        self._environment = {**os.environ, "PENSTOCK_STATE": str(state), "NO_COLOR": "1"}

    def types(self, *words: str) -> str:
        """A command; what it prints."""
        command = [str(PENSTOCK), *words]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=self._environment,
            timeout=WAIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def asks(self, *words: str) -> dict[str, object]:
        """A command; the object that it prints."""
        found = json.loads(self.types(*words, "--json"))
        assert isinstance(found, dict)
        return found

    def status(self) -> dict[str, object]:
        """What `penstock status --json` prints, asked for without a process for it."""
        with contextlib.closing(Door(self._door)) as door:
            return door.ask("GET", "/v1/status")[1]

    def edits(self, file: str, old: str, new: str) -> None:
        """Change a text in a file and save it, as editors do: written beside, then moved into place."""
        path = self._folder / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(text.replace(old, new))
        beside.replace(path)

    def waits(self, what: str, until: Callable[[dict[str, object]], object]) -> dict[str, object]:
        """Look at the status until something is so."""
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            status = self.status()
            if until(status):
                return status
        raise AssertionError(f"waited {WAIT_SECONDS:g} s for this: {what}\n{self.types('status')}")

    def workers(self) -> set[object]:
        """The processes of both plugins."""
        plugins = self.status()["plugins"]
        assert isinstance(plugins, list)
        return {worker["pid"] for plugin in plugins for worker in plugin["workers"]}

    @contextlib.contextmanager
    def serves(self) -> Iterator[subprocess.Popen[bytes]]:
        """`penstock serve`, ready. What it logs is shown where something goes wrong."""
        path = self._door
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, (path.parent / "log").open("w+b") as log:
            notices.bind(f"{path}.notice")
            notices.settimeout(WAIT_SECONDS)
            environment = {**self._environment, "NOTIFY_SOCKET": f"{path}.notice"}
            command = [str(PENSTOCK), "serve", ".", "--socket", str(path)]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, env=environment)
            try:
                assert notices.recv(100) == b"READY=1"
                yield process
            except BaseException:
                sys.stderr.write(Path(log.name).read_text())
                raise
            finally:
                process.terminate()
                process.wait(WAIT_SECONDS)


def number(status: dict[str, object]) -> object:
    """The revision that serves."""
    revision = status["revision"]
    assert isinstance(revision, dict)
    return revision["number"]


def serving(wanted: int) -> Callable[[dict[str, object]], object]:
    """Whether that revision serves."""
    return lambda status: number(status) == wanted


def refused(words: str) -> Callable[[dict[str, object]], object]:
    """Whether a change was refused, for this reason."""
    return lambda status: words in str(status["refused"])


@dataclass(frozen=True)
class Step:
    """One line of the table: what the operator did, and what the host made of it."""

    done: str
    came: str
    act: Callable[[Operator], None]


def starts(operator: Operator) -> None:
    assert "revision 1 since" in operator.types("status")
    assert number(operator.status()) == 1


def saves_code(operator: Operator) -> None:
    operator.edits("plugins/guard/plugin.py", "if word in text)", "if word in text.lower())")
    operator.waits("the code is live", serving(2))


def saves_words(operator: Operator) -> None:
    before = operator.workers()
    operator.edits("pipeline.yaml", "words: [forbidden]", "words: [forbidden, secret]")
    operator.waits("the words are live", serving(3))
    assert operator.workers() == before, "the same processes"


def saves_a_typo(operator: Operator) -> None:
    operator.edits("pipeline.yaml", "deadline: 10s", "deadlin: 10s")
    operator.waits("the typo is refused", refused("did you mean 'deadline'?"))
    operator.edits("pipeline.yaml", "deadlin: 10s", "deadline: 10s")
    operator.waits("nothing is refused", lambda status: status["refused"] is None)


def saves_a_syntax_error(operator: Operator) -> None:
    operator.edits("plugins/guard/plugin.py", "def check(call):", "def check(call:")
    operator.waits("the syntax error is refused", refused("SyntaxError"))
    operator.edits("plugins/guard/plugin.py", "def check(call:", "def check(call):")
    operator.waits("nothing is refused", lambda status: status["refused"] is None)


def saves_what_fails_its_test(operator: Operator) -> None:
    operator.edits("plugins/guard/plugin.py", "if word in text.lower())", "if word in text.upper())")
    operator.waits("the self-test refuses", refused("guard.blind: does not see forbidden, secret"))
    assert "self-test failed" in operator.types("history")
    operator.edits("plugins/guard/plugin.py", "if word in text.upper())", "if word in text.lower())")
    operator.waits("nothing is refused", lambda status: status["refused"] is None)


def freezes_plans_and_applies(operator: Operator) -> None:
    operator.types("freeze", "--reason", "release night")
    operator.edits("pipeline.yaml", "replicas: 2", "replicas: 3")
    assert "swap, beside the old one" in operator.types("plan")
    assert number(operator.status()) == 3, "the watcher holds back"
    assert operator.asks("apply")["revision"] == 4


def rolls_back(operator: Operator) -> None:
    shown = operator.types("diff", "4")
    assert "+  guard: { source: ./plugins/guard, replicas: 3" in shown
    assert operator.asks("rollback")["revision"] == 5
    operator.edits("pipeline.yaml", "replicas: 3", "replicas: 2")  # or the next change brings it back
    operator.types("thaw")


def saves_what_fails_half(operator: Operator) -> None:
    fails = '    if int(call.run[-1], 36) % 2:\n        raise RuntimeError("no label today")\n    label ='
    operator.edits("plugins/label/plugin.py", "    label =", fails)
    operator.waits("the canary is given up", lambda status: "'aborted'" in str(status["last_change"]))
    assert "of its calls failed" in operator.types("history")
    operator.edits("plugins/label/plugin.py", fails, "    label =")


def promotes(operator: Operator) -> None:
    operator.edits("plugins/label/plugin.py", "LARGE_CHARACTERS = 40", "LARGE_CHARACTERS = 30")
    operator.waits("the canary is on trial", lambda status: status["canary"])
    operator.types("canary", "set", "60")
    assert operator.asks("canary", "promote")["revision"] == 7


def overrides(operator: Operator) -> None:
    operator.types("override", "label", "--mode", "disabled", "--for", "1s", "--reason", "ticket 4711")
    operator.waits("the override ends by itself", lambda status: number(status) == 9 and not status["overrides"])


STEPS = (
    Step("`penstock serve`", "the files serve", starts),
    Step("save code of guard", "a new generation, swapped in", saves_code),
    Step("save a word in `with`", "the same processes, configured anew", saves_words),
    Step("save a typo in pipeline.yaml", "refused: `did you mean 'deadline'?`", saves_a_typo),
    Step("save a syntax error in guard", "refused: it does not start", saves_a_syntax_error),
    Step("save code that finds nothing", "refused: its self-test fails", saves_what_fails_its_test),
    Step("`freeze`, save, `plan`, `apply`", "applied when asked, not before", freezes_plans_and_applies),
    Step("`diff`, `rollback`, `thaw`", "the revision before, as a new one", rolls_back),
    Step("save code of label that fails half", "on trial, given up by itself", saves_what_fails_half),
    Step("save code of label, `canary promote`", "on trial, then for everybody", promotes),
    Step("`override label --for 1s`", "off, and on again by itself", overrides),
)


def main() -> int:
    """Go through the story; print the table. 1 where a call failed."""
    with tempfile.TemporaryDirectory(prefix="live-") as name:
        folder = Path(name, "live")
        shutil.copytree(HERE, folder)
        door = Path(name, "serve.sock")
        operator = Operator(folder, Path(name, "state"), door)
        with operator.serves() as process, Callers(door) as callers:
            total = told(operator, callers)
            print(f"\n{operator.types('history')}", end="")
        assert process.returncode == 0, "it stops when it is told to"
    return 1 if total.failed else 0


def told(operator: Operator, callers: Callers) -> Tally:
    """Go through the steps and print each with what callers saw meanwhile; return that of all."""
    print("| what the operator did | what became of it | revision | answered | failed | without a label |")
    print("|---|---|---|---|---|---|")
    total = Tally()
    for step in STEPS:
        step.act(operator)
        revision, tally = number(operator.status()), callers.taken()
        counts = f"{tally.answered} | {tally.failed} | {tally.unlabelled}"
        print(f"| {step.done} | {step.came} | {revision} | {counts} |", flush=True)
        total.answered += tally.answered
        total.failed += tally.failed
        sys.stderr.write("".join(f"{line}\n" for line in tally.trouble[:3]))
    return total


if __name__ == "__main__":
    sys.exit(main())
