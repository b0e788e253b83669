"""What gets from one outline to another: an action for each plugin, and every difference by name.

Who applies a change follows `Change.plugins` to the letter, so that what was predicted is what is done.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace

import msgspec

from isolation.manifest.values import Reload
from orchestrator.reload.outline import Outline, PipelineOutline, PluginOutline, SplitOutline
from orchestrator.reload.versions import Direction, direction
from pipelines.declaration import Asks

__all__ = [
    "Action",
    "Build",
    "Change",
    "Difference",
    "GenerationName",
    "HookChange",
    "Kind",
    "Order",
    "PackageChange",
    "PermissionChange",
    "PipelineChange",
    "StageChange",
    "Trial",
    "VersionChange",
    "action",
    "difference",
]


class Action(enum.Enum):
    """What becomes of a plugin."""

    KEEP = "keep"
    """Its workers see nothing of the change."""
    RECONFIGURE = "reconfigure"
    """The same processes get another table of configurations and secrets."""
    START = "start"
    """It is new: a generation starts."""
    SWAP = "swap"
    """A new generation starts beside the old one, which then drains."""
    REPLACE = "replace"
    """The old generation drains and stops before the new one starts."""
    STOP = "stop"
    """It is gone: its generation drains and stops."""


class Kind(enum.Enum):
    """How a stage, a pipeline or a hook differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """A value before and after; None where there is none."""

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class GenerationName:
    """A generation, by the name of its plugin in the file."""

    plugin: str
    digest: str


@dataclass(frozen=True, slots=True)
class Build:
    """An environment that is missing, and the plugins that wait for it."""

    fingerprint: str
    plugins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageChange:
    """A stage, `pipeline/stage`, that differs on these hooks; `what` is empty where it is new or gone.

    `what` has facets of the stage, and those of its plugin's generation after `plugin.`.
    """

    stage: str
    kind: Kind
    hooks: tuple[str, ...]
    what: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PipelineChange:
    """A pipeline that itself differs on these hooks, whatever its stages do."""

    pipeline: str
    kind: Kind
    hooks: tuple[str, ...]
    what: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """The pipelines of a hook that were there and stay, in another order."""

    hook: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HookChange:
    """A hook of the file itself, or what a hook answers where no pipeline applies (`unmatched`)."""

    hook: str
    kind: Kind
    what: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PermissionChange:
    """What a plugin asks for (`asks`) or is given (`grant`), more and less."""

    plugin: str
    of: str
    kind: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A locked distribution of a plugin's environment."""

    plugin: str
    package: str
    before: str | None
    after: str | None
    direction: Direction


@dataclass(frozen=True, slots=True)
class VersionChange:
    """The version that a plugin's manifest names."""

    plugin: str
    before: str
    after: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class Trial:
    """A hook of which `percent` of the calls go to the new generations of plugins until they are promoted."""

    hook: str
    plugins: tuple[str, ...]
    percent: float


@dataclass(frozen=True, slots=True)
class Change:
    """The difference of two outlines. `plugins` has one action for every plugin of either.

    `why` says in words of `PluginOutline.generation` and `.table` what of a plugin differs. `warnings` and `problems`
    are about what comes after; they are no difference. `secrets` has where one is found, or which one a plugin is
    handed, and is no reason to touch a plugin: that is the value. `canary` has the splits that differ, by hook; `trial`
    what is split when this change is applied, which is nothing where two generations may not stand side by side.
    """

    plugins: Mapping[str, Action] = field(default_factory=dict)
    why: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    build: tuple[Build, ...] = ()
    start: tuple[GenerationName, ...] = ()
    stop: tuple[GenerationName, ...] = ()
    stages: tuple[StageChange, ...] = ()
    pipelines: tuple[PipelineChange, ...] = ()
    orders: tuple[Order, ...] = ()
    hooks: tuple[HookChange, ...] = ()
    permissions: tuple[PermissionChange, ...] = ()
    packages: tuple[PackageChange, ...] = ()
    versions: tuple[VersionChange, ...] = ()
    name: Difference | None = None
    secrets: Mapping[str, Difference] = field(default_factory=dict)
    canary: Mapping[str, Difference] = field(default_factory=dict)
    trial: tuple[Trial, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        said = {"plugins", "build", "warnings", "problems"}
        differ = any(getattr(self, each.name) for each in fields(self) if each.name not in said)
        return not differ and all(each is Action.KEEP for each in self.plugins.values())

    @property
    def at_once(self) -> Change:
        """The same without a trial: what is gone back to is for every call."""
        return replace(self, trial=())

    def record(self) -> dict[str, object]:
        """The JSON object of `penstock plan --json`."""
        return {"empty": self.empty, **msgspec.json.decode(msgspec.json.encode(self))}


def difference(before: Outline | None, after: Outline) -> Change:
    """What gets from `before`, or from nothing, to `after`."""
    old = before or Outline(name=after.name)
    names = list(dict.fromkeys((*old.plugins, *after.plugins)))
    pairs = [(name, old.plugins.get(name), after.plugins.get(name)) for name in names]
    actions = {name: action(one, other) for name, one, other in pairs}
    reasons = {name: why for name, one, other in pairs if (why := _why(one, other))}
    versions = tuple(_versions(pairs))
    return Change(
        plugins=actions,
        why=reasons,
        build=_builds(actions, after),
        start=tuple(_named(after, actions, Action.START, Action.SWAP, Action.REPLACE)),
        stop=tuple(_named(old, actions, Action.STOP, Action.SWAP, Action.REPLACE)),
        stages=_stages(old, after, reasons),
        pipelines=_pipelines(old, after),
        orders=tuple(_orders(old, after)),
        hooks=tuple(_hooks(old, after)),
        permissions=tuple(_permissions(pairs)),
        packages=tuple(_packages(pairs)),
        versions=versions,
        name=None if old.name == after.name else Difference(old.name, after.name),
        secrets=_differences(old.secrets, after.secrets),
        canary=_differences(_texts(old.splits), _texts(after.splits)),
        trial=tuple(_trials(after, actions)),
        warnings=(*after.warnings, *map(_backwards, _downgrades(versions))),
        problems=after.problems,
    )


def action(before: PluginOutline | None, after: PluginOutline | None) -> Action:
    """What becomes of one plugin."""
    if before is None or after is None:
        return Action.START if before is None else Action.STOP
    if before.generation != after.generation:
        # Two of a kind that bears no second must not meet, whichever of them says so.
        alone = Reload.REPLACE in (before.reload, after.reload)
        return Action.REPLACE if alone else Action.SWAP
    return Action.KEEP if before.table == after.table else Action.RECONFIGURE


def _texts(splits: Mapping[str, SplitOutline]) -> dict[str, str]:
    return {hook: f"{', '.join(split.plugins)}: {split.text}" for hook, split in splits.items()}


def _trials(after: Outline, actions: Mapping[str, Action]) -> Iterator[Trial]:
    if Action.REPLACE in actions.values():
        return
    for hook, split in after.splits.items():
        swapped = tuple(plugin for plugin in split.plugins if actions.get(plugin) is Action.SWAP)
        if swapped:
            yield Trial(hook, swapped, split.percent)


_Pair = tuple[str, PluginOutline | None, PluginOutline | None]


def _both(pairs: Iterable[_Pair]) -> Iterator[tuple[str, PluginOutline, PluginOutline]]:
    for name, one, other in pairs:
        if one is not None and other is not None:
            yield name, one, other


def _why(before: PluginOutline | None, after: PluginOutline | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ()
    old, new = {**before.generation, **before.table}, {**after.generation, **after.table}
    return tuple(word for word in old if old[word] != new[word])


def _builds(actions: Mapping[str, Action], after: Outline) -> tuple[Build, ...]:
    missing: dict[str, list[str]] = {}
    for name, plugin in after.plugins.items():
        starts = actions[name] in (Action.START, Action.SWAP, Action.REPLACE)
        if starts and plugin.fingerprint is not None and not plugin.environment_ready:
            missing.setdefault(plugin.fingerprint, []).append(name)
    return tuple(Build(fingerprint, tuple(names)) for fingerprint, names in missing.items())


def _named(outline: Outline, actions: Mapping[str, Action], *wanted: Action) -> Iterator[GenerationName]:
    for name, plugin in outline.plugins.items():
        if actions[name] in wanted:
            yield GenerationName(name, plugin.digest)


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Difference]:
    words = dict.fromkeys((*before, *after))
    pairs = {word: Difference(before.get(word), after.get(word)) for word in words}
    return {word: pair for word, pair in pairs.items() if pair.before != pair.after}


_Key = tuple[str, str]
"""A hook, and a pipeline or `pipeline/stage` on it."""


def _by_key(outline: Outline) -> dict[_Key, PipelineOutline]:
    return {(hook, each.name): each for hook, route in outline.routes.items() for each in route}


def _pipelines(before: Outline, after: Outline) -> tuple[PipelineChange, ...]:
    old = {key: each.facets for key, each in _by_key(before).items()}
    new = {key: each.facets for key, each in _by_key(after).items()}
    return tuple(PipelineChange(*found) for found in _gathered(old, new))


def _stages(before: Outline, after: Outline, why: Mapping[str, tuple[str, ...]]) -> tuple[StageChange, ...]:
    old, new = _stage_facets(before, why), _stage_facets(after, why)
    return tuple(StageChange(*found) for found in _gathered(old, new))


def _stage_facets(outline: Outline, why: Mapping[str, tuple[str, ...]]) -> dict[_Key, Mapping[str, str]]:
    """The facets of every stage, and what its plugin is where that is changed."""
    found: dict[_Key, Mapping[str, str]] = {}
    for (hook, pipeline), each in _by_key(outline).items():
        for stage, facets in each.stages.items():
            plugin = outline.plugins.get(facets.get("plugin", ""))
            about = {} if plugin is None else _plugin_facets(plugin, why.get(plugin.name, ()))
            found[hook, f"{pipeline}/{stage}"] = {**facets, **about}
    return found


def _plugin_facets(plugin: PluginOutline, why: tuple[str, ...]) -> dict[str, str]:
    return {f"plugin.{word}": str(value) for word, value in plugin.generation.items() if word in why}


def _gathered(
    old: Mapping[_Key, Mapping[str, str]], new: Mapping[_Key, Mapping[str, str]]
) -> list[tuple[str, Kind, tuple[str, ...], Mapping[str, Difference]]]:
    """What differs, told once for all the hooks on which it differs alike."""
    alike: dict[Hashable, tuple[str, Kind, list[str], Mapping[str, Difference]]] = {}
    for hook, name in dict.fromkeys((*old, *new)):
        one, other = old.get((hook, name)), new.get((hook, name))
        what = {} if one is None or other is None else _differences(one, other)
        kind = Kind.ADDED if one is None else Kind.REMOVED if other is None else Kind.CHANGED
        if kind is Kind.CHANGED and not what:
            continue
        key = (name, kind, tuple(sorted((word, each.before, each.after) for word, each in what.items())))
        alike.setdefault(key, (name, kind, [], what))[2].append(hook)
    return [(name, kind, tuple(hooks), what) for name, kind, hooks, what in alike.values()]


def _orders(before: Outline, after: Outline) -> Iterator[Order]:
    for hook, route in after.routes.items():
        old = [each.name for each in before.routes.get(hook, ())]
        new = [each.name for each in route]
        stayed, stay = tuple(n for n in old if n in new), tuple(n for n in new if n in old)
        if stayed != stay:
            yield Order(hook, stayed, stay)


def _hooks(before: Outline, after: Outline) -> Iterator[HookChange]:
    own = _differences(before.hooks, after.hooks)
    unmatched = _differences(before.unmatched, after.unmatched)
    for hook in dict.fromkeys((*own, *unmatched)):
        what = {}
        if hook in own:
            what["declaration"] = own[hook]
        if hook in unmatched:
            what["unmatched"] = unmatched[hook]
        yield HookChange(hook, _kind(own.get(hook)), what)


def _kind(pair: Difference | None) -> Kind:
    if pair is None or (pair.before is not None and pair.after is not None):
        return Kind.CHANGED
    return Kind.ADDED if pair.before is None else Kind.REMOVED


_LISTED: Mapping[str, Callable[[Asks], tuple[str, ...]]] = {
    "network": lambda asks: asks.network,
    "filesystem": lambda asks: asks.filesystem,
    "subprocess": lambda asks: ("yes",) if asks.subprocess else (),
    "secrets": lambda asks: asks.secrets,
}


def _permissions(pairs: Iterable[_Pair]) -> Iterator[PermissionChange]:
    for name, one, other in pairs:
        for of in ("asks", "grant"):
            old: Asks = Asks() if one is None else getattr(one, of)
            new: Asks = Asks() if other is None else getattr(other, of)
            for kind, listed in _LISTED.items():
                had, has = set(listed(old)), set(listed(new))
                if had != has:
                    yield PermissionChange(name, of, kind, tuple(sorted(has - had)), tuple(sorted(had - has)))


def _packages(pairs: Iterable[_Pair]) -> Iterator[PackageChange]:
    for name, one, other in _both(pairs):
        for package, pair in sorted(_differences(one.locked, other.locked).items()):
            yield PackageChange(name, package, pair.before, pair.after, direction(pair.before, pair.after))


def _versions(pairs: Iterable[_Pair]) -> Iterator[VersionChange]:
    for name, one, other in _both(pairs):
        if one.version != other.version:
            yield VersionChange(name, one.version, other.version, direction(one.version, other.version))


def _downgrades(versions: Iterable[VersionChange]) -> Iterator[VersionChange]:
    return (each for each in versions if each.direction is Direction.DOWN)


def _backwards(version: VersionChange) -> str:
    return f"{version.plugin} is downgraded, from version {version.before} to {version.after}"
