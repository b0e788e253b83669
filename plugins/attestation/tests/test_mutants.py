"""A few thousand of the mutants of `mutants.py`, in every run."""

from __future__ import annotations

from mutants import hunt


def test_no_mutant_is_admitted_raises_or_hangs() -> None:
    codes, wrong, _ = hunt(3000, seed=7)
    assert wrong == []
    assert "C-VERIFIER-FAULT" not in codes and len(codes) > 40
