"""Commands that plugins bring: `penstock NAME ...`, found by name among the plugins of a pipeline file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from orchestrator.cli.failures import write
from orchestrator.cli.options import offline_option, pipeline_file

if TYPE_CHECKING:
    from isolation.manifest import Manifest

__all__ = ["brought", "is_likely", "listing", "where_options"]

_WHERE = ("--plugin", "--file")


class Source(NamedTuple):
    """A plugin that brings commands, and the extras that its pipeline file gives it."""

    manifest: Manifest
    extras: tuple[str, ...] | None


def where_options(command: click.Command) -> click.Command:
    """Add the options that say whose commands are meant. They stand before the plugin's own words."""
    existing = click.Path(exists=True, path_type=Path)
    plugin = click.Option(["--plugin"], type=existing, metavar="FOLDER", help="Look in this plugin only.")
    file = click.Option(
        ["--file"],
        type=existing,
        metavar="PATH",
        help="Look in the plugins of this pipeline file. Default: the one here.",
    )
    command.params[:0] = [plugin, file]
    return offline_option(command)


def is_likely(words: list[str]) -> bool:
    """Whether a word may be a plugin's command: it is said where to look, or there is a pipeline file here."""
    return any(word.partition("=")[0] in _WHERE for word in words) or pipeline_file(Path()).is_file()


def brought(name: str, known: Mapping[str, object]) -> click.Command:
    """Make the command `penstock NAME`; `known` are the commands of penstock itself, for a word that is no command."""

    def call(plugin: Path | None, file: Path | None, offline: bool, words: tuple[str, ...]) -> int:
        return run(name, plugin, file, words, offline=offline, known=tuple(known))

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    command = click.Command(name, callback=call, params=[words], context_settings=settings, add_help_option=False)
    return where_options(command)


def run(
    name: str,
    plugin: Path | None,
    file: Path | None,
    words: tuple[str, ...],
    *,
    offline: bool,
    known: tuple[str, ...] = (),
) -> int:
    """Run the command in its plugin's environment and return its exit status."""
    import os

    from isolation.brought import run_brought
    from isolation.store.store import Store, default_store_root
    from orchestrator.cli.progress import Bars, terminal_watches

    source = _one(name, plugin, file, known)
    with Store(default_store_root(), offline=offline) as store:
        with Bars(shown=terminal_watches(stdout_is_data=True)) as bars:
            prepared = store.prepare(source.manifest, source.extras, bars.started)
        return run_brought(name, source.manifest, prepared, words, os.environ)


def listing(plugin: Path | None, file: Path | None) -> None:
    """Write every command that there is, and whose it is."""
    for source in _sources(plugin, file):
        for name, function in source.manifest.commands.items():
            write(f"{name}  {source.manifest.name} {source.manifest.version} ({function})")


def _one(name: str, plugin: Path | None, file: Path | None, known: tuple[str, ...]) -> Source:
    from pipelines.problem import SpecError
    from pipelines.suggest import nearest

    near = nearest(name, known)
    try:
        sources = _sources(plugin, file)
    except SpecError:
        # A slip of the pen is not answered with what is wrong with a file.
        if near is None:
            raise
        sources = []
    found = [source for source in sources if name in source.manifest.commands]
    if len(found) > 1:
        which = " and ".join(str(source.manifest.script or source.manifest.root) for source in found)
        raise click.UsageError(f"{which} both bring the command {name!r}; say --plugin FOLDER")
    if not found:
        near = near or nearest(name, [other for source in sources for other in source.manifest.commands])
        raise click.UsageError(f"No such command {name!r}.{f' Did you mean {near!r}?' if near else ''}")
    return found[0]


def _sources(plugin: Path | None, file: Path | None) -> list[Source]:
    if plugin is not None:
        from isolation.manifest import read_manifest

        return [Source(read_manifest(plugin), None)]
    from orchestrator.cli.options import file_here
    from orchestrator.loading import load

    loaded = load(file_here(file or Path()))
    plans = loaded.plan.plugins
    # A plugin may stand in the file under two names; its commands are the same.
    found: dict[Path, Source] = {}
    for name, manifest in loaded.manifests.items():
        found.setdefault(manifest.script or manifest.root, Source(manifest, plans[name].extras))
    return list(found.values())
