"""Names that a shell completes: read from the document on the command line, as written. Never checks, never fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from click.core import ParameterSource
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    import click

__all__ = [
    "pipelines",
    "places",
    "places_of_stages",
    "plugins",
    "plugins_and_host",
    "profiles",
    "revisions",
    "run_ids",
    "stages",
    "tests",
]

COMPLETED_RUNS = 100
COMPLETED_REVISIONS = 100
ANSWER_SECONDS = 1.0
"""Whoever pressed a key does not wait for a host that hangs."""


def _document(ctx: click.Context) -> dict[str, object]:
    """The pipeline file that the words so far name, or an empty document."""
    # Imported here: every command's options mention this module, few runs of the program complete anything.
    import yaml

    path = _named_path(ctx)
    try:
        text = (path / "pipeline.yaml" if path.is_dir() else path).read_text("utf-8")
        document = yaml.load(text, yaml.CSafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


def _named_path(ctx: click.Context) -> Path:
    for name in ("path", "file", "paths"):
        value = ctx.params.get(name)
        if value and ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            return Path(str(value[0] if isinstance(value, tuple) else value))
    # An option that still lacks its value leaves the words unread.
    words = [*(ctx.params.get("words") or ()), *ctx.args]
    return next((Path(word) for word in words if not word.startswith("-") and Path(word).exists()), Path())


def _members(value: object) -> list[str]:
    return [str(key) for key in value] if isinstance(value, dict) else []


def _starting(words: list[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def pipelines(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the file's pipelines."""
    return _starting(_members(_document(ctx).get("pipelines")), incomplete)


def plugins(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the file's plugins."""
    return _starting(_members(_document(ctx).get("plugins")), incomplete)


def plugins_and_host(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The same, and `host`, whose lines stand beside theirs."""
    return _starting(["host", *_members(_document(ctx).get("plugins"))], incomplete)


def stages(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the stages of the file's pipelines, each once."""
    found = _document(ctx).get("pipelines")
    written = found.values() if isinstance(found, dict) else ()
    ids = (id for pipeline in written if isinstance(pipeline, dict) for id in _members(pipeline.get("stages")))
    return _starting(list(dict.fromkeys(ids)), incomplete)


def places_of_stages(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The same, and PIPELINE/STAGE for each: where two pipelines have a stage of one name, that says which."""
    found = _document(ctx).get("pipelines")
    written = found if isinstance(found, dict) else {}
    whole = [
        f"{name}/{id}"
        for name, pipeline in written.items()
        if isinstance(pipeline, dict)
        for id in _members(pipeline.get("stages"))
    ]
    return [*stages(ctx, param, incomplete), *_starting(whole, incomplete)]


def profiles(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the file's profiles."""
    return _starting(_members(_document(ctx).get("profiles")), incomplete)


def tests(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the file's tests."""
    cases = _document(ctx).get("tests")
    names = [str(case.get("name")) for case in cases if isinstance(case, dict)] if isinstance(cases, list) else []
    return _starting(names, incomplete)


def run_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the newest runs that a host, or the last one, remembers; each with its pipeline and how it stands."""
    return [
        CompletionItem(str(run["run_id"]), help=f"{run.get('pipeline')} {run.get('verdict')} {run.get('status')}")
        for run in _runs(ctx)
        if str(run["run_id"]).startswith(incomplete)
    ]


def _runs(ctx: click.Context) -> list[dict[str, object]]:
    from orchestrator.control.socket import NoHost
    from orchestrator.record.ring import Ring
    from orchestrator.state import RING_FILE

    try:
        return _told(ctx, "runs.list", COMPLETED_RUNS)
    except NoHost:
        ring = Ring()
        ring.load(_folder(ctx) / RING_FILE)
        return [entry.record() for entry, _ in zip(ring.entries(), range(COMPLETED_RUNS), strict=False)]


def revisions(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Numbers of the revisions that served or serve, the newest first, each with who wanted it and its commit."""
    from orchestrator.control.socket import NoHost

    try:
        found = _told(ctx, "history", COMPLETED_REVISIONS)
    except NoHost:
        return []
    latest = {str(entry["number"]): entry for entry in reversed(found) if entry.get("number")}
    return [
        CompletionItem(number, help=f"{entry.get('outcome')} by {entry.get('by')} {entry.get('commit')}".strip())
        for number, entry in sorted(latest.items(), key=lambda item: -int(item[0]))
        if number.startswith(incomplete)
    ]


def _told(ctx: click.Context, command: str, limit: int) -> list[dict[str, object]]:
    """What the host lists; nothing where it does not say so at once. Raises NoHost."""
    from orchestrator.control.refusal import Refused
    from orchestrator.control.socket import HostGone, HostSilent, ask

    try:
        found = ask(_folder(ctx), command, {"limit": limit}, silence_seconds=ANSWER_SECONDS)
    except (HostGone, HostSilent, Refused, OSError):
        return []
    return found if isinstance(found, list) else []


def _folder(ctx: click.Context) -> Path:
    from orchestrator.state import state_folder

    path = _named_path(ctx)
    named = ctx.params.get("state")
    return Path(str(named)) if named else state_folder(path / "pipeline.yaml" if path.is_dir() else path)


def places(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Dotted places of the file, one level deeper than what is written: plugins, pipelines, their stages, settings."""
    *walked, _last = incomplete.split(".")
    value: object = _document(ctx)
    for name in walked:
        value = value.get(name) if isinstance(value, dict) else None
    prefix = "".join(f"{name}." for name in walked)
    return _starting([prefix + name for name in _members(value)], incomplete)
