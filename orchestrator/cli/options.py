"""Arguments and options that several commands share, each described once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from orchestrator.cli.completing import profiles
from orchestrator.cli.failures import Invocation

__all__ = [
    "EXISTING",
    "file_here",
    "here_argument",
    "json_option",
    "locked_option",
    "must_be_pipeline",
    "offline_option",
    "path_argument",
    "pipeline_file",
    "profile_option",
    "state_option",
    "verbose_option",
]

_Decorated = TypeVar("_Decorated", bound=Callable[..., object])

EXISTING = click.Path(exists=True, path_type=Path)


def _speak_json(ctx: click.Context, _param: click.Parameter, wanted: bool) -> bool:
    if wanted:
        ctx.ensure_object(Invocation).json = True
    return wanted


def json_option(text: str) -> Callable[[_Decorated], _Decorated]:
    """`--json`, with what it prints on stdout."""
    # Eager: a configuration error that comes up while other options are read is told as JSON too.
    return click.option("--json", "as_json", is_flag=True, is_eager=True, callback=_speak_json, help=text)


def pipeline_file(path: Path) -> Path:
    """The file that PATH means: itself, or `pipeline.yaml` in a folder."""
    return path / "pipeline.yaml" if path.is_dir() else path


def file_here(path: Path) -> Path:
    """The pipeline file that PATH means. Raise a usage error where there is none, before anything is begun."""
    file = pipeline_file(path)
    if not file.exists():
        where = "here" if path == Path() else f"in {path}"
        raise click.UsageError(f"there is no pipeline.yaml {where}; name a pipeline file or its folder as PATH")
    return file


def must_be_pipeline(name: str, known: list[str]) -> None:
    """Refuse a pipeline that the file does not have."""
    from pipelines.suggest import nearest

    if name not in known:
        close = nearest(name, known)
        meant = f"did you mean {close!r}?" if close else f"the file has {', '.join(known)}"
        raise click.BadParameter(f"no pipeline {name!r}; {meant}", param_hint="'--pipeline'")


path_argument = click.argument("path", metavar="PATH", type=EXISTING)
here_argument = click.argument("path", metavar="[PATH]", type=EXISTING, default=Path())
state_option = click.option(
    "--state",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the journal and of what is remembered of runs. Default: one for each file, in PENSTOCK_STATE.",
)
profile_option = click.option(
    "--profile", metavar="NAME", shell_complete=profiles, help="Merge this profile over the file."
)
locked_option = click.option("--locked", is_flag=True, help="Refuse plugins that have no lock yet.")
offline_option = click.option("--offline", is_flag=True, help="Build environments from what is cached; use no network.")
verbose_option = click.option(
    "-v", "--verbose", count=True, help="Show what plugins log while they work; twice: everything that is logged."
)
