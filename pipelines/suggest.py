"""Did you mean: the known word nearest to a mistyped one, or none when nothing is near. Deterministic."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["distance", "nearest"]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The word of `known` that `word` most likely stands for; ties go by first letter, then by alphabet."""
    plain = _fold(word)
    ranked = sorted((_rank(plain, candidate), candidate) for candidate in set(known) if candidate != word)
    if not ranked:
        return None
    (cost, *_), best = ranked[0]
    return best if cost <= _allowed(plain, _fold(best)) else None


def _rank(plain: str, candidate: str) -> tuple[float, bool, int]:
    folded = _fold(candidate)
    cost: float = distance(plain, folded)
    # `timeouts` for `timeout`, `tool_pre` for `tool_pre_invoke`: an unfinished word is nearer than its length says.
    if len(plain) >= 3 and len(folded) >= 3 and (folded.startswith(plain) or plain.startswith(folded)):
        cost = min(cost, 1.5)
    return cost, folded[:1] != plain[:1], abs(len(folded) - len(plain))


def _allowed(word: str, best: str) -> int:
    """How many slips are forgiven: one in a short word, a third of a long one."""
    longest = max(len(word), len(best))
    return 0 if longest < 2 else max(1, (longest + 1) // 3)


def _fold(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")


def distance(left: str, right: str) -> int:
    """Count the edits between two words; two neighbouring letters swapped are one edit (optimal string alignment)."""
    before: list[int] = []
    above = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]
