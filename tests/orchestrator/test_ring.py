"""The memory of runs: what it keeps, for how long, and what of it reaches the next host."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.record.ring import RECENT_RUNS, SLOWEST_RUNS, TROUBLED_RUNS, Ring


@dataclass(frozen=True)
class Came:
    """A run that is over."""

    run_id: str
    verdict: str = "allow"
    status: str = "completed"
    seconds: float = 0.0
    began: float = 0.0
    pipeline: str = "order"
    durable: bool = False
    request_id: str = ""
    trace: str = ""

    def succeeded(self, stage: str) -> bool:
        return self.verdict != "deny"

    @property
    def troubled(self) -> bool:
        return self.verdict == "deny" or self.status != "completed"

    def record(self) -> dict[str, object]:
        return {
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "verdict": self.verdict,
            "status": self.status,
            "durable": self.durable,
            "began": self.began,
            "duration_ms": self.seconds * 1000,
            "error": None,
        }


def ids(ring: Ring) -> list[str]:
    return [entry.run_id for entry in ring.entries()]


def filled(count: int, ring: Ring | None = None) -> Ring:
    """A ring through which so many runs went that came to nothing special."""
    ring = ring or Ring()
    for number in range(count):
        ring.add(Came(f"plain {number}"))
    return ring


def test_it_keeps_the_newest_and_not_one_more() -> None:
    known = ids(filled(RECENT_RUNS + SLOWEST_RUNS + 7))
    assert known[:2] == [f"plain {RECENT_RUNS + SLOWEST_RUNS + 6}", f"plain {RECENT_RUNS + SLOWEST_RUNS + 5}"]
    # The first to come were the slowest until slower ones came, and none did.
    assert len(known) == RECENT_RUNS + SLOWEST_RUNS


@pytest.mark.parametrize(
    "kept", [Came("x", verdict="deny"), Came("x", status="parked"), Came("x", status="undone"), Came("x", seconds=9.0)]
)
def test_what_was_denied_undone_parked_or_slow_is_kept_longer(kept: Came) -> None:
    ring = Ring()
    ring.add(kept)
    filled(RECENT_RUNS + 1, ring)
    assert ring.find("x") is kept
    assert ids(ring)[-1] == "x" or "x" in ids(ring)[RECENT_RUNS:]


def test_trouble_has_a_bound_too() -> None:
    ring = Ring()
    for number in range(TROUBLED_RUNS + 1):
        ring.add(Came(f"denied {number}", verdict="deny", seconds=float(number)))
    filled(RECENT_RUNS, ring)
    assert ring.find("denied 0") is None
    assert ring.find("denied 1") is not None


def test_of_a_run_that_came_to_something_else_later_the_newest_counts() -> None:
    ring = Ring()
    ring.add(Came("x", seconds=9.0))
    filled(RECENT_RUNS + 1, ring)
    ring.add(Came("x", status="undone", seconds=9.0))
    assert ids(ring).count("x") == 1
    found = ring.find("x")
    assert found is not None
    assert found.status == "undone"


_runs = st.lists(
    st.builds(
        Came,
        st.integers(0, 30).map(str),
        st.sampled_from(["allow", "deny"]),
        st.sampled_from(["completed", "undone", "parked"]),
        st.floats(0, 10),
        st.floats(0, 1e9),
    ),
    max_size=60,
)


@given(_runs)
def test_every_run_is_there_once_as_it_last_was(came: list[Came]) -> None:
    ring = Ring()
    for run in came:
        ring.add(run)
    last = {run.run_id: run for run in came}
    assert {entry.run_id: entry for entry in ring.entries()} == last
    assert len(ids(ring)) == len(last)


@given(_runs)
def test_the_next_host_remembers_the_same_in_the_same_order(tmp_path_factory: object, came: list[Came]) -> None:
    assert isinstance(tmp_path_factory, pytest.TempPathFactory)
    file = tmp_path_factory.mktemp("ring") / "runs.jsonl"
    before, after = Ring(), Ring()
    for run in came:
        before.add(run)
    before.save(file)
    after.load(file)
    assert [entry.record() for entry in after.entries()] == [entry.record() for entry in before.entries()]
    assert [entry.troubled for entry in after.entries()] == [entry.troubled for entry in before.entries()]


def test_what_is_kept_longer_is_so_by_the_next_host_too(tmp_path: Path) -> None:
    ring = Ring()
    ring.add(Came("denied", verdict="deny"))
    ring.add(Came("slow", seconds=9.0))
    filled(RECENT_RUNS + 1, ring)
    ring.save(tmp_path / "runs.jsonl")
    following = Ring()
    following.load(tmp_path / "runs.jsonl")
    for number in range(RECENT_RUNS):
        following.add(Came(f"later {number}"))
    assert following.find("denied") is not None
    assert following.find("slow") is not None
    assert following.find("plain 5000") is None


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text("old")
    file.chmod(0o644)
    filled(1).save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_line_that_is_no_run_costs_no_other(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    filled(2).save(file)
    file.write_bytes(
        b'{"run_id": 7}\n\xff\xfe\n[[[\n' + b"[" * 5000 + b"\n" + file.read_bytes() + b'{"run_id": "cut of'
    )
    ring = Ring()
    ring.load(file)
    assert ids(ring) == ["plain 1", "plain 0"]


def test_no_file_is_no_memory(tmp_path: Path) -> None:
    ring = Ring()
    ring.load(tmp_path / "none.jsonl")
    assert ids(ring) == []
