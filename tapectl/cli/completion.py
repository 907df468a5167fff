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


ShellArgument = Annotated[
    Shell, typer.Argument(show_default=False, help="Which shell: bash, zsh or fish.")
]


# typer's own takes the words as bash parts them, at ':' and '=' too, which are within words of
# ours. This one gives the line as it is, as fish does, and takes the answer that fish gets: a
# candidate a line, and after a tab what it is.
BASH_SCRIPT = """\
_tapectl_completion() {
    local line=${COMP_LINE:0:COMP_POINT} word
    mapfile -t COMPREPLY < <(env _TAPECTL_COMPLETE=complete_fish \\
        _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS="$line" "$1" 2>/dev/null)
    COMPREPLY=("${COMPREPLY[@]%%$'\\t'*}")
    # Where bash parts words at ':', a candidate goes behind the last one there is.
    if [[ $COMP_WORDBREAKS == *:* ]]; then
        word=${line##*[[:blank:]]}
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}

complete -o default -F _tapectl_completion tapectl
"""


# typer's own defines a function only when zsh loads it for the first TAB, which completes nothing.
ZSH_SCRIPT = """\
#compdef tapectl

_tapectl_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _TAPECTL_COMPLETE=complete_zsh tapectl)
}

if [[ $funcstack[1] == _tapectl ]]; then
  _tapectl_completion
else
  compdef _tapectl_completion tapectl
fi
"""


def script(shell: Shell) -> str:
    """Return the completion script of a shell, ending in a line end."""
    from typer._completion_shared import get_completion_script

    match shell:
        case Shell.BASH:
            return BASH_SCRIPT
        case Shell.ZSH:
            return ZSH_SCRIPT
        case Shell.FISH:
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
    path.write_text(script(shell))
    typer.echo(f"installed {path}; it works from the next {shell.value} on")
