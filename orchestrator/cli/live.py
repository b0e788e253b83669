"""Views that stay on the screen and change. Off a terminal each is printed once under the other, without colours."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import RenderableType
from rich.live import Live

from orchestrator.cli.terminal import console

__all__ = ["show_each"]


def show_each(views: Iterable[RenderableType]) -> None:
    """Show one view after the other, in the same place on a terminal. Ctrl-C is how one leaves: it ends this."""
    screen = console()
    try:
        if not sys.stdout.isatty():
            for view in views:
                screen.print(view)
                screen.print()
                sys.stdout.flush()
            return
        with Live(console=screen, screen=True, auto_refresh=False) as live:
            for view in views:
                live.update(view, refresh=True)
    except KeyboardInterrupt:
        return
