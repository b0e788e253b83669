"""The nearest known word, or none."""

from __future__ import annotations

import pytest

from pipelines.hooks import CATALOGUE
from pipelines.suggest import distance, nearest


@pytest.mark.parametrize(
    ("word", "known", "right"),
    [
        ("plugns", ["plugins", "pipelines"], "plugins"),
        ("wiht", ["with", "when", "in"], "with"),
        ("on-error", ["on_error", "overrides"], "on_error"),
        ("MODE", ["mode", "match"], "mode"),
        ("pi", ["pii", "opa"], "pii"),
        ("x", ["y", "z"], None),
        ("colour", ["name", "version"], None),
        ("tool_pre", ["tool_pre_invoke", "prompt_post_fetch"], "tool_pre_invoke"),
        ("anything", [], None),
    ],
)
def test_the_nearest_word_is_found_if_it_is_near(word: str, known: list[str], right: str | None) -> None:
    assert nearest(word, known) == right


def test_swapped_neighbours_are_one_slip() -> None:
    assert distance("stage", "satge") == 1
    assert distance("", "abc") == 3


def slips(word: str) -> list[str]:
    """Every word that one slip of a finger makes of `word`: a letter left out, doubled, or swapped with the next."""
    gone = [word[:i] + word[i + 1 :] for i in range(len(word))]
    twice = [word[: i + 1] + word[i:] for i in range(len(word))]
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)]
    return [slip for slip in {*gone, *twice, *swapped} if slip != word]


def test_a_slip_in_the_name_of_a_hook_is_put_right_nine_times_in_ten() -> None:
    # Every seventh: all of them take ten seconds and come to the same.
    tried = [(slip, name) for name in CATALOGUE for slip in sorted(slips(name))][::7]
    right = sum(nearest(slip, CATALOGUE) == name for slip, name in tried)
    assert right >= 0.9 * len(tried), f"{right} of {len(tried)}"
