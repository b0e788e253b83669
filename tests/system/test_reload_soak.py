"""Changes of every kind under calls without a pause: none fails, is lost or is answered by a mixture of revisions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import uvloop
from reloading.callers import Seen
from reloading.hosts import Serving, daemon, embedded
from reloading.scene import ALONE, ASK, Look
from reloading.script import BROKEN_KINDS, script
from reloading.soak import soak
from reloading.trials import FAILS_HALF, Ended, trials

CALLS = 1_700
RELOADS = 12
MOST_DENIED = 100
MOST_CALLS = 60_000
SEEDS = range(3)


@pytest.mark.parametrize("serving", [embedded, daemon], ids=["embedded", "penstock serve"])
def test_no_call_is_lost_and_no_answer_is_mixed_over_changes_of_every_kind(serving: Serving, tmp_path: Path) -> None:
    """And after each change no worker is left but those of what serves, or it would not come to the next."""
    wishes = list(script(RELOADS))
    found = uvloop.run(soak(wishes, CALLS, tmp_path / "scene", serving))
    callers = found.callers
    assert callers.failed == Counter()
    assert (callers.lost, found.left) == (0, 0)
    assert callers.mixed(found.changes.looks) == Counter()
    assert callers.submitted == callers.answered > CALLS - len(wishes)
    assert [made.wish for made in found.changes.made] == wishes
    assert [made for made in found.changes.made if not made.right] == []
    assert {made.wish.name for made in found.changes.made if made.outcome == "refused"} == BROKEN_KINDS
    assert sum(made.outcome == "applied" for made in found.changes.made) == RELOADS == len(found.changes.looks) - 1
    for hook in (ASK, ALONE):  # every revision took calls
        shown = {seen.face for seen in callers.seen if seen.hook == hook}
        assert shown == {look.face(hook) for look in found.changes.looks.values()}


def test_a_mixture_would_be_seen() -> None:
    old, new = Look(), Look(a=2)
    looks = {1: old, 2: new}
    mixture = (*old.face(ASK)[:2], *new.face(ASK)[2:])
    unknown: frozenset[int] = frozenset()
    assert Seen(ASK, 1, unknown, old.face(ASK)).is_of_one(looks)
    assert not Seen(ASK, 1, unknown, mixture).is_of_one(looks)
    assert not Seen(ASK, 2, unknown, old.face(ASK)).is_of_one(looks), "it was gone when the call came"
    assert Seen(ASK, 1, frozenset({2}), new.face(ASK)).is_of_one(looks)
    assert not Seen(ASK, 1, frozenset({1}), new.face(ASK)).is_of_one(looks), "another one answered than it says"
    assert not Seen(ASK, 1, frozenset({1, 2}), new.face(ASK)).is_of_one(looks), "two had a part in it"


def test_a_canary_that_fails_half_its_calls_is_ended_before_a_hundred_failed(tmp_path: Path) -> None:
    """Of five in a hundred calls; counted in calls, so that no machine is too slow for it."""

    async def main() -> list[Ended]:
        async with trials(tmp_path) as host:
            return [await host.broken(FAILS_HALF, seed, MOST_CALLS) for seed in SEEDS]

    for ended in uvloop.run(main()):
        assert "failed" in ended.reason
        assert 1 <= ended.denied <= MOST_DENIED
