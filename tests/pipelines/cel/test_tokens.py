"""The words of CEL: literals, comments and names are told apart, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cel.tokens import Word, literal_text, tokens_of


def texts(source: str) -> list[str]:
    return [token.text for token in tokens_of(source)]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("a.b == 'c' // payload.x\n&& d", ["a", ".", "b", "=", "=", "'c'", "&", "&", "d"]),
        (r"r'a\' + b'x' + bR'y'", [r"r'a\'", "+", "b'x'", "+", "bR'y'"]),
        ("'''it's\n''' + \"\"\"q\"q\"\"\"", ["'''it's\n'''", "+", '"""q"q"""']),
        (r"'a\'b' + ''", [r"'a\'b'", "+", "''"]),
        ("1.5e3 .5 0x1Fu 2u a.b5", ["1.5e3", ".5", "0x1Fu", "2u", "a", ".", "b5"]),
        ("a.`b-c`.d", ["a", ".", "`b-c`", ".", "d"]),
        ("a.?b[?'c']", ["a", ".", "?", "b", "[", "?", "'c'", "]"]),
        ("'// no comment'", ["'// no comment'"]),
        ("// only a comment", []),
    ],
)
def test_words_are_told_apart(source: str, words: list[str]) -> None:
    assert texts(source) == words


@given(st.text(max_size=60))
def test_every_word_stands_where_it_says(source: str) -> None:
    end = 0
    for token in tokens_of(source):
        assert source[token.start : token.end] == token.text
        assert token.start >= end
        end = token.end


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("'a'", "a"),
        ('"a"', "a"),
        ("'''a'b'''", "a'b"),
        (r"r'\d'", r"\d"),
        ("''", ""),
        (r"'\d'", None),
        ("b'a'", None),
        ("1", None),
    ],
)
def test_a_plain_literal_says_what_it_holds(source: str, said: str | None) -> None:
    assert literal_text(tokens_of(source)[0]) == said


def test_a_quote_without_its_end_is_a_mark() -> None:
    assert tokens_of("'abc")[0].word is Word.MARK
