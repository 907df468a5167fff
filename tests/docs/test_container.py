"""The container recipe agrees with the project and with its example. No engine is needed: what it
runs is run by tests/integration/test_service.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from tests.docs.test_wheel import SOURCES
from tests.support.clients import PROJECT
from tests.support.command_lines import CommandLine, refusal

FOLDER = PROJECT / "docs" / "container"


def instructions() -> list[tuple[str, str]]:
    """Return the recipe's instructions, in order, each with what follows it."""
    text = (FOLDER / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def last(name: str) -> str:
    return [rest for word, rest in instructions() if word == name][-1]


def service() -> dict[str, Any]:
    document = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    found: dict[str, Any] = document["services"]["tapectl"]
    return found


def test_it_copies_what_a_wheel_is_made_of() -> None:
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY"]
    names = {name for names in copied for name in names if not name.startswith("--from")}
    assert names - {"/opt/tapectl"} == set(SOURCES)


def test_it_runs_as_a_user_without_rights_who_can_write_its_volumes() -> None:
    user, _, group = last("USER").partition(":")
    assert min(int(user), int(group)) > 0
    made = next(rest for word, rest in instructions() if rest.startswith("install -d"))
    assert f"-o {user} -g {group}" in made
    volumes = json.loads(last("VOLUME"))
    assert made.split()[-len(volumes) :] == volumes
    assert [volume.split(":")[1] for volume in service()["volumes"]] == volumes


def test_what_it_runs_is_what_tapectl_takes() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["tapectl"]
    health = re.search(r"CMD tapectl ([^|]*)", last("HEALTHCHECK"))
    assert health is not None
    for words in (json.loads(last("CMD")), health[1].split()):
        assert refusal(CommandLine("Containerfile", tuple(words), whole=True)) is None
    assert f"{last('EXPOSE')}:{last('EXPOSE')}" in service()["ports"]


def test_the_example_builds_this_recipe() -> None:
    build = service()["build"]
    assert (FOLDER / build["context"]).resolve() == PROJECT
    assert (PROJECT / build["dockerfile"]).samefile(FOLDER / "Containerfile")
