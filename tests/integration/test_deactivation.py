"""A gateway ends, and another one on the same machine recovers what it left in the bucket."""

from __future__ import annotations

from collections.abc import Callable

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway
from tests.support.two_gateways import block

BLOCK_BYTES = 65536


def test_what_a_deactivated_gateway_left_is_recovered_by_the_next_one(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive(1)
    drive.write_block(block(1, BLOCK_BYTES))
    drive.write_filemarks(1)
    refused = gateway.run("gateway", "deactivate", "--yes")
    assert refused.returncode == ExitCode.ALREADY_SERVING
    changed = gateway.json("gateway", "set", "--name", "basement", "--timezone", "GMT+1:00")
    assert (changed["GatewayName"], changed["GatewayTimezone"]) == ("basement", "GMT+1:00")
    gateway.kill_server()  # what the drive has left open is uploaded before the end

    first = gateway.json("gateway", "show")["GatewayId"]
    done = gateway.json("gateway", "deactivate", "--yes")
    assert (done["GatewayId"], done["Tapes"], done["DryRun"]) == (first, 1, False)
    assert gateway.run("status").returncode == ExitCode.NOT_ACTIVATED
    assert sorted(path.name for path in gateway.cache.iterdir()) == []

    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4")
    (old,) = [one for one in gateway.json("gateway", "list") if one["GatewayId"] == first]
    assert (old["GatewayName"], old["GatewayOperationalState"]) == ("basement", "DISABLED")
    gateway.cli("recovery", "restore", barcode, "--to", "slot:1", "--yes")
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive(1)
    drive.wait_ready()
    drive.rewind()
    assert drive.read_block(BLOCK_BYTES) == block(1, BLOCK_BYTES)
