"""A pipeline as a picture: levels for a terminal, Mermaid and DOT for documents. Text only; nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.file.units import show_seconds
from pipelines.plan import Need, PipelinePlan, StagePlan

__all__ = ["caption", "dot", "edges", "levels", "mermaid"]


def levels(plan: PipelinePlan) -> tuple[tuple[StagePlan, ...], ...]:
    """Stages by the longest way to them: all of one level may run side by side once the level before has ended."""
    import networkx as nx  # only here: it costs more CPU than all else that a command imports

    graph: nx.DiGraph[int] = nx.DiGraph((need.stage, stage.index) for stage in plan.stages for need in stage.needs)
    graph.add_nodes_from(range(len(plan.stages)))
    return tuple(tuple(plan.stages[index] for index in sorted(level)) for level in nx.topological_generations(graph))


def edges(plan: PipelinePlan) -> Iterable[tuple[StagePlan, StagePlan, str]]:
    """Every need as (needed, needing, label); the label names the states that an explicit `is` asks for."""
    for stage in plan.stages:
        for need in stage.needs:
            yield plan.stages[need.stage], stage, _label(need)


def _label(need: Need) -> str:
    return "" if need.states is None else " or ".join(sorted(state.value for state in need.states))


def caption(stage: StagePlan) -> tuple[str, ...]:
    """What to write into the box of a stage: its name, what it uses, and how it departs from the ordinary."""
    mode = stage.variants[-1].mode.value
    notes = [mode] if mode != "enforce" else []
    notes += ["when " + stage.when.text] if stage.when is not None else []
    notes += [f"{len(stage.variants) - 1} override(s)"] if len(stage.variants) > 1 else []
    notes += [f"undone by {stage.undo.plugin}/{stage.undo.stage}"] if stage.undo is not None else []
    return (stage.id, f"{stage.plugin}/{stage.stage}", *notes)


def _title(plan: PipelinePlan) -> str:
    return f"{plan.name} on {plan.hook.name}, {show_seconds(plan.deadline_seconds)}"


def mermaid(plan: PipelinePlan) -> str:
    """A Mermaid flowchart, left to right."""
    lines = ["flowchart LR", f'  subgraph {plan.name}["{_title(plan)}"]']
    for stage in plan.stages:
        text = "<br/>".join(_html(line) for line in caption(stage))
        lines.append(f'    {plan.name}_{stage.id}["{text}"]')
    for needed, needing, label in edges(plan):
        arrow = f"-->|{label}|" if label else "-->"
        lines.append(f"    {plan.name}_{needed.id} {arrow} {plan.name}_{needing.id}")
    lines.append("  end")
    for final in plan.finals:
        text = "<br/>".join(_html(line) for line in caption(final))
        lines.append(f'  {plan.name}_{final.id}(["{text}"])')
        lines.append(f"  {plan.name} -.->|finally| {plan.name}_{final.id}")
    return "\n".join([*lines, ""])


def _html(text: str) -> str:
    for character, entity in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return text.replace("\n", " ")


def dot(plan: PipelinePlan) -> str:
    """A Graphviz digraph, left to right."""
    lines = [f'digraph "{plan.name}" {{', "  rankdir=LR;", f"  label={_quoted(_title(plan))};", "  node [shape=box];"]
    lines += [f"  {_quoted(stage.id)} [label={_quoted(*caption(stage))}];" for stage in plan.stages]
    for needed, needing, label in edges(plan):
        shown = f" [label={_quoted(label)}]" if label else ""
        lines.append(f"  {_quoted(needed.id)} -> {_quoted(needing.id)}{shown};")
    needed_ones = {need.stage for stage in plan.stages for need in stage.needs}
    for final in plan.finals:
        lines.append(f"  {_quoted(final.id)} [style=dashed, label={_quoted(*caption(final))}];")
        for last in (stage for stage in plan.stages if stage.index not in needed_ones):
            lines.append(f'  {_quoted(last.id)} -> {_quoted(final.id)} [style=dashed, label="finally"];')
    return "\n".join([*lines, "}", ""])


def _quoted(*lines: str) -> str:
    text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines)
    return f'"{text}"'
