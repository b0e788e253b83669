"""Secrets: where each is found, and which plugin is handed which. No value of one is ever seen here."""

from __future__ import annotations

from pipelines.declaration import Asks
from pipelines.file.reading import valid
from pipelines.file.spec import PluginSpec, SecretSpec
from pipelines.file.tree import Path
from pipelines.lint.draft import Draft
from pipelines.plan import SecretPlan, SecretSource
from pipelines.suggest import nearest

__all__ = ["check_handed", "secret_plans"]

_KEYS = {SecretSource.FILE: ("path", "name"), SecretSource.ENV: ("name", "path")}
"""Of each source the key that says where, and the one that belongs to the other."""


def secret_plans(draft: Draft) -> dict[str, SecretPlan]:
    """The secrets of the file; one that no plugin is handed is told of."""
    handed = {secret for plugin in draft.spec.plugins.values() for secret in plugin.secrets.values()}
    plans = {}
    for name, spec in draft.spec.secrets.items():
        path: Path = ("secrets", name)
        found = _plan(draft, path, name, spec)
        if found is not None:
            plans[name] = found
            if name not in handed and not draft.log.problems:
                draft.warn(path, "unused-secret", "no plugin is handed it", at=draft.key(path))
    return plans


def _plan(draft: Draft, path: Path, name: str, spec: SecretSpec) -> SecretPlan | None:
    if spec.from_ is None:
        return None
    wanted, other = _KEYS[spec.from_]
    written = draft.names(path)
    if other in written:
        message = f"a secret from `{spec.from_.value}` has a {wanted} and no {other}"
        draft.error((*path, other), "bad-secret", message, at=draft.key((*path, other)))
    where = getattr(spec, wanted)
    if where is None:
        if wanted not in written and not draft.log.is_touched(path):
            message = f"a secret from `{spec.from_.value}` says where: the key {wanted!r} is missing"
            draft.error((*path, wanted), "missing-key", message, at=draft.key(path))
        return None
    return SecretPlan(name, spec.from_, where, draft.value((*path, wanted)))


def check_handed(draft: Draft, plugin: str, spec: PluginSpec, asks: Asks) -> None:
    """Hold what a plugin is handed against what it asks for, and against the secrets that there are."""
    path: Path = ("plugins", plugin, "secrets")
    declared, granted = draft.names(("secrets",)), valid(spec.grant.secrets)
    asked = (*asks.secrets, *asks.optional_secrets)
    for name, secret in spec.secrets.items():
        at = (*path, name)
        if name not in asked:
            message = f"the plugin never asks for a secret {name!r} (`permissions.secrets` of its manifest)"
            draft.error(at, "not-asked", message, nearest(name, asked), at=draft.key(at))
        elif name in asks.optional_secrets and name not in granted:
            message = f"the plugin is handed the secret {name!r}, which is not granted: add it to `grant`"
            draft.error(at, "not-granted", message, at=draft.key(at))
        if secret not in declared and not draft.log.is_spoiled(("secrets",)):
            message = f"there is no secret {secret!r} under `secrets`"
            draft.error(at, "unknown-secret", message, nearest(secret, declared))
    written = draft.names(path)
    for name in asked:
        # What is not granted is reported as that, and a misspelt name where it stands.
        if name in written or name not in granted or set(written) - set(asked):
            continue
        if not draft.log.is_spoiled(path):
            message = f"the plugin asks for the secret {name!r} and is handed none: add `secrets: {{ {name}: NAME }}`"
            draft.error((*path, name), "not-handed", message, at=draft.key(path))
