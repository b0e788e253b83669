"""The record of every decision: lines of canonical JSON, each with the digest of the one before, and what they say.

A chain shows every edit, deletion and reordering up to a checkpoint that is kept elsewhere; what follows the last
checkpoint can be cut off without a trace, and the report says so.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import rfc8785

from attest.strictjson import Json, NotJson, read_object

__all__ = [
    "BEGINNING",
    "Checkpoint",
    "Metrics",
    "Problem",
    "Verified",
    "digest_of",
    "line_of",
    "metrics",
    "read_line",
    "verify_log",
]

BEGINNING = "0" * 64
"""What stands in the place of the digest before the first line."""

_MEMBERS = frozenset({"v", "n", "prev", "id", "at", "server", "tenant", "verdict", "codes", "rule", "judged", "results",
                      "nonce", "anchors", "policy", "ms", "checks"})  # fmt: skip


_HALF = "half a line, as a crash leaves it"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a log went when it was signed: the number of its last line and that line's digest."""

    n: int
    digest: str
    said: bytes = b""
    """What the signature is over."""
    signature: bytes = b""

    def as_json(self) -> dict[str, Json]:
        """What the host is handed to sign."""
        return {"v": 1, "n": self.n, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a log, at the line counted from 1."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a log was found to be. Lines after `proven`, the last good checkpoint before the first problem, are not."""

    lines: int
    proven: int
    problems: tuple[Problem, ...]


def line_of(number: int, before: str, decision: Mapping[str, Json]) -> bytes:
    """Write one line; `before` is the digest of the line before it."""
    record = {"v": 1, "n": number, "prev": before, **decision}
    if record.keys() != _MEMBERS:
        raise ValueError(f"a record has other members: {', '.join(sorted(record.keys() ^ _MEMBERS))}")
    return rfc8785.dumps(record) + b"\n"


def read_line(line: bytes) -> dict[str, Json]:
    """Read one line. Raises NotJson for one that was not written here."""
    record = read_object(line)
    if record.keys() != _MEMBERS or rfc8785.dumps(record) + b"\n" != line:
        raise NotJson("not a line of this log")
    return record


def digest_of(line: bytes) -> str:
    """The digest of a line as the next one names it."""
    return hashlib.sha256(line).hexdigest()


def verify_log(
    lines: Iterable[bytes], checkpoints: Sequence[Checkpoint], is_signed: Callable[[Checkpoint], bool]
) -> Verified:
    """Find every edit, deletion, reordering or truncation before the last checkpoint that is signed."""
    problems: list[Problem] = []
    strangers: list[Problem] = []
    # A log that was cut and grew again has other lines under the same numbers: the host signed both, and each is held.
    wanted: dict[int, set[str]] = {}
    for one in checkpoints:
        if is_signed(one):
            wanted.setdefault(one.n, set()).add(one.digest)
        else:
            strangers.append(Problem(one.n, "a checkpoint is not signed by the host"))
    before, count = BEGINNING, 0
    for count, line in enumerate(lines, 1):
        problems += _problems_of(count, before, line)
        before = digest_of(line)
        if wanted.get(count, {before}) != {before}:
            problems.append(Problem(count, "the line is not the one of the checkpoint"))
    last = max(wanted, default=0)
    if last > count:
        problems.append(Problem(count, f"the log ends here, and a checkpoint says that it had {last} lines"))
    first = min((one.line for one in problems), default=count + 1)
    proven = max((number for number in wanted if number < first), default=0)
    return Verified(count, proven, (*strangers, *problems))


def _problems_of(number: int, before: str, line: bytes) -> list[Problem]:
    if not line.endswith(b"\n"):
        return [Problem(number, _HALF)]
    try:
        record = read_line(line)
    except NotJson as error:
        return [Problem(number, str(error))]
    found = []
    if record["n"] != number:
        found.append(Problem(number, f"the line says that it is number {record['n']}"))
    if record["prev"] != before:
        found.append(Problem(number, "the line does not follow the one before it"))
    return found


@dataclass(frozen=True, slots=True)
class Metrics:
    """What the log says about admissions; servers count once, by their last decision."""

    decisions: int
    servers: int
    admitted: int
    mean_ms: float
    failures: Mapping[str, int]
    checks: Mapping[str, float]
    """Milliseconds of each check where it ran, on average, by stage and name: `identity.signature`."""
    left_out: tuple[Problem, ...] = ()
    """What of the log is not in the figures: the end of one that is not whole."""

    @property
    def share_admitted(self) -> float:
        """The share of servers whose last decision admitted them with a valid attestation."""
        return self.admitted / self.servers if self.servers else 0.0


def metrics(lines: Iterable[bytes]) -> Metrics:
    """Recompute the metrics of the whole lines. Raises NotJson for one that was not written here."""
    last: dict[tuple[Json, Json], Json] = {}
    total, count, failures = 0.0, 0, Counter[str]()
    took: dict[str, list[float]] = {}
    left_out: tuple[Problem, ...] = ()
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            left_out = (Problem(number, _HALF),)
            break
        record = _read_numbered(number, line)
        last[str(record["server"]), str(record["tenant"])] = record["verdict"]
        timings = record["ms"]
        total += sum(float(str(one)) for one in timings.values()) if isinstance(timings, dict) else 0.0
        count += 1
        for name, ms in _checks_of(record):
            took.setdefault(name, []).append(ms)
        codes = record["codes"]
        failures.update(str(code) for code in codes) if isinstance(codes, list) else None
    admitted = sum(1 for verdict in last.values() if verdict == "admit")
    checks = {name: sum(each) / len(each) for name, each in took.items()}
    return Metrics(count, len(last), admitted, total / count if count else 0.0, dict(failures), checks, left_out)


def _read_numbered(number: int, line: bytes) -> dict[str, Json]:
    try:
        return read_line(line)
    except NotJson as error:
        raise NotJson(f"line {number}: {error}") from error


def _checks_of(record: Mapping[str, Json]) -> Iterator[tuple[str, float]]:
    stages = record["checks"]
    for stage, checks in stages.items() if isinstance(stages, dict) else ():
        for name, ms in checks.items() if isinstance(checks, dict) else ():
            yield f"{stage}.{name}", float(str(ms))
