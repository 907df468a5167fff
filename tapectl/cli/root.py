"""The parser of the whole command line, with help as people write it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from tapectl.cli.commands import app


def root_command() -> Any:  # the parser's own classes have no public names to annotate with
    """Return the parser. Help and manual pages name its arguments as in BARCODE and [DRIVE],
    without the types of Python that the library shows."""
    root = typer.main.get_command(app)
    for command in _with_children(root):
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                _name_plainly(parameter)
    return root


def _with_children(command: Any) -> Iterator[Any]:
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from _with_children(child)


def _name_plainly(argument: Any) -> None:
    name = argument.metavar or argument.name.upper()
    argument.metavar = name
    argument.display_type_rich = lambda ctx: None  # noqa: ARG005
    argument.get_usage_pieces = lambda ctx: [  # noqa: ARG005
        name if argument.required else f"[{name}]"
    ]
