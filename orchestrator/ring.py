"""The memory of runs: what each came to, bounded. What was denied, failed or slow is kept longer."""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.summary import Summary

__all__ = ["Ring"]

RECENT_RUNS = 10_000
TROUBLED_RUNS = 2_000
"""Of those denied, failed, undone or parked."""
SLOWEST_RUNS = 100

Record = Mapping[str, object]


class Ring:
    """Takes summaries as they are; makes records of them when somebody looks. Newest first."""

    def __init__(self) -> None:
        self._recent = deque[Summary](maxlen=RECENT_RUNS)
        self._troubled = deque[Summary](maxlen=TROUBLED_RUNS)
        self._slowest: list[tuple[float, int, Summary]] = []
        self._count = 0
        self._earlier: list[Record] = []

    def add(self, summary: Summary) -> None:
        """Remember a run."""
        self._count += 1
        self._recent.append(summary)
        if summary.denied or summary.error is not None or summary.status != "completed":
            self._troubled.append(summary)
        if len(self._slowest) < SLOWEST_RUNS:
            heapq.heappush(self._slowest, (summary.seconds, self._count, summary))
        elif summary.seconds > self._slowest[0][0]:
            heapq.heapreplace(self._slowest, (summary.seconds, self._count, summary))

    def records(self) -> Iterator[Record]:
        """Every run that is remembered, once, newest first."""
        seen: set[str] = set()
        older = sorted((*self._troubled, *(entry[2] for entry in self._slowest)), key=_began)
        for summary in (*reversed(self._recent), *reversed(older)):
            if summary.run_id not in seen:
                seen.add(summary.run_id)
                yield summary.record()
        for record in self._earlier:
            if record.get("run_id") not in seen:
                yield record

    def find(self, run: str) -> Record | None:
        """One run by its id, or by the end of its id where only one has it."""
        found = [record for record in self.records() if str(record["run_id"]).endswith(run)]
        return found[0] if len(found) == 1 or (found and found[0]["run_id"] == run) else None

    # Between two starts of a host.

    def load(self, file: Path) -> None:
        """Remember what an earlier host wrote. A file that is not one says nothing: it is a memory, no journal."""
        try:
            lines = file.read_text("utf-8").splitlines()
            self._earlier = [record for record in map(json.loads, lines) if isinstance(record, dict)]
        except (OSError, ValueError):
            self._earlier = []

    def save(self, file: Path) -> None:
        """Write what is remembered for the next host. Raises OSError."""
        kept = []
        for record in self.records():
            kept.append(json.dumps(record, ensure_ascii=False, separators=(",", ":")))
            if len(kept) == RECENT_RUNS:
                break
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_text("\n".join(kept), "utf-8")
        fresh.rename(file)


def _began(summary: Summary) -> float:
    return summary.began
