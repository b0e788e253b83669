"""`penstock completion`: the script that teaches a shell our words. Completing itself is click's."""

from __future__ import annotations

import click

__all__ = ["completion"]


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "fish", "zsh"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL on stdout.

    \b
    bash:  eval "$(penstock completion bash)"     in ~/.bashrc
    zsh:   eval "$(penstock completion zsh)"      in ~/.zshrc
    fish:  penstock completion fish | source      in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    from orchestrator.cli.main import COMPLETION_VARIABLE, penstock

    style = get_completion_class(shell)
    assert style is not None
    click.echo(style(penstock, {}, "penstock", COMPLETION_VARIABLE).source())
