"""A click group that knows its commands by name and imports one only when it is used. It prints nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import click

__all__ = ["LazyCommand", "LazyGroup"]


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command lives and the line that `--help` shows without importing it."""

    module: str
    name: str
    short_help: str


class LazyGroup(click.Group):
    """A group whose commands are a table. Each imported command must repeat the table's short help; a test holds it.

    `others` is asked for a command that is not in the table, with all words of the call, and may have none; `elsewhere`
    says then where else there may be commands.
    """

    def __init__(
        self,
        *args: object,
        table: Mapping[str, LazyCommand],
        others: Callable[[list[str]], click.Command | None] = lambda words: None,
        elsewhere: str = "",
        **more: object,
    ) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]  # click's own, untouched
        self.table = table
        self.others = others
        self.elsewhere = elsewhere

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which is the order of use."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(entry.module), entry.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in self.table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        name = args[0]
        if name not in self.table and not ctx.resilient_parsing and not name.startswith("-"):
            other = self.others(args)
            if other is not None:
                return name, other, args[1:]
            from pipelines.suggest import nearest

            close = nearest(name, self.table)
            meant = f" Did you mean {close!r}?" if close else ""
            raise click.UsageError(f"No such command {name!r}.{meant}{self.elsewhere}", ctx)
        return super().resolve_command(ctx, args)
