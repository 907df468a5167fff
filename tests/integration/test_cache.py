"""What stays in the cache when it becomes full: the tapes that initiators read last."""

from __future__ import annotations

from collections.abc import Callable

from tapectl.state import segments
from tapectl.state.database import State
from tests.support.gateway import Gateway, wait_until
from tests.support.two_gateways import block

BLOCK_BYTES = 512 << 10
BLOCKS = 10
SMALL = ("--size", "16MiB", "--allow-small")


def test_a_tape_that_is_read_again_stays_and_one_that_was_written_later_goes(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(segment_bytes="1MiB")
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4", disk_options=SMALL)
    often, once, new = gateway.create_tapes("--count", "3")
    gateway.serve()

    def use(barcode: str, *, write: bool) -> None:
        gateway.load(barcode)
        drive = gateway.drive(1)
        for seed in range(BLOCKS):
            if write:
                drive.write_block(block(seed, BLOCK_BYTES))
            else:
                assert drive.read_block(BLOCK_BYTES) == block(seed, BLOCK_BYTES)
        drive.session.logout()
        gateway.cli("tape", "unload", barcode)
        wait_until(lambda: gateway.ask("status")["WaitingBytes"] == 0, "the upload", 30)

    use(often, write=True)
    use(once, write=True)
    use(often, write=False)
    assert cached(gateway, often) == cached(gateway, once) > BLOCKS // 2
    use(new, write=True)
    wait_until(lambda: cached(gateway, once) < cached(gateway, new), "room in the cache", 30)
    assert cached(gateway, often) == cached(gateway, new)


def cached(gateway: Gateway, barcode: str) -> int:
    """Return how many segments of a tape the cache has."""
    with State.open(gateway.state) as state, state.read() as db:
        found = segments.of_tape(db, barcode)
    return sum(one.cache_disk_id is not None for one in found)
