"""A pipeline as Mermaid, DOT and levels."""

from __future__ import annotations

from pipelines.graph import dot, levels, mermaid
from pipelines.hooks import CATALOGUE
from pipelines.plan import Mode, Need, OnError, PipelinePlan, StagePlan, StageState, Variant


def stage(index: int, name: str, *needs: Need, mode: Mode = Mode.ENFORCE) -> StagePlan:
    variant = Variant(None, "c", mode, OnError.FAIL, 1.0)
    return StagePlan(name, index, "p", "run", needs, 0, (variant,))


PLAN = PipelinePlan(
    "guard",
    CATALOGUE["tool_pre_invoke"],
    None,
    0.25,
    (
        stage(0, "a"),
        stage(1, "b", Need(0)),
        stage(2, "c", Need(0, frozenset({StageState.SUCCEEDED})), mode=Mode.AUDIT),
        stage(3, "d", Need(1), Need(0)),
    ),
)


def test_levels_put_a_stage_after_the_last_that_it_needs() -> None:
    assert [[s.id for s in level] for level in levels(PLAN)] == [["a"], ["b", "c"], ["d"]]


def test_mermaid_has_every_stage_and_need() -> None:
    text = mermaid(PLAN)
    assert text.startswith("flowchart LR\n")
    assert '  subgraph guard["guard on tool_pre_invoke, 250ms"]' in text
    assert '    guard_c["c<br/>p/run<br/>audit"]' in text
    assert "    guard_a -->|succeeded| guard_c" in text
    assert "    guard_b --> guard_d" in text


def test_dot_has_every_stage_and_need() -> None:
    text = dot(PLAN)
    assert text.startswith('digraph "guard" {\n')
    assert '  "c" [label="c\\np/run\\naudit"];' in text
    assert '  "a" -> "c" [label="succeeded"];' in text
    assert text.endswith("}\n")
