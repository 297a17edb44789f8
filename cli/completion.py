"""`asrc completion`: the script that teaches a shell to complete `asrc`."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  asrc completion bash >> ~/.bashrc
    zsh:   asrc completion zsh >> ~/.zshrc
    fish:  asrc completion fish > ~/.config/fish/completions/asrc.fish
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root()
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"click knows no {shell}")
    click.echo(script(root.command, {}, "asrc", "_ASRC_COMPLETE").source())
