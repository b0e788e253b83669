"""The hooks a file may stand on: the catalogue's and its own, and what each does when no pipeline applies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pipelines.file.spec import HookSpec
from pipelines.file.tree import Path
from pipelines.hooks import CATALOGUE, Hook, HookError, custom
from pipelines.lint.admission import admitting
from pipelines.lint.draft import Draft
from pipelines.plan import Unmatched
from pipelines.suggest import nearest

__all__ = ["known_hooks", "unmatched"]

# The keys that declare a hook, and what the catalogue's reader calls them.
_DECLARING = {"payload": "payload", "answer": "answer", "can_deny": "can_deny", "summary": "doc", "denial": "denial"}


def known_hooks(draft: Draft) -> dict[str, Hook]:
    """The catalogue and the hooks that the file declares."""
    hooks = dict(CATALOGUE)
    for name, spec in draft.spec.hooks.items():
        path: Path = ("hooks", name)
        written = [key for key in _DECLARING if getattr(spec, key) is not None]
        if name not in CATALOGUE and not written:
            message = f"there is no hook {name!r}; with `summary` or `payload` it would be declared"
            draft.error(path, "unknown-hook", message, nearest(name, CATALOGUE), at=draft.key(path))
        elif name in CATALOGUE:
            for key in written:
                message = f"{name} is in the catalogue and cannot be declared again; only `unmatched` may be said of it"
                draft.error((*path, key), "hook-exists", message, at=draft.key((*path, key)))
        else:
            hooks |= _declared(draft, name, spec)
    return hooks


def _declared(draft: Draft, name: str, spec: HookSpec) -> dict[str, Hook]:
    """The hook that is declared, without the members that are reported as wrong."""
    said = {word: getattr(spec, key) for key, word in _DECLARING.items() if getattr(spec, key) is not None}
    while True:
        try:
            return {name: custom(name, said)}
        except HookError as error:
            draft.error(("hooks", name, *error.path), "wrong-value", error.message, error.suggestion)
            if not error.path:
                return {}
            said = _without(said, error.path)


def _without(members: Mapping[str, object], path: Sequence[str]) -> dict[str, object]:
    """The same mapping without what stands at `path`."""
    left = {key: value for key, value in members.items() if key != path[0]}
    inner = members.get(path[0])
    if len(path) > 1 and isinstance(inner, Mapping):
        left[path[0]] = _without(inner, path[1:])
    return left


def unmatched(draft: Draft, hooks: Mapping[str, Hook], routed: Collection[str]) -> dict[str, Unmatched]:
    """What each hook answers when no pipeline applies: as written, else deny for admission that the file judges.

    It judges it with a pipeline for the hook, or by naming a plugin that admits there.
    """
    answers = {}
    for name, hook in hooks.items():
        spec = draft.spec.hooks.get(name)
        judged = hook.admission and (name in routed or bool(admitting(draft, hook)))
        default = Unmatched.DENY if judged else Unmatched.ALLOW
        answers[name] = spec.unmatched if spec is not None and spec.unmatched is not None else default
    return answers
