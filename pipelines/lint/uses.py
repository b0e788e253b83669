"""What a stage uses and how it behaves, whatever the hook: plugin and stage looked up, mode, timeout, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pipelines.declaration import Path as Place
from pipelines.declaration import StageDeclaration
from pipelines.fields import Kind
from pipelines.file.stages import OverrideSpec, StageSpec
from pipelines.file.tree import Path
from pipelines.file.units import SECONDS, amount
from pipelines.hooks import Hook
from pipelines.lint.draft import Draft
from pipelines.lint.graph import Settings
from pipelines.plan import Mode, OnError
from pipelines.suggest import nearest

__all__ = [
    "Use",
    "check_offer",
    "check_ordinary",
    "declared_writes",
    "find_use",
    "misfit_out",
    "settings_of",
    "timeout_of",
]


class Use(NamedTuple):
    """What `uses` comes to; `declaration` is None where the plugin or the stage is not known."""

    plugin: str
    stage: str
    declaration: StageDeclaration | None


def find_use(draft: Draft, path: Path, text: str) -> Use:
    """Take `PLUGIN/STAGE` apart and look both up."""
    plugin, slash, stage = text.partition("/")
    at = (*path, "uses")
    if not text:
        return Use("", "", None)
    if not slash or not plugin or not stage or "/" in stage:
        near = nearest(plugin, draft.names(("plugins",)))
        draft.error(
            at, "wrong-value", f"{text!r} is not of the form PLUGIN/STAGE", _whole(draft, plugin or stage, near)
        )
        return Use("", "", None)
    if plugin not in draft.names(("plugins",)):
        if draft.log.is_spoiled(("plugins",)):
            return Use("", stage, None)
        near = nearest(plugin, draft.names(("plugins",)))
        draft.error(at, "unknown-plugin", f"there is no plugin {plugin!r} under `plugins`", near)
        return Use("", stage, None)
    offered = draft.declarations[plugin].stages if plugin in draft.declarations else None
    if offered is not None and stage not in offered:
        message = f"the plugin {plugin} offers no stage {stage!r}, only {', '.join(offered)}"
        draft.error(at, "unknown-stage", message, nearest(stage, offered), at=draft.inside(at, len(plugin) + 1))
    return Use(plugin, stage, None if offered is None else offered.get(stage))


def _whole(draft: Draft, written: str, near: str | None) -> str | None:
    """`pii/mask` for `pii`, where the plugin has one stage and there is no doubt."""
    name = written if written in draft.declarations else near
    stages = list(draft.declarations[name].stages) if name in draft.declarations and name is not None else []
    return f"{name}/{stages[0]}" if len(stages) == 1 else None


def check_ordinary(draft: Draft, path: Path, use: Use) -> None:
    """Report a stage that is made to undo another and stands where it would be run for itself."""
    if use.declaration is not None and use.declaration.undoes is not None:
        does = use.declaration.undoes
        message = f"{use.stage} undoes {does} and is called for nothing else: it belongs under `compensate`"
        draft.error((*path, "uses"), "undo-as-stage", message)


def check_offer(draft: Draft, path: Path, use: Use, hook: Hook) -> None:
    """Report a stage that its plugin does not offer on this hook, or that says it writes what the hook has not."""
    if use.declaration is None or use.declaration.hooks is None:
        return
    if hook.name not in use.declaration.hooks:
        message = f"the plugin does not offer {use.stage} on {hook.name}, only on {', '.join(use.declaration.hooks)}"
        draft.error((*path, "uses"), "hook-not-offered", message)
        return
    fields = {f.name: f for f in hook.payload}
    for written in declared_writes(use, hook) or ():
        if written[:1] == ("payload",) and len(written) > 1 and written[1] not in fields:
            message = f"its manifest says that it writes {'.'.join(written)}, which {hook.name} does not have"
            draft.error((*path, "uses"), "manifest", message, nearest(written[1], fields))


def declared_writes(use: Use, hook: Hook) -> tuple[Place, ...] | None:
    """What the stage says it may change on this hook, None where it says nothing."""
    declared = (use.declaration.hooks or {}).get(hook.name) if use.declaration is not None else None
    return None if declared is None else declared.writes


def settings_of(draft: Draft, stage: StageSpec) -> tuple[Settings, ...]:
    """Mode and on_error of every override, and last of the stage as written."""
    defaults = draft.spec.defaults.stage
    base = stage.mode or defaults.mode or Mode.ENFORCE
    said = stage.on_error or defaults.on_error
    layers = [(o.mode or base, o.on_error or said) for o in stage.overrides if isinstance(o, OverrideSpec)]
    return tuple(Settings(mode, on_error or _default_on_error(mode)) for mode, on_error in [*layers, (base, said)])


def _default_on_error(mode: Mode) -> OnError:
    return OnError.FAIL if mode is Mode.ENFORCE else OnError.CONTINUE


def timeout_of(draft: Draft, path: Path, written: str | None) -> float | None:
    """Seconds of a timeout that is a name or a duration; None where nothing is written, or nothing that is known."""
    if written is None:
        return None
    named = draft.spec.policies.timeouts.get(written)
    if named is not None:
        return named
    names = draft.names(("policies", "timeouts"))
    if not written[0].isalpha():
        return amount(written, SECONDS)
    if written not in names and not draft.log.is_spoiled(("policies", "timeouts")):
        message = f"there is no timeout {written!r} under `policies.timeouts`"
        draft.error(path, "unknown-timeout", message, nearest(written, names))
    return None


_KINDS = {kind.value: kind for kind in Kind}


def misfit_out(
    draft: Draft, path: Path, out: Mapping[str, object] | None, declaration: StageDeclaration | None
) -> None:
    """Report values given in a stage's stead that it could not have put out itself."""
    if out is None or declaration is None:
        return
    for name, value in out.items():
        kind = declaration.outputs.get(name)
        if kind is None:
            known = ", ".join(declaration.outputs) or "nothing"
            message = f"{declaration.name} puts out {known}, not {name!r}"
            draft.error(
                (*path, name), "bad-out", message, nearest(name, declaration.outputs), at=draft.key((*path, name))
            )
        elif kind in _KINDS and not _KINDS[kind].holds(value):
            draft.error((*path, name), "bad-out", f"{declaration.name} puts out {name} as {kind}")
