"""Reads YAML that people have written: mistakes are told by their line, and a key that is there
twice is one."""

from __future__ import annotations

from typing import Any

import yaml

from tapectl.errors import UsageError

FORM_HINT = "its form is in library.schema.json"


def read_yaml(text: str, name: str) -> Any:
    """Return what a file of YAML holds, an empty one an empty mapping; `name` is for errors.

    Raises UsageError.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        _require_unique_keys(root, name)
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as exc:
        where = f"{name}, line {exc.problem_mark.line + 1}" if exc.problem_mark else name
        raise UsageError(f"{where}: no YAML: {exc.problem}", hint=FORM_HINT) from exc
    except yaml.YAMLError as exc:
        raise UsageError(f"{name}: no YAML: {' '.join(str(exc).split())}", hint=FORM_HINT) from exc
    return found if found is not None else {}


def _require_unique_keys(root: yaml.Node | None, name: str) -> None:
    """Raise UsageError for a key that is there twice: the reader takes the last one, and what the
    first one said would be forgotten without a word."""
    remaining, known = [root], set[int]()
    while remaining:
        node = remaining.pop()
        if node is None or id(node) in known:  # one that is named by an alias, too
            continue
        known.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            remaining += node.value
        elif isinstance(node, yaml.MappingNode):
            _require_unique_here(node, name)
            remaining += [value for _, value in node.value]


def _require_unique_here(mapping: yaml.MappingNode, name: str) -> None:
    seen: set[str] = set()
    for key, _ in mapping.value:
        word = str(key.value)
        if word in seen:
            line = key.start_mark.line + 1
            raise UsageError(f"{name}, line {line}: {word} is there twice", hint=FORM_HINT)
        seen.add(word)
