"""`penstock graph`: the stages of pipelines as a picture in the terminal, as Mermaid, as DOT or as data."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completing import pipelines
from orchestrator.cli.failures import Exit, write
from orchestrator.cli.options import json_option, path_argument, profile_option

if TYPE_CHECKING:
    from pipelines.plan import PipelinePlan, Plan, StagePlan

__all__ = ["graph"]

CAPTION_WIDTH = 30


@click.command(short_help="Draw the stages of a file's pipelines.")
@path_argument
@click.option(
    "--format",
    "style",
    type=click.Choice(["terminal", "mermaid", "dot"]),
    default="terminal",
    show_default=True,
    help="How to draw.",
)
@click.option("--pipeline", metavar="NAME", shell_complete=pipelines, help="Draw this pipeline only.")
@profile_option
@json_option("Print pipelines, stages and needs as one JSON list.")
def graph(path: Path, style: str, pipeline: str | None, profile: str | None, as_json: bool) -> Exit:
    """Draw the pipelines of PATH. Stages in one row do not need each other and run side by side."""
    from orchestrator.loading import load

    chosen = _chosen(load(path, profile=profile).plan, pipeline)
    if as_json:
        click.echo(json.dumps([_record(plans) for plans in chosen], indent=2, ensure_ascii=False))
    elif style == "terminal":
        _show(chosen)
    else:
        click.echo(_document(chosen, style), nl=False)
    return Exit.FINE


def _chosen(plan: Plan, name: str | None) -> list[list[PipelinePlan]]:
    """The plans of each pipeline: one for each of its hooks, all with the same stages."""
    from orchestrator.cli.options import must_be_pipeline

    by_name: dict[str, list[PipelinePlan]] = {}
    for route in plan.routes.values():
        for each in route:
            by_name.setdefault(each.name, []).append(each)
    if name is not None:
        must_be_pipeline(name, list(by_name))
    return [plans for known, plans in by_name.items() if name in (None, known)]


def _document(chosen: list[list[PipelinePlan]], style: str) -> str:
    from pipelines.graph import dot, mermaid

    if style == "dot":
        return "\n".join(dot(plans[0]) for plans in chosen)
    drawn = [mermaid(plans[0]).split("\n", 1) for plans in chosen]
    return "".join([drawn[0][0], "\n", *(body for _, body in drawn)]) if drawn else ""


def _show(chosen: list[list[PipelinePlan]]) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for number, plans in enumerate(chosen):
        if number:
            write("")
        for line in _title(plans):
            write(line)
        write("")
        for line in _drawn(plans[0], width):
            write(line)


def _title(plans: list[PipelinePlan]) -> list[str]:
    from pipelines.file.units import show_seconds

    plan = plans[0]
    hooks = ", ".join(each.hook.name for each in plans)
    lines = [f"{click.style(plan.name, bold=True)} on {hooks}, within {show_seconds(plan.deadline_seconds)}"]
    return lines + ([f"when {plan.match.text}"] if plan.match is not None else [])


def _drawn(plan: PipelinePlan, width: int) -> list[str]:
    from orchestrator.cli.picture import draw
    from pipelines.graph import edges, levels

    rows = [{stage.id: _caption(stage, plan) for stage in level} for level in levels(plan)]
    lines = draw(rows, [(needed.id, needing.id) for needed, needing, _ in edges(plan)])
    if max(map(len, lines), default=0) > width:
        lines = [line for number, level in enumerate(levels(plan), 1) for line in _listed(number, level, plan)]
    return lines + [f"finally {final.id} ({', '.join(_caption(final, plan)[1:])})" for final in plan.finals]


def _caption(stage: StagePlan, plan: PipelinePlan) -> tuple[str, ...]:
    from pipelines.graph import caption

    asked = [f"needs {name}: {states}" for name, states in _needs(stage, plan).items() if states]
    return tuple(_short(line) for line in (*caption(stage), *asked))


def _short(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= CAPTION_WIDTH else line[: CAPTION_WIDTH - 1] + "…"


def _needs(stage: StagePlan, plan: PipelinePlan) -> dict[str, str]:
    from pipelines.graph import edges

    return {needed.id: label for needed, needing, label in edges(plan) if needing.id == stage.id}


def _listed(number: int, level: tuple[StagePlan, ...], plan: PipelinePlan) -> list[str]:
    """A row of a pipeline that is too wide to draw here."""
    lines = []
    for stage in level:
        needs = ", ".join(f"{name} ({states})" if states else name for name, states in _needs(stage, plan).items())
        lines.append(f"{number}. {click.style(stage.id, bold=True)} ({', '.join(_caption(stage, plan)[1:])})")
        lines += [f"   after {needs}"] if needs else []
    return lines


def _record(plans: list[PipelinePlan]) -> dict[str, object]:
    from pipelines.graph import levels

    plan = plans[0]
    return {
        "pipeline": plan.name,
        "hooks": [each.hook.name for each in plans],
        "deadline_ms": plan.deadline_seconds * 1000,
        "match": plan.match.text if plan.match is not None else None,
        "durable": plan.durable,
        "stages": [_stage(stage, row, plan) for row, level in enumerate(levels(plan)) for stage in level],
        "finally": [{"id": final.id, "uses": f"{final.plugin}/{final.stage}"} for final in plan.finals],
    }


def _stage(stage: StagePlan, row: int, plan: PipelinePlan) -> dict[str, object]:
    return {
        "id": stage.id,
        "uses": f"{stage.plugin}/{stage.stage}",
        "row": row,
        "mode": stage.variants[-1].mode.value,
        "when": stage.when.text if stage.when is not None else None,
        "overrides": len(stage.variants) - 1,
        "undo": f"{stage.undo.plugin}/{stage.undo.stage}" if stage.undo is not None else None,
        "needs": [
            {"stage": name, "is": states.split(" or ") if states else None}
            for name, states in _needs(stage, plan).items()
        ],
    }
