"""`tapectl completion`: TAB in bash, zsh and fish."""

from __future__ import annotations

import enum
import sys
from typing import Annotated, NoReturn

import typer

from tapectl.cli.options import examples

app = typer.Typer(no_args_is_help=True, help="Complete commands, barcodes and devices with TAB.")

COMPLETE_VARIABLE = "_TAPECTL_COMPLETE"
"""Set by the shell's script to ask this program for completions."""


class Shell(enum.StrEnum):
    """The shells with a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


ShellArgument = Annotated[Shell, typer.Argument(show_default=False, help="Which shell.")]


def script(shell: Shell) -> str:
    """Return the completion script of a shell, ending in a line end."""
    from typer._completion_shared import get_completion_script

    text = get_completion_script(
        prog_name="tapectl", complete_var=COMPLETE_VARIABLE, shell=shell.value
    )
    return text + "\n"


def answer(root: typer.Typer) -> NoReturn:
    """Answer a script, and exit; call it when COMPLETE_VARIABLE is set."""
    from typer._completion_classes import completion_init

    completion_init()
    sys.exit(root(prog_name="tapectl"))


@app.command(
    "show",
    epilog=examples(
        ('eval "$(tapectl completion show bash)"', "for this shell only"),
        ("tapectl completion show fish > tapectl.fish", "for a package"),
    ),
)
def show(shell: ShellArgument) -> None:
    """Write the completion script of a shell to standard output."""
    typer.echo(script(shell), nl=False)


@app.command("install", epilog=examples(("tapectl completion install bash", "from the next shell")))
def install(shell: ShellArgument) -> None:
    """Install the completion script in your home directory."""
    from typer._completion_shared import install as install_script

    _, path = install_script(shell=shell.value, prog_name="tapectl", complete_var=COMPLETE_VARIABLE)
    typer.echo(f"installed {path}; it works from the next {shell.value} on")
