"""`penstock lint`: every mistake of pipeline files with its place, in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.failures import Exit, show_problems
from orchestrator.cli.options import EXISTING, json_option, profile_option

if TYPE_CHECKING:
    from orchestrator.loading import Loaded
    from pipelines.problem import Problem

__all__ = ["lint"]


@click.command(short_help="Check pipeline files; name every mistake with its place.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=EXISTING)
@profile_option
@json_option("Print the problems as one JSON list.")
@click.option("--strict", is_flag=True, help="Let warnings fail too.")
def lint(paths: tuple[Path, ...], profile: str | None, as_json: bool, strict: bool) -> Exit:
    """Check pipeline files, what they include, the manifests they name, and all their profiles.

    Nothing is built or started. Each problem is a line FILE:LINE:COLUMN: CODE path: message on stderr. What passes
    here loads and runs. A wrong file makes the exit status 78.
    """
    from orchestrator.loading import load
    from pipelines.problem import Severity, SpecError

    problems: list[Problem] = []
    for path in paths:
        try:
            loaded = load(path, profile=profile)
        except SpecError as error:
            problems += error.problems
        else:
            problems += loaded.plan.warnings
            if not as_json:
                click.echo(_summary(loaded))
    if as_json or problems:
        show_problems(problems, as_json=as_json)
    wrong = problems if strict else [each for each in problems if each.severity is Severity.ERROR]
    return Exit.CONFIGURATION if wrong else Exit.FINE


def _summary(loaded: Loaded) -> str:
    plan = loaded.plan
    pipelines = {each.name: each for route in plan.routes.values() for each in route}
    stages = sum(len(each.stages) for each in pipelines.values())
    counted = (
        _count(len(pipelines), "pipeline"),
        _count(stages, "stage"),
        _count(len(plan.plugins), "plugin"),
        _count(len(plan.cases), "test"),
    )
    found = _count(len(plan.warnings), "warning") if plan.warnings else "ok"
    return f"{loaded.path}: {found} ({', '.join(counted)})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
