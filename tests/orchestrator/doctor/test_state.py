"""What the doctor says of journals and of who holds them."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.doctor.finding import Finding, Level
from orchestrator.doctor.state import examine_journal, examine_state
from orchestrator.journal.opening import open_journal


def findings(folder: Path) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine_journal(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder with a journal that nobody has open."""
    opened(tmp_path / "state", lambda: None)
    return tmp_path / "state"


def opened(folder: Path, look: Callable[[], object]) -> None:
    """Look while a journal is open."""

    async def go() -> None:
        with open_journal(folder, loop=asyncio.get_running_loop(), machine=1):
            look()

    asyncio.run(go())


def test_a_journal_that_is_right_is_fine(folder: Path) -> None:
    found = findings(folder)
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert found["journal"].message.endswith(", no host has it open")


def test_whoever_holds_it_is_named(folder: Path) -> None:
    said: list[str] = []
    opened(folder, lambda: said.append(findings(folder)["journal"].message))
    assert said[0].endswith(f"held by process {os.getpid()}, which takes no commands yet")


def test_looking_takes_nothing_from_the_next_host(folder: Path) -> None:
    findings(folder)
    opened(folder, lambda: None)


def test_before_the_first_run_there_is_nothing_to_find(tmp_path: Path) -> None:
    (finding,) = examine_journal(tmp_path / "none")
    assert finding.level is Level.OK
    assert not (tmp_path / "none").exists()


def lose_key(folder: Path) -> None:
    (folder / "journal.key").unlink()


def open_key(folder: Path) -> None:
    (folder / "journal.key").chmod(0o644)


def spoil_key(folder: Path) -> None:
    (folder / "journal.key").write_text("nonsense\n")


def open_folder(folder: Path) -> None:
    folder.chmod(0o755)


def open_database(folder: Path) -> None:
    (folder / "journal.db").chmod(0o644)


def double_key(folder: Path) -> None:
    other = folder / "other"
    opened(other, lambda: None)
    with (folder / "journal.key").open("a") as stream:
        stream.write((other / "journal.key").read_text())
    shutil.rmtree(other)


@pytest.mark.parametrize(
    ("spoil", "subject", "level", "remedy"),
    [
        (lose_key, "journal key", Level.ERROR, "bring the file back"),
        (open_key, "journal key", Level.ERROR, "chmod 600"),
        (spoil_key, "journal key", Level.ERROR, "bring the file back from its backup"),
        (double_key, "journal key", Level.WARNING, "`penstock runs rekey` finishes it"),
        (open_folder, "state folder", Level.ERROR, "chmod 700"),
        (open_database, "journal file", Level.WARNING, "chmod 600"),
    ],
)
def test_what_is_wrong_is_found_with_its_remedy(
    folder: Path, spoil: Callable[[Path], None], subject: str, level: Level, remedy: str
) -> None:
    spoil(folder)
    found = findings(folder)[subject]
    assert found.level is level
    assert remedy in found.remedy


def test_a_state_folder_that_cannot_be_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (finding,) = examine_state(tmp_path / "file")
    assert finding.level is Level.ERROR
    assert finding.remedy == "make it writable, or name another folder in PENSTOCK_STATE"
    (fine,) = examine_state(tmp_path / "new" / "folder")
    assert (fine.level, "made on first use" in fine.message) == (Level.OK, True)
