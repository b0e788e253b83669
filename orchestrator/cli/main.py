"""The root of the command line: the table of commands and the program's entry. Imports nothing but click."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence

import click

from orchestrator.cli.failures import Invocation, report
from orchestrator.cli.lazy import LazyCommand, LazyGroup

__all__ = ["main", "penstock"]

COMMANDS = {
    name: LazyCommand(f"orchestrator.cli.{module}", attribute, short_help)
    for name, module, attribute, short_help in (
        ("run", "run", "run", "Run calls through the pipelines of a file."),
        ("serve", "serve", "serve", "Serve a file at a socket until told to stop."),
        ("lint", "lint", "lint", "Check pipeline files; name every mistake with its place."),
        ("test", "test", "test", "Run the tests written in a pipeline file."),
        ("status", "status", "status", "Show how the host of a file stands."),
        ("top", "top", "top", "Watch calls, runs, stages and workers of a host."),
        ("logs", "logbook", "logs", "Show what plugins and the host log."),
        ("tap", "tap", "tap", "Watch what a stage is given and what it answers."),
        ("why", "why", "why", "Say why a run came out as it did."),
        ("runs", "runs", "runs", "List, show, undo and take up runs."),
        ("breakers", "breakers", "breakers", "Show, force open and reset circuit breakers."),
        ("override", "override", "override", "Make a stage permissive, or disable it, for a while."),
        ("plan", "changing", "plan", "Say what applying the files would change."),
        ("apply", "changing", "apply", "Put the files as they are now into service."),
        ("rollback", "changing", "rollback", "Put an earlier revision into service again."),
        ("history", "changing", "history", "List what was changed, when and by whom."),
        ("diff", "changing", "diff", "Show what a revision changed."),
        ("freeze", "changing", "freeze", "Let the watcher apply nothing."),
        ("thaw", "changing", "thaw", "Let the watcher apply changes again."),
        ("canary", "changing", "canary", "Give a revision on trial more calls, all, or none."),
        ("explain", "explain", "explain", "Say what may stand at a place of a pipeline file, and what does."),
        ("graph", "graph", "graph", "Draw the stages of a file's pipelines."),
        ("plugin", "plugin", "plugin", "Begin, check, test, lock, restart a plugin; run its commands."),
        ("env", "env", "env", "List the stored environments; remove those unused."),
        ("doctor", "doctor", "doctor", "Look for what would keep Penstock from working here."),
        ("completion", "completion", "completion", "Print the completion script of a shell."),
    )
}

GC_ALLOCATIONS = 50_000
"""Objects made between two looks for cycles. What a command makes is trees that it keeps or drops whole, and looking
through them again and again took a twentieth of a lint."""

COMPLETION_VARIABLE = "_PENSTOCK_COMPLETE"
EPILOG = (
    "Plugins bring commands of their own, `penstock NAME ...`; `penstock plugin exec` lists them.\n\n"
    "Exit status: 0 fine, 1 failed, 2 wrong usage, 78 wrong configuration."
)


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"penstock {version('penstock')}")
        ctx.exit()


def _brought(words: list[str]) -> click.Command | None:
    from orchestrator.cli.brought import brought, is_likely

    return brought(words[0], COMMANDS) if is_likely(words) else None


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    others=_brought,
    elsewhere=" Those of plugins need a pipeline.yaml here, --file PATH or --plugin FOLDER.",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--traceback", is_flag=True, envvar="PENSTOCK_TRACEBACK", help="Show where an unexpected error came from."
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_obj
def penstock(invocation: Invocation, traceback: bool) -> None:
    """Run pipelines of isolated plugins for a gateway: YAML in, verdicts out."""
    invocation.traceback = traceback


def _mend_streams() -> None:
    # Whoever closed stdout or stderr wants to hear nothing; without this, writing there would be a bug of ours.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of another encoding shows a question mark where it has no tick.
        sys.stdout.reconfigure(errors="replace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    if COMPLETION_VARIABLE in os.environ:
        penstock.main(prog_name="penstock", complete_var=COMPLETION_VARIABLE, obj=Invocation())
    invocation = Invocation()
    gc.set_threshold(GC_ALLOCATIONS)
    _mend_streams()
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        with penstock.make_context("penstock", words, obj=invocation) as ctx:
            status = penstock.invoke(ctx)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the one place where errors become messages and exit statuses
        return int(report(error, invocation))
    return int(status or 0)
