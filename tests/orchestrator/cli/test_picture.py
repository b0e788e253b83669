"""Pipelines drawn in characters."""

from __future__ import annotations

from orchestrator.cli.picture import draw


def boxes(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: (name,) for name in names}


def test_a_chain_is_drawn_straight_down() -> None:
    assert draw([boxes("first"), boxes("then")], [("first", "then")]) == [
        "┌───────┐",
        "│ first │",
        "└───┬───┘",
        "    ▼",
        "┌──────┐",
        "│ then │",
        "└──────┘",
    ]


def test_what_runs_side_by_side_stands_side_by_side_and_joins() -> None:
    assert draw([boxes("a", "b"), boxes("join")], [("a", "join"), ("b", "join")]) == [
        "┌───┐   ┌───┐",
        "│ a │   │ b │",
        "└─┬─┘   └─┬─┘",
        "  └──┐ ┌──┘",
        "     ▼ ▼",
        "  ┌──────┐",
        "  │ join │",
        "  └──────┘",
    ]


def test_a_line_goes_around_the_rows_it_passes() -> None:
    lines = draw([boxes("a"), boxes("b"), boxes("c")], [("a", "b"), ("b", "c"), ("a", "c")])
    assert sum(line.count("▼") for line in lines) == 3
    middle = next(line for line in lines if "│ b │" in line)
    assert middle.endswith("│ b │   │")


def test_every_need_ends_in_an_arrow_of_its_own() -> None:
    edges = [(start, end) for start in "abc" for end in "xyz"]
    lines = draw([boxes("a", "b", "c"), boxes("x", "y", "z")], edges)
    assert sum(line.count("▼") for line in lines) == 9


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw([], []) == []
