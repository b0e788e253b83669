"""Every character of a scalar is found again in the text it was typed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.file.places import locate
from pipelines.file.source import parse
from pipelines.file.tree import Leaf, find

STYLES = {
    "plain": "a:\n  b: {}\n",
    "single": "a:\n  b: '{}'\n",
    "double": 'a:\n  b: "{}"\n',
    "literal": "a:\n  b: |\n    {}\n",
    "folded": "a:\n  b: >-\n    {}\n",
    "flow": "a: {{ x: 1, b: '{}' }}\n",
}


def leaf_of(text: str) -> Leaf:
    tree, problems = parse(text.encode(), "f.yaml")
    assert not problems
    assert tree is not None
    leaf = find(tree, ("a", "b")).value
    assert isinstance(leaf, Leaf)
    return leaf


def character(text: str, leaf: Leaf, offset: int) -> str:
    mark = locate(leaf, offset)
    return text.split("\n")[mark.line - 1][mark.column - 1]


@pytest.mark.parametrize("style", STYLES)
@given(words=st.lists(st.text("abcxyz.=()", min_size=1, max_size=8), min_size=1, max_size=5))
def test_a_character_on_one_line_is_found(style: str, words: list[str]) -> None:
    text = STYLES[style].format("w" + " ".join(words))
    leaf = leaf_of(text)
    for offset, expected in enumerate(str(leaf.value).rstrip("\n")):
        assert character(text, leaf, offset) == expected


@pytest.mark.parametrize(
    "template", ["a:\n  b: {}\n", "a:\n  b: '{}'\n", 'a:\n  b: "{}"\n', "a:\n  b: |\n    {}\n", "a:\n  b: >\n    {}\n"]
)
@given(
    lines=st.lists(st.lists(st.text("abcxyz.", min_size=1, max_size=6), min_size=1, max_size=3), min_size=1, max_size=4)
)
def test_a_character_on_any_line_is_found(template: str, lines: list[list[str]]) -> None:
    text = template.format("\n    ".join(" ".join(words) for words in lines))
    leaf = leaf_of(text)
    for offset, expected in enumerate(str(leaf.value).rstrip("\n")):
        if expected not in " \n":
            assert character(text, leaf, offset) == expected


def test_quotes_and_escapes_are_counted() -> None:
    single = "a:\n  b: 'x == ''y'' || z'\n"
    assert character(single, leaf_of(single), str(leaf_of(single).value).index("z")) == "z"
    double = 'a:\n  b: "x == \\"y\\" \\u0041 || z"\n'
    assert character(double, leaf_of(double), str(leaf_of(double).value).index("z")) == "z"


def test_one_past_the_end_is_the_end() -> None:
    leaf = leaf_of("a:\n  b: 'xy'\n")
    assert (locate(leaf, 2).line, locate(leaf, 2).column) == (2, 9)
    assert locate(leaf_of("a: { b: '' }"), 0).column == 9
