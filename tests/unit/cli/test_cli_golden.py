"""The keys of every JSON document: those of the golden file stay, and new ones are entered there.

`TAPECTL_GOLDEN=write` writes the file anew; look at what git says of it then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "json_keys.json"
INITIATOR = "iqn.1993-08.org.debian:01:abc"
# In this order, each on what those before it left.
COMMANDS = (
    "activate --if-not-exists --name test --store {root}/store",
    "gateway show",
    "gateway set --name test",
    "gateway deactivate --dry-run",
    "disk list",
    "disk size --write 1Gbit --upload 100Mbit --hours 8",
    "tape create --size 100GiB --barcode VTL001L5 --to-slots --wait",
    "gateway list",
    "tape list",
    "tape show VTL001L5",
    "tape load VTL001L5 tapedrive-01",
    "tape unload VTL001L5",
    "tape move VTL001L5 slot:5",
    "tape import VTL001L5 {root}/image --format raw",
    "tape warm VTL001L5",
    "tape verify VTL001L5",
    "recovery list VTL001L5",
    "tape eject VTL001L5 --hold 600",
    "tape cancel-eject VTL001L5",
    "tape eject VTL001L5 --wait",
    "archive list",
    "archive show VTL001L5",
    "tape retrieve VTL001L5",
    "tape cancel-retrieve VTL001L5",
    "key create",
    "key list",
    "key export {root}/tapes.keys",
    "pool create ledger --storage-class GLACIER",
    "pool list",
    "pool show ledger",
    "tape assign-pool VTL001L5 ledger",
    "tag add VTL001L5 department=it",
    "tag list VTL001L5",
    "autocreate set BKP --minimum 1 --size 1TiB",
    "autocreate show",
    "bandwidth set --upload 1Gbit",
    "bandwidth show",
    "device list",
    "device show mediachanger",
    "device allow tapedrive-01 {initiator}",
    "chap set discovery {initiator} --secret-file {root}/secret",
    "chap list",
    "apply -f {root}/library.yaml --dry-run",
    "events",
    "sync",
    "status",
    "archive delete VTL001L5 --yes --wait",
)

# Commands that are no verb of a noun.
ALONE = frozenset({"activate", "apply", "events", "sync", "status"})


def keys_of(document: Any) -> Any:
    """Return the keys of an object, or of the first one of an array, as deep as they go."""
    if isinstance(document, list):
        return keys_of(document[0]) if document else {}
    if not isinstance(document, Mapping):
        return {}
    # What stands in these is data, by name.
    named = {"TapesByStatus", "Detail"}
    return {key: {} if key in named else keys_of(value) for key, value in sorted(document.items())}


def missing(golden: Any, found: Any, path: str = "") -> list[str]:
    """Return the paths of the keys that are in `golden` and not in `found`."""
    lost = []
    for key, inner in golden.items():
        if key in found:
            lost += missing(inner, found[key], f"{path}{key}.")
        else:
            lost.append(f"{path}{key}")
    return lost


def test_no_key_goes_and_every_new_one_is_entered(
    active: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "image").write_bytes(b"x" * 100_000)
    (tmp_path / "secret").write_text("correct horse 1\n")
    (tmp_path / "library.yaml").write_text("tapes: [{barcode: VTL009L5, size: 1TiB}]")
    found = {}
    for command in COMMANDS:
        words = command.format(root=tmp_path, initiator=INITIATOR).split()
        capsys.readouterr()
        assert active(*words, "--output", "json") == 0, (command, capsys.readouterr().err)
        name = words[0] if words[0] in ALONE else " ".join(words[:2])
        found[name] = keys_of(json.loads(capsys.readouterr().out))
    if os.environ.get("TAPECTL_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert missing(golden, found) == [], "keys that scripts may read are gone"
    assert missing(found, golden) == [], "new keys: run the test with TAPECTL_GOLDEN=write"
