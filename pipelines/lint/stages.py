"""The stages of one pipeline: what they use, how they behave, and their expressions on each hook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.expressions import Expect, Expression
from pipelines.file.spec import NeedState, OverrideSpec, StageSpec
from pipelines.file.tree import Listing, Path, Table, Tree, plain
from pipelines.hooks import Hook
from pipelines.lint.configuration import Configurations
from pipelines.lint.draft import Draft
from pipelines.lint.expressions import Desk, mention, template
from pipelines.lint.graph import Graph, Settings
from pipelines.lint.uses import Use, misfit_out, timeout_of
from pipelines.plan import Mode, Need, OnError, StagePlan, StageState, Variant
from pipelines.suggest import nearest

__all__ = ["Weaver"]


@dataclass(slots=True)
class Weaver:
    """Makes the stages of a pipeline, once per hook; what does not depend on the hook is worked out once."""

    draft: Draft
    path: Path
    graph: Graph
    uses: Mapping[str, Use]
    stages: Mapping[str, StageSpec]
    settings: Mapping[str, tuple[Settings, ...]]
    deadline: float
    configs: Configurations
    _common: dict[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)

    def check_common(self) -> None:
        """Settle configurations and timeouts, and report what is wrong whatever the hook."""
        for name, stage in self.stages.items():
            path = (*self.path, "stages", name)
            self._common[name] = tuple(self._variants(path, name, stage))
            misfit_out(self.draft, (*path, "otherwise"), stage.otherwise, self.uses[name].declaration)
            self._check_inputs(path, stage)

    def _variants(self, path: Path, name: str, stage: StageSpec) -> Iterable[tuple[str, float]]:
        defaults = self.draft.spec.defaults.stage
        fallback = timeout_of(self.draft, ("defaults", "stage", "timeout"), defaults.timeout) or self.deadline
        own = timeout_of(self.draft, (*path, "timeout"), stage.timeout) or fallback
        for i, override in enumerate(stage.overrides):
            at = (*path, "overrides", i)
            if isinstance(override, OverrideSpec):
                timeout = timeout_of(self.draft, (*at, "timeout"), override.timeout) or own
                yield self._config(name, (*path, "with"), (*at, "with")), timeout
        yield self._config(name, (*path, "with")), own

    def _config(self, name: str, *paths: Path) -> str:
        plugin = self.uses[name].plugin
        return self.configs.add(plugin, *paths) if plugin else ""

    def _check_inputs(self, path: Path, stage: StageSpec) -> None:
        for key in stage.in_:
            at = (*path, "in", key)
            tree = self.draft.tree(at)
            if tree is not None and template(plain(tree)) is None:
                for deeper, text in _texts(tree, at):
                    if "${" in text:
                        message = "`${...}` must be the whole value, directly under `in`; CEL can put text together"
                        mark = self.draft.inside(deeper, text.index("${"))
                        self.draft.error(deeper, "expression-syntax", message, at=mark)

    def weave(self, name: str, index: Mapping[str, int], desk: Desk, hook: Hook) -> StagePlan:
        """Make one stage for one hook."""
        stage, use = self.stages[name], self.uses[name]
        path = (*self.path, "stages", name)
        self._check_hook(path, name, hook)
        when = self._condition(desk, (*path, "when"), name, stage.when)
        declared = use.declaration.hooks.get(hook.name) if use.declaration and use.declaration.hooks else None
        return StagePlan(
            id=name,
            index=index[name],
            plugin=use.plugin,
            stage=use.stage,
            needs=tuple(Need(index[need], _states(states)) for need, states in self.graph.edges[name]),
            ancestors=sum(1 << index[other] for other in self.graph.ancestors[name]),
            variants=tuple(self._woven_variants(desk, path, name, stage)),
            when=when,
            otherwise=stage.otherwise,
            inputs=tuple(self._inputs(desk, path, name, stage)),
            writes=None if declared is None else declared.writes,
            idempotent=use.declaration is not None and use.declaration.idempotent,
            mark=self.draft.key(path),
        )

    def _woven_variants(self, desk: Desk, path: Path, name: str, stage: StageSpec) -> Iterable[Variant]:
        overrides = [(i, o) for i, o in enumerate(stage.overrides) if isinstance(o, OverrideSpec)]
        whens = [self._condition(desk, (*path, "overrides", i, "when"), name, o.when) for i, o in overrides]
        for when, (config, timeout), settings in zip(
            [*whens, None], self._common[name], self.settings[name], strict=True
        ):
            yield Variant(when, config, settings.mode, settings.on_error, timeout)

    def _inputs(self, desk: Desk, path: Path, name: str, stage: StageSpec) -> Iterable[tuple[str, object]]:
        for key, value in stage.in_.items():
            text = template(value)
            at = (*path, "in", key)
            compiled = None if text is None else desk.compile(at, text, Expect.ANY, shift=2)
            if text is not None and compiled is not None:
                self._check_references(at, name, compiled, shift=2)
            yield key, value if text is None else compiled

    def _condition(self, desk: Desk, path: Path, name: str, text: str | None) -> Expression | None:
        compiled = desk.compile(path, text, Expect.BOOL) if text is not None else None
        if compiled is not None:
            self._check_references(path, name, compiled, shift=0)
        return compiled

    def _check_references(self, path: Path, name: str, expression: Expression, *, shift: int) -> None:
        """A stage may look only at stages that have ended when it starts, and only at an `out` that is there."""
        seen: set[str] = set()
        for reference in sorted(r for r in expression.references if r[0] == "stages" and len(r) > 1):
            other = reference[1]
            mark = self.draft.inside(path, shift + mention(expression.text, reference[:2]))
            if other in seen:
                continue
            if other not in self.graph.ancestors[name]:
                seen.add(other)
                if self.draft.log.is_touched((*self.path, "stages", name, "needs")):
                    continue
                message = f"{name} does not need {other!r}, so {other} may not have ended: add it to `needs`"
                self.draft.error(path, "not-an-ancestor", message, at=mark)
            elif reference[2:3] == ("out",) and self._may_lack(name, other, reference[3:4]):
                seen.add(other)
                lack = (
                    "has no `otherwise`"
                    if self.stages[other].otherwise is None
                    else f"its `otherwise` has no {reference[3]!r}"
                )
                message = f"{other} may be skipped ({self.graph.skippable[other]}) and {lack}"
                self.draft.error(path, "may-be-skipped", message, at=mark)

    def _may_lack(self, name: str, other: str, out: Sequence[str]) -> bool:
        """Not where the stage itself demands that the other has not been skipped."""
        otherwise = self.stages[other].otherwise
        if other not in self.graph.skippable or (otherwise is not None and all(part in otherwise for part in out)):
            return False
        # Where neither enforces, a value that is missing only makes the second be passed over as the first was.
        if other in self.graph.lenient and all(s.on_error is OnError.CONTINUE for s in self.settings[name]):
            return False
        states = dict(self.graph.edges[name]).get(other)
        return states is None or NeedState.SKIPPED in states

    def _check_hook(self, path: Path, name: str, hook: Hook) -> None:
        self._check_denial(path, name, hook)
        use = self.uses[name]
        if use.declaration is None or use.declaration.hooks is None:
            return
        if hook.name not in use.declaration.hooks:
            message = (
                f"the plugin does not offer {use.stage} on {hook.name}, only on {', '.join(use.declaration.hooks)}"
            )
            self.draft.error((*path, "uses"), "hook-not-offered", message)
            return
        fields = {f.name: f for f in hook.payload}
        for written in use.declaration.hooks[hook.name].writes or ():
            if written[:1] == ("payload",) and len(written) > 1 and written[1] not in fields:
                message = f"its manifest says that it writes {'.'.join(written)}, which {hook.name} does not have"
                self.draft.error((*path, "uses"), "manifest", message, nearest(written[1], fields))

    def _check_denial(self, path: Path, name: str, hook: Hook) -> None:
        if hook.can_deny:
            return
        stage = self.stages[name]
        message = f"{hook.name} cannot deny, and an enforcing stage would: use `mode: permissive` or `mode: audit`"
        places = [(*path, "overrides", i, "mode") for i, o in enumerate(stage.overrides) if isinstance(o, OverrideSpec)]
        for place, settings in zip([*places, (*path, "mode")], self.settings[name], strict=True):
            inherited = self.draft.tree(place) is None
            if settings.mode is Mode.ENFORCE and not (inherited and "overrides" in place):
                self.draft.error(place, "cannot-deny", message)


def _states(states: frozenset[NeedState] | None) -> frozenset[StageState] | None:
    return None if states is None else frozenset(StageState(state.value) for state in states)


def _texts(tree: Tree, path: Path) -> Iterable[tuple[Path, str]]:
    """Every text in a value, with its path."""
    if isinstance(tree, Table):
        for key, entry in tree.entries.items():
            yield from _texts(entry.value, (*path, key))
    elif isinstance(tree, Listing):
        for i, item in enumerate(tree.items):
            yield from _texts(item, (*path, i))
    elif isinstance(tree.value, str):
        yield path, tree.value
