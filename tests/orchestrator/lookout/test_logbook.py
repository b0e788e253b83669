"""The newest lines of plugins and host: bounded, found again, followed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from isolation.plugin_log import LogLine
from isolation.spec import WorkerSpec
from orchestrator.lookout.feed import Missed
from orchestrator.lookout.logbook import (
    HOST,
    KEPT_BYTES,
    LONGEST_CHARACTERS,
    QUEUED_LINES,
    Entry,
    Logbook,
    WantedLines,
)

EVERY = WantedLines()


def spec(plugin: str = "words") -> WorkerSpec:
    return WorkerSpec(plugin, plugin, "1.0.0", Path("python"), Path(), ("check",), "a" * 64)


@pytest.fixture
def book() -> Logbook:
    """Whose clock stands still, and whose host lines are taken at once."""
    return Logbook(lambda: 1000.0, lambda function, *arguments: function(*arguments))


def messages(book: Logbook, wanted: WantedLines = EVERY, most: int = 10_000) -> list[str]:
    return [entry.message for entry in book.newest(wanted, most)]


def test_lines_of_every_plugin_stand_in_the_order_in_which_they_came(book: Logbook) -> None:
    for number in range(4):
        book.hear(spec(("words", "other")[number % 2]), "w#1", LogLine(str(number)))
    assert messages(book) == ["0", "1", "2", "3"]
    assert messages(book, most=2) == ["2", "3"]
    assert messages(book, most=0) == []


def test_a_plugin_that_talks_much_loses_its_own_lines_and_no_other_ones(book: Logbook) -> None:
    book.hear(spec("quiet"), "quiet#1", LogLine("still here"))
    for number in range(10_000):
        book.hear(spec("loud"), "loud#1", LogLine(f"{number} " + "x" * 500))
    kept = book.newest(WantedLines(plugin="loud"), 10_000)
    assert sum(entry.size for entry in kept) <= KEPT_BYTES
    assert kept[-1].message.startswith("9999 ")
    assert len(kept) > 100
    assert messages(book, WantedLines(plugin="quiet")) == ["still here"]


def test_one_line_cannot_take_up_everything(book: Logbook) -> None:
    line = LogLine("x" * 10**6, fields={"big": "y" * 10**6}, traceback="z" * 10**6)
    book.hear(spec(), "w#1", line)
    (entry,) = book.newest(EVERY, 1)
    assert entry.size < 3 * LONGEST_CHARACTERS
    assert list(entry.fields) == ["left_out"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (WantedLines(plugin="words"), ["debug", "warned"]),
        (WantedLines(level=logging.WARNING), ["warned"]),
        (WantedLines(run="02"), ["warned"]),
        (WantedLines(run="2"), ["warned"]),
        (WantedLines(run="03"), []),
        (WantedLines(stages=frozenset({("words", "check")})), ["warned"]),
        (WantedLines(stages=frozenset({("other", "check")})), []),
        (WantedLines(plugin="other"), ["plain"]),
    ],
)
def test_lines_are_found_by_what_they_are_of(book: Logbook, wanted: WantedLines, found: list[str]) -> None:
    book.hear(spec(), "w#1", LogLine("debug", level="debug"))
    book.hear(spec(), "w#1", LogLine("warned", level="warning", run="0102", stage="check"))
    book.hear(spec("other"), "o#1", LogLine("plain", level="no such level"))
    assert messages(book, wanted) == found


def test_the_hosts_own_lines_stand_beside_those_of_plugins(book: Logbook) -> None:
    log = logging.getLogger("penstock.test")
    with book.listening():
        log.warning("worker.ended", extra={"plugin": "words", "how": Path("x"), "run": "01X"})
        logging.getLogger("penstock.plugin").warning("said", extra={"line": LogLine("said")})  # heard before
    log.warning("not heard any more")
    (entry,) = book.newest(WantedLines(plugin=HOST), 10)
    assert (entry.message, entry.run, entry.fields) == ("worker.ended", "01X", {"plugin": "words", "how": "x"})
    told = entry.as_json("r-1", "00-1-2-01")
    assert (told["request_id"], told["trace"]) == ("r-1", "00-1-2-01")


def test_who_follows_hears_what_comes_and_what_was_missed(book: Logbook) -> None:
    async def go() -> list[Entry | Missed]:
        found: list[Entry | Missed] = []
        with book.joined(WantedLines(level=logging.INFO)) as feed:
            for number in range(QUEUED_LINES + 10):
                book.hear(spec(), "w#1", LogLine(str(number)))
                book.hear(spec(), "w#1", LogLine("small", level="debug"))
            async for item in feed.read():
                found.append(item)
                if isinstance(item, Missed):
                    break
        return found

    found = asyncio.run(go())
    last = found[-2]
    assert isinstance(last, Entry)
    assert (last.message, found[-1]) == (str(QUEUED_LINES - 1), Missed(10))
    book.hear(spec(), "w#1", LogLine("nobody follows any more"))


def test_lines_that_are_logged_when_the_loop_is_gone_harm_nobody() -> None:
    loop = asyncio.new_event_loop()
    book = Logbook(lambda: 0.0, loop.call_soon_threadsafe)
    loop.close()
    with book.listening():
        logging.getLogger("penstock.test").warning("too late")
    assert book.newest(EVERY, 10) == []
