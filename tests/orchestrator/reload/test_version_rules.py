"""Version rules: which way a version goes, which Python a plugin finds, and what goes out of use."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from orchestrator.reload.versions import Direction, api_deprecation, direction, python_problem

VERSIONS = ("1.0rc1", "1.0", "1.9", "1.10", "2!0.1")


@pytest.mark.parametrize(
    ("before", "after", "goes"),
    [
        ("1.9", "1.10", Direction.UP),
        ("1.0", "1.0rc1", Direction.DOWN),
        ("2!0.1", "9.0", Direction.DOWN),
        ("1.0", "1.0.0", Direction.ASIDE),
        ("1.0", "main", Direction.ASIDE),
        ("1, 2", "2", Direction.ASIDE),
        (None, "1.0", Direction.ADDED),
        ("1.0", None, Direction.REMOVED),
    ],
)
def test_versions_are_ordered_as_versions(before: str | None, after: str | None, goes: Direction) -> None:
    assert direction(before, after) is goes


@given(st.sampled_from(VERSIONS), st.sampled_from(VERSIONS))
def test_the_way_back_goes_the_other_way(one: str, other: str) -> None:
    turned = {Direction.UP: Direction.DOWN, Direction.DOWN: Direction.UP, Direction.ASIDE: Direction.ASIDE}
    assert direction(other, one) is turned[direction(one, other)]


SPECIFIERS = (None, ">=3.11", ">= 3.9", ">=3.11,<4", ">=3.99", "<3.12", "==3.12.*", "~=3.11", ">=3.11.4", ">=4.0")
PYTHONS = ("3.9.2", "3.11.4", "3.12.0rc1", "3.12.1", "3.14.0")


@given(st.sampled_from(SPECIFIERS), st.lists(st.sampled_from(PYTHONS), max_size=3))
def test_a_plugin_finds_the_pythons_that_packaging_says_satisfy(wanted: str | None, have: list[str]) -> None:
    fits = wanted is None or any(SpecifierSet(wanted).contains(each, prereleases=True) for each in have)
    assert (python_problem(wanted, have) is None) == fits


def test_a_plugin_without_a_python_is_told_which_there_are() -> None:
    assert python_problem(">=3.99", ["3.11.4", "3.12.1", "3.11.4"]) == (
        "it needs Python >=3.99, and no interpreter here satisfies that; there are 3.11.4, 3.12.1"
    )


def test_what_most_plugins_ask_of_python_is_judged_without_packaging() -> None:
    code = (
        "import sys; from orchestrator.reload.versions import python_problem, api_deprecation;"
        "assert python_problem('>=3.11', ['3.11.4']) is None; assert api_deprecation('>=1.0,<2') is None;"
        "assert 'packaging' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_plugin_whose_best_api_goes_out_of_use_is_told_what_to_do() -> None:
    gone = {"1.0": "write it for 2.0, see docs/protocol.md"}
    assert api_deprecation(">=1.0,<2", ("1.0", "2.0"), gone) == (
        "it is written for api >=1.0,<2, and 1.0 is deprecated: write it for 2.0, see docs/protocol.md"
    )
    assert api_deprecation(">=1.0", ("1.0", "2.0"), gone) is None, "it speaks 2.0 as well"
    assert api_deprecation(">=3", ("1.0", "2.0"), gone) is None, "that it speaks none is said elsewhere"
