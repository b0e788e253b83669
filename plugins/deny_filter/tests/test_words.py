"""The list and the search: what counts as the same word, and what does not."""

from __future__ import annotations

import pytest
from folding import Folding
from hypothesis import given
from hypothesis import strategies as st
from words import WordError, Words, listed


def found(text: str, *words: str, whole_word: bool = True, **folding: bool) -> list[str]:
    return [words[index] for index in Words(words, Folding(**folding), whole_word=whole_word).found(text)]


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "SeCrEt",
        "ｓｅｃｒｅｔ",
        "𝓼𝓮𝓬𝓻𝓮𝓽",
        "ⓢⓔⓒⓡⓔⓣ",
        "se\u200bcret",
        "s\u00ade\u2060c\ufeffr\u200det",
        "se\ufe0fcret",
        "(secret)",
        "top-secret!",
        "a\tsecret\nplan",
    ],
)
def test_spelling_tricks_do_not_hide_a_word(text: str) -> None:
    assert found(text, "secret") == ["secret"]


@pytest.mark.parametrize("text", ["secrets", "nosecret", "secret_1", "sécret", "s e c r e t"])
def test_another_word_is_another_word(text: str) -> None:
    assert found(text, "secret") == []


def test_a_phrase_is_found_across_any_blanks() -> None:
    assert found("please DROP \n\t TABLE users", "drop table") == ["drop table"]


def test_a_long_s_or_a_sharp_s_folds_like_any_case() -> None:
    assert found("STRASSE", "straße") == ["straße"]


def test_a_word_within_a_longer_denied_word_does_not_hide_it() -> None:
    assert found("an assassin and an ass", "ass", "assassin") == ["assassin", "ass"]


def test_parts_of_words_count_when_asked_for() -> None:
    assert found("secrets", "secret", whole_word=False) == ["secret"]


def test_case_and_accents_count_as_told() -> None:
    assert found("Secret", "secret", case_sensitive=True) == []
    assert found("se\u0301cret", "secret", accents=False) == ["secret"]


def test_a_word_that_ends_in_a_sign_needs_no_blank_behind_it() -> None:
    assert found("run rm -rf/ now", "rm -rf/") == ["rm -rf/"]


def test_a_text_has_one_word_a_line_and_comments() -> None:
    assert listed("\ufeff# ours\nalpha\r\n\n  beta gamma \n#no\n") == ["alpha", "beta gamma"]


@pytest.mark.parametrize(("words", "message"), [([], "empty"), (["a", "\u200b"], "entry 2"), ([" "], "entry 1")])
def test_a_list_that_can_find_nothing_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(WordError, match=message):
        Words(words, Folding())


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert Folding()(Folding()(text)) == Folding()(text)


@given(st.text(), st.sampled_from(["\u200b", "\u00ad", "\ufeff", ""]), st.text())
def test_a_listed_word_is_found_in_any_text(before: str, hidden: str, after: str) -> None:
    assert found(f"{before} for{hidden}bidden {after}", "forbidden")
