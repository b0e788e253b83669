"""A pipeline as Mermaid, DOT and levels."""

from __future__ import annotations

from dataclasses import replace

from pipelines.graph import dot, levels, mermaid
from pipelines.hooks import CATALOGUE
from pipelines.plan import Mode, Need, OnError, PipelinePlan, StagePlan, StageState, UndoPlan, Variant


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


LASTING = replace(
    PLAN,
    stages=(replace(PLAN.stages[0], undo=UndoPlan("p", "back", "c", 1.0)), *PLAN.stages[1:]),
    finals=(stage(0, "z", mode=Mode.AUDIT),),
)


def test_a_stage_says_what_undoes_it_and_finals_come_after_all() -> None:
    text = mermaid(LASTING)
    assert '    guard_a["a<br/>p/run<br/>undone by p/back"]' in text
    assert text.endswith('  end\n  guard_z(["z<br/>p/run<br/>audit"])\n  guard -.->|finally| guard_z\n')
    lines = dot(LASTING).splitlines()
    assert '  "z" [style=dashed, label="z\\np/run\\naudit"];' in lines
    # From the stages that nobody waits for.
    assert [line for line in lines if '-> "z"' in line] == [
        f'  "{name}" -> "z" [style=dashed, label="finally"];' for name in "cd"
    ]


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
