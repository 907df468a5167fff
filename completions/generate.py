"""Write the completion scripts beside this file: `python completions/generate.py`."""

from __future__ import annotations

from pathlib import Path

from tapectl.cli.completion import Shell, script

# Where each shell's completion directory wants it: the name is the command.
FILE_NAMES = {Shell.BASH: "tapectl", Shell.ZSH: "_tapectl", Shell.FISH: "tapectl.fish"}


def generate() -> dict[str, str]:
    """Return file name → content."""
    return {name: script(shell) for shell, name in FILE_NAMES.items()}


if __name__ == "__main__":
    for name, text in generate().items():
        (Path(__file__).parent / name).write_text(text)
