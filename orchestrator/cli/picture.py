"""A pipeline drawn in characters: boxes in rows, every need a line. Knows nothing of stages, only boxes and edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["draw"]

GAP = 3
"""Columns between two boxes of one row."""

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_LINES = {
    _UP: "│",
    _DOWN: "│",
    _UP | _DOWN: "│",
    _LEFT: "─",
    _RIGHT: "─",
    _LEFT | _RIGHT: "─",
    _DOWN | _RIGHT: "┌",
    _DOWN | _LEFT: "┐",
    _UP | _RIGHT: "└",
    _UP | _LEFT: "┘",
    _UP | _DOWN | _RIGHT: "├",
    _UP | _DOWN | _LEFT: "┤",
    _DOWN | _LEFT | _RIGHT: "┬",
    _UP | _LEFT | _RIGHT: "┴",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
}


@dataclass(slots=True)
class _Knot:
    """A box, or a point where a line passes a row (`text` empty). `left` is its first column."""

    name: str
    text: tuple[str, ...]
    above: list[_Knot] = field(default_factory=list)
    below: list[_Knot] = field(default_factory=list)
    left: int = 0

    @property
    def width(self) -> int:
        return max(map(len, self.text)) + 4 if self.text else 1

    @property
    def middle(self) -> int:
        return self.left + self.width // 2

    def port(self, place: int) -> int:
        """The column at which line number `place` from above arrives; lines spread over the width of a box."""
        count = len(self.above)
        if not self.text or count == 1:
            return self.middle
        return self.left + max(1, round(self.width * (place + 1) / (count + 1)))


def draw(rows: Sequence[Mapping[str, tuple[str, ...]]], edges: Iterable[tuple[str, str]]) -> list[str]:
    """Lines of text. `rows` has the boxes of each row, name to caption; every edge leads from a row to a later one."""
    knots = _tied(rows, edges)
    _place(knots)
    lines: list[str] = []
    for number, row in enumerate(knots):
        lines += _boxes(row)
        if number + 1 < len(knots):
            lines += _wires(row)
    return [line.rstrip() for line in lines]


def _tied(rows: Sequence[Mapping[str, tuple[str, ...]]], edges: Iterable[tuple[str, str]]) -> list[list[_Knot]]:
    """Boxes by row; a line that passes rows gets a point in each, shared by all lines of one origin."""
    knots = [{name: _Knot(name, text) for name, text in row.items()} for row in rows]
    row_of = {name: number for number, row in enumerate(rows) for name in row}
    for start, end in edges:
        here = knots[row_of[start]][start]
        for number in range(row_of[start] + 1, row_of[end] + 1):
            name = end if number == row_of[end] else f"{start} passes"
            there = knots[number].setdefault(name, _Knot(name, ()))
            if there not in here.below:
                here.below.append(there)
                there.above.append(here)
            here = there
    return [list(row.values()) for row in knots]


def _place(rows: list[list[_Knot]]) -> None:
    """Put each knot below the middle of those above it, as far as its neighbours let it."""
    for row in rows:
        row.sort(key=_wished)
        edge = 0
        for knot in row:
            knot.left = max(edge, round(_wished(knot)) - knot.width // 2)
            edge = knot.left + knot.width + GAP
        for knot in row:
            knot.above.sort(key=lambda above: above.middle)


def _wished(knot: _Knot) -> float:
    return sum(above.middle for above in knot.above) / len(knot.above) if knot.above else 0.0


def _boxes(row: list[_Knot]) -> list[str]:
    height = max(len(knot.text) for knot in row) + 2
    lines = [""] * height
    for knot in row:
        for number, piece in enumerate(_box(knot, height)):
            lines[number] = lines[number].ljust(knot.left) + piece
    return lines


def _box(knot: _Knot, height: int) -> list[str]:
    if not knot.text:
        return ["│"] * height
    inner = knot.width - 2
    # A line leaves from the bottom of the row, however tall the others are.
    texts = [*knot.text, *[""] * (height - 2 - len(knot.text))]
    bottom = "─" * inner
    if knot.below:
        out = knot.width // 2 - 1
        bottom = f"{bottom[:out]}┬{bottom[out + 1 :]}"
    return [f"┌{'─' * inner}┐", *(f"│ {text:<{inner - 2}} │" for text in texts), f"└{bottom}┘"]


def _wires(row: list[_Knot]) -> list[str]:
    """The lines between two rows: each knot above has a track of its own, and turns into it once."""
    origins = [knot for knot in row if knot.below]
    width = max([knot.middle for knot in row] + [_arrival(a, b) for a in origins for b in a.below]) + 1
    tracks = _tracks(origins)
    grid = _Grid(width, max(tracks.values(), default=-1) + 2)
    for origin in origins:
        for target in origin.below:
            grid.run(origin.name, origin.middle, _arrival(origin, target), tracks.get(origin.name, 0))
    lines = grid.lines()
    for origin in origins:
        for target in origin.below:
            if target.text:
                column = _arrival(origin, target)
                lines[-1] = lines[-1][:column] + "▼" + lines[-1][column + 1 :]
    return lines


def _arrival(origin: _Knot, target: _Knot) -> int:
    return target.port(target.above.index(origin))


def _tracks(origins: list[_Knot]) -> dict[str, int]:
    """A track for each origin whose line has to turn; those that do not meet share one."""
    taken: list[list[tuple[int, int]]] = []
    tracks: dict[str, int] = {}
    for origin in _ordered(origins):
        columns = [origin.middle, *(_arrival(origin, target) for target in origin.below)]
        low, high = min(columns), max(columns)
        if low == high:
            continue
        free = (t for t, spans in enumerate(taken) if all(high < left or right < low for left, right in spans))
        track = next(free, len(taken))
        taken += [[]] if track == len(taken) else []
        taken[track].append((low, high))
        tracks[origin.name] = track
    return tracks


def _ordered(origins: list[_Knot]) -> list[_Knot]:
    """Lines that go right first, from the right: fewer of them cross."""
    return sorted(origins, key=lambda o: -o.middle if max(_arrival(o, b) for b in o.below) > o.middle else o.middle)


class _Grid:
    """Cells that lines run through. Where lines of two origins cross, the one going down is drawn over the other."""

    def __init__(self, width: int, height: int) -> None:
        self._cells: list[list[dict[str, int]]] = [[{} for _ in range(width)] for _ in range(height)]

    def run(self, origin: str, start: int, end: int, track: int) -> None:
        """A line down from column `start`, along `track`, and down at column `end`."""
        last = len(self._cells) - 1
        for row in range(track + 1):
            self._add(origin, row, start, _UP | (_DOWN if row < track or start == end else 0))
        for row in range(track, last + 1):
            self._add(origin, row, end, _DOWN | (_UP if row > track or start == end else 0))
        low, high = sorted((start, end))
        for column in range(low, high + 1):
            ends = (_RIGHT if column < high else 0) | (_LEFT if column > low else 0)
            self._add(origin, track, column, ends)

    def _add(self, origin: str, row: int, column: int, ends: int) -> None:
        cell = self._cells[row][column]
        cell[origin] = cell.get(origin, 0) | ends

    def lines(self) -> list[str]:
        return ["".join(_character(cell) for cell in row) for row in self._cells]


def _character(cell: Mapping[str, int]) -> str:
    if not cell:
        return " "
    upright = [ends for ends in cell.values() if ends & (_UP | _DOWN)]
    turning = [ends for ends in upright if ends & (_LEFT | _RIGHT)]
    return _LINES.get((turning or upright or list(cell.values()))[0], " ")
