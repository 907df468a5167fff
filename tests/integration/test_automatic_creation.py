"""Backup software imports a tape, and a new one stands in its place."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.gateway import Gateway, wait_until


def test_an_imported_tape_is_replaced(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4")
    rule = gateway.json("autocreate", "set", "BKP", "--minimum", "2", "--size", "100GiB")
    assert rule["MinimumNumTapes"] == 2
    gateway.serve()

    def waiting() -> list[str]:
        return [
            tape["TapeBarcode"]
            for tape in gateway.json("tape", "list", "BKP*", "--status", "AVAILABLE")
            if tape["Location"].startswith("import/export")
        ]

    wait_until(lambda: len(waiting()) == 2, "two tapes", 60)
    imported = waiting()[0]
    gateway.changer().load(imported, 0)
    wait_until(lambda: len(waiting()) == 2, "a third tape", 60)
    assert imported not in waiting()
    assert len(gateway.barcodes()) == 3
    (shown,) = gateway.json("autocreate", "show")
    assert shown["AvailableTapes"] == 2
    gateway.cli("autocreate", "delete", "BKP", "--yes")
    assert gateway.json("autocreate", "show") == []
