"""Plugins as the file declares them: found, with known extras, and granted what they ask for."""

from __future__ import annotations

from pipelines import versions
from pipelines.declaration import Asks, PluginDeclaration
from pipelines.file.reading import Invalid, valid
from pipelines.file.spec import GrantSpec, PluginSpec
from pipelines.lint.configuration import Configurations
from pipelines.lint.draft import BadPlugin, Draft, Plugins
from pipelines.lint.policies import Policies
from pipelines.lint.secrets import check_handed
from pipelines.plan import DEFAULT_QUEUE, PluginPlan
from pipelines.suggest import nearest

__all__ = ["check_unused", "declare", "plugin_plans"]

_NOT_YET = ("pypi:", "git+", "http:", "https:")


def declare(draft: Draft, plugins: Plugins) -> dict[str, PluginDeclaration]:
    """Ask for every plugin's declaration and report those that have none."""
    declared = {}
    for name, spec in draft.spec.plugins.items():
        found = _find(draft, name, spec, plugins) if spec.source else None
        if found is not None:
            declared[name] = found
            _check_version(draft, name, spec, found)
            _check_extras(draft, name, spec, found)
            _check_grants(draft, name, spec.grant, found.asks)
            check_handed(draft, name, spec, found.asks)
    return declared


def _find(draft: Draft, name: str, spec: PluginSpec, plugins: Plugins) -> PluginDeclaration | None:
    path = ("plugins", name, "source")
    if spec.source.startswith(_NOT_YET):
        draft.error(path, "not-supported", "this version of penstock runs plugins from a path, not yet published ones")
        return None
    try:
        return plugins.declaration(spec.source, draft.value(path).file)
    except BadPlugin as error:
        draft.log.problems.extend(error.problems)
        if not error.problems:
            draft.error(path, "bad-source", error.message)
        return None


def _check_extras(draft: Draft, name: str, spec: PluginSpec, found: PluginDeclaration) -> None:
    for i, extra in enumerate(spec.extras or ()):
        if not isinstance(extra, Invalid) and extra not in found.available_extras:
            message = f"the plugin has no optional dependencies called {extra!r}"
            draft.error(
                ("plugins", name, "extras", i), "unknown-extra", message, nearest(extra, found.available_extras)
            )


def _check_version(draft: Draft, name: str, spec: PluginSpec, found: PluginDeclaration) -> None:
    path, source = ("plugins", name, "version"), ("plugins", name, "source")
    if spec.version is not None and (wrong := versions.unreadable(spec.version)):
        draft.error(path, "bad-version", wrong, versions.meant(spec.version))
    elif spec.version is not None and (wrong := versions.refused(spec.version, found.version)):
        draft.error(path, "wrong-version", wrong)
    if found.unfit:
        draft.error(source, "unfit-plugin", found.unfit)
    for sentence in found.deprecations:
        draft.warn(source, "deprecated", sentence)


_ASKS = ("network", "filesystem", "secrets")


def _check_grants(draft: Draft, name: str, grant: GrantSpec, asks: Asks) -> None:
    path = ("plugins", name, "grant")
    for kind in _ASKS:
        asked: tuple[str, ...] = getattr(asks, kind)
        may_be = (*asked, *asks.optional_secrets) if kind == "secrets" else asked
        granted: tuple[str | Invalid, ...] = getattr(grant, kind)
        for ask in asked:
            if not any(_covers(kind, g, ask) for g in granted):
                message = f"the plugin asks for {kind} {ask!r}, which is not granted: add it, or do without the plugin"
                draft.error((*path, kind), "not-granted", message, at=draft.key((*path, kind)))
        for i, given in enumerate(granted):
            if not any(_covers(kind, given, ask) for ask in may_be):
                message = f"the plugin never asks for {kind} {given!r}"
                draft.warn((*path, kind, i), "unused-grant", message, nearest(str(given), may_be))
    if asks.subprocess and not grant.subprocess:
        message = "the plugin asks to start processes, which is not granted: add `subprocess: true`, or do without it"
        draft.error((*path, "subprocess"), "not-granted", message, at=draft.key((*path, "subprocess")))
    if grant.subprocess and not asks.subprocess:
        draft.warn((*path, "subprocess"), "unused-grant", "the plugin never asks to start processes")


def _covers(kind: str, grant: str | Invalid, ask: str) -> bool:
    """`*.corp.example:443` covers each host below; a folder covers what it holds."""
    if isinstance(grant, Invalid):
        return True  # reported as a wrong type already
    if grant == ask or (kind == "network" and grant.startswith("*.") and ask.endswith(grant[1:])):
        return True
    return kind == "filesystem" and ask.startswith(grant.rstrip("/") + "/")


def plugin_plans(draft: Draft, configs: Configurations, policies: Policies) -> dict[str, PluginPlan]:
    """The plugins that stages use; one that nothing uses has no work and is not started."""
    default = draft.spec.defaults.plugin
    standard = policies.restart(("defaults", "plugin", "restart"), default.restart)
    plans = {}
    for name, spec in draft.spec.plugins.items():
        restart = policies.restart(("plugins", name, "restart"), spec.restart)
        if name not in configs.by_plugin:
            continue
        plans[name] = PluginPlan(
            name,
            spec.source,
            spec.replicas or default.replicas or 1,
            configs.by_plugin[name],
            None if spec.extras is None else valid(spec.extras),
            _granted(spec.grant),
            concurrency=spec.concurrency or default.concurrency,
            queue=_first(spec.queue, default.queue, DEFAULT_QUEUE),
            restart=restart or standard,
            secrets=spec.secrets,
            version=spec.version,
            mark=draft.value(("plugins", name, "source")),
        )
    return plans


def _first(*written: int | None) -> int:
    """The first that is written; nought counts."""
    return next(number for number in written if number is not None)


def _granted(spec: GrantSpec) -> Asks:
    return Asks(valid(spec.network), valid(spec.filesystem), spec.subprocess, valid(spec.secrets))


def check_unused(draft: Draft, configs: Configurations) -> None:
    """Plugins that no stage uses are not started; what is said of them must be right all the same."""
    for name in draft.spec.plugins:
        if name in configs.by_plugin:
            continue
        configs.judge(name)
        if not draft.log.problems:
            draft.warn(("plugins", name), "unused-plugin", "no stage uses it", at=draft.key(("plugins", name)))
