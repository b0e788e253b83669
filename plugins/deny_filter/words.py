"""The list of denied words as one automaton, and the search for them in a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ahocorasick_rs import AhoCorasick
from folding import Folding

__all__ = ["WordError", "Words", "listed"]


class WordError(ValueError):
    """A word list that cannot work, by the place of the word in it."""


def listed(written: str | Sequence[str]) -> list[str]:
    """Read a word list: an array, or a text with one word a line, where `#` begins a comment line."""
    if not isinstance(written, str):
        return list(written)
    lines = (line.strip() for line in written.lstrip("\ufeff").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


class Words:
    """Denied words and phrases, found all at once: time is linear in the text, however long the list is."""

    def __init__(self, words: Sequence[str], folding: Folding, *, whole_word: bool = True) -> None:
        if not words:
            raise WordError("words: the list is empty")
        self._folding = folding
        self._whole_word = whole_word
        self._words = tuple(folding(word).strip() for word in words)
        for number, folded in enumerate(self._words, 1):
            if not folded:
                raise WordError(f"words: entry {number} has nothing in it that can be seen")
        self._automaton = AhoCorasick(self._words, store_patterns=False)

    def found(self, text: str) -> Iterator[int]:
        """Yield the index of each word where it occurs in `text`, in the order of the places where they end."""
        folded = self._folding(text)
        # Overlapping, because a word inside a longer one ("ass" in "assassin") must not shadow a later whole one.
        for index, start, end in self._automaton.find_matches_as_indexes(folded, overlapping=True):
            if not self._whole_word or _stands_alone(folded, start, end):
                yield index


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Tell whether no letter, digit or underscore continues the word on either side."""
    return not (_joins(text, start - 1, start) or _joins(text, end - 1, end))


def _joins(text: str, left: int, right: int) -> bool:
    return left >= 0 and right < len(text) and _is_word(text[left]) and _is_word(text[right])


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
