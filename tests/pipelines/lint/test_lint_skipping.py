"""Who may be skipped, and who may therefore not be asked for its `out`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipelines.plan import Plan
from pipelines.problem import SpecError

ASKS = 'b: { uses: pii/count, needs: [a], in: { n: "${stages.a.out.found}" } }'


@pytest.mark.parametrize(
    "a",
    [
        "{ uses: pii/mask }",
        "{ uses: pii/mask, when: 'true', otherwise: { found: 0 } }",
        "{ uses: pii/mask, mode: permissive, on_error: fail }",
        "{ uses: pii/mask, mode: disabled, otherwise: { found: 0 } }",
    ],
)
def test_an_out_that_is_always_there_may_be_asked_for(staged: Callable[[str], Plan], a: str) -> None:
    assert staged(f"a: {a}\n{ASKS}")


def test_a_stage_that_demands_success_may_ask(staged: Callable[[str], Plan]) -> None:
    """It does not run where the other was skipped."""
    demands = ASKS.replace("[a]", "[{ stage: a, is: [succeeded] }]")
    assert staged(f"a: {{ uses: pii/mask, when: 'true' }}\n{demands}")


def test_where_neither_enforces_a_missing_out_may_be_risked(staged: Callable[[str], Plan]) -> None:
    """A whole file made permissive by a profile is still a good file."""
    assert staged(f"a: {{ uses: pii/mask, mode: audit }}\n{ASKS.replace('needs', 'mode: audit, needs')}")


def test_where_the_asking_stage_enforces_it_may_not(staged: Callable[[str], Plan]) -> None:
    with pytest.raises(SpecError, match="may-be-skipped"):
        staged(f"a: {{ uses: pii/mask, mode: audit }}\n{ASKS}")


def test_the_state_of_a_skipped_stage_may_always_be_asked_for(staged: Callable[[str], Plan]) -> None:
    assert staged(
        "a: { uses: pii/mask, when: 'true' }\nb: { uses: pii/count, needs: [a], when: \"stages.a.state == 'skipped'\" }"
    )


@pytest.mark.parametrize("states", ["[failed]", "[denied, cancelled]", "[skipped]"])
def test_a_need_that_can_never_be_met_is_warned_of(staged: Callable[[str], Plan], states: str) -> None:
    plan = staged(f"a: {{ uses: pii/mask }}\nb: {{ uses: pii/count, needs: [{{ stage: a, is: {states} }}] }}")
    assert [warning.code for warning in plan.warnings] == ["unmeetable-need"]
