"""From merged layers to a plan, or to every mistake in them. Each profile is checked, whichever is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.expressions import Expression, ExpressionError
from pipelines.file.layers import Files, Layers, overlay
from pipelines.file.overriding import Override, override
from pipelines.file.reading import Log, Site
from pipelines.file.section import Record
from pipelines.file.spec import PROFILE, FileSpec
from pipelines.file.tree import Path
from pipelines.lint.admission import check_admission, opened
from pipelines.lint.cases import Subject, cases
from pipelines.lint.configuration import Configurations
from pipelines.lint.draft import Draft, Plugins
from pipelines.lint.hooks import known_hooks, unmatched
from pipelines.lint.pipelines import Woven, weave_pipeline
from pipelines.lint.plugins import check_unused, declare, plugin_plans
from pipelines.lint.policies import Policies
from pipelines.lint.secrets import secret_plans
from pipelines.lint.splits import check_splits
from pipelines.plan import PipelinePlan, Plan
from pipelines.problem import Problem, Severity, SpecError
from pipelines.suggest import nearest

__all__ = ["check"]


def check(
    layers: Layers, plugins: Plugins, files: Files, profile: str | None = None, overrides: Sequence[Override] = ()
) -> Plan:
    """Give the plan of the file with `profile` and `overrides` laid over.

    Raise SpecError with every mistake of every profile, and with whatever would be one with the overrides.

    The warnings of the plan, too, are those of every profile.
    """
    problems = list(layers.problems)
    unread = {problem.mark for problem in problems}
    plans: dict[str | None, Plan] = {}
    compiled: dict[tuple[str, Path, str], Expression | ExpressionError] = {}
    if layers.root.entries:
        for name in (None, *layers.profiles):
            plan, found = _check_one(layers, name, plugins, files, compiled)
            plans[name] = plan
            # What the text itself does not say well has no meaning to be judged.
            problems += [problem for problem in found if problem.mark not in unread]
    if overrides and profile in plans:
        plan, found = _check_one(layers, profile, plugins, files, {}, overrides)
        problems += [*found, *opened(plans[profile], plan)]
        plans[profile] = plan
    if profile is not None and profile not in layers.profiles:
        mark = layers.root.entries["profiles"].mark if "profiles" in layers.root.entries else layers.root.mark
        message = f"the file has no profile {profile!r}"
        problems.append(Problem(mark, "unknown-profile", "profiles", message, nearest(profile, layers.profiles)))
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise SpecError(problems)
    # What is left are warnings, those of the other profiles too.
    return replace(plans[profile], warnings=tuple(dict.fromkeys(problems)))


# What decides which names an expression may use.
_NAMING = ("plugins", "hooks", "pipelines", "tests")


def _check_one(
    layers: Layers,
    profile: str | None,
    plugins: Plugins,
    files: Files,
    compiled: dict[tuple[str, Path, str], Expression | ExpressionError],
    overrides: Sequence[Override] = (),
) -> tuple[Plan, list[Problem]]:
    log = Log()
    root = layers.root
    if profile is not None:
        root = overlay(root, layers.profiles[profile], profile, PROFILE.keys, log.problems)
    root, overridden, wrong = override(root, overrides)
    log.problems += wrong
    spec = Record(FileSpec).read(root, Site((), root.mark), log)
    assert isinstance(spec, FileSpec)
    draft = Draft(root, spec, log, files, overridden=overridden)
    if all(root.get(key) is layers.root.get(key) for key in _NAMING):
        draft.compiled = compiled
    draft.declarations = declare(draft, plugins)
    return _plan(draft, tuple(layers.files)), log.problems


def _plan(draft: Draft, files: tuple[str, ...]) -> Plan:
    hooks = known_hooks(draft)
    configs = Configurations(draft)
    policies = Policies(draft)
    woven = {
        name: weave_pipeline(draft, name, spec, hooks, configs, policies) for name, spec in draft.spec.pipelines.items()
    }
    routes = _routes(woven)
    check_splits(draft, routes)
    check_unused(draft, configs)
    answers = unmatched(draft, hooks, routes)
    check_admission(draft, hooks, routes, answers)
    return Plan(
        name=draft.spec.name,
        plugins=plugin_plans(draft, configs, policies),
        routes=routes,
        hooks=hooks,
        unmatched=answers,
        secrets=secret_plans(draft),
        cases=tuple(cases(draft, {name: Subject(w.hooks, w.uses, w.finals) for name, w in woven.items()})),
        files=files,
    )


def _routes(woven: dict[str, Woven]) -> dict[str, tuple[PipelinePlan, ...]]:
    routes: dict[str, tuple[PipelinePlan, ...]] = {}
    for result in woven.values():
        for plan in result.plans:
            routes[plan.hook.name] = (*routes.get(plan.hook.name, ()), plan)
    return routes
