"""Any sequence of keys, modes, writes and reads against a model that only keeps books."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tapectl.scsi.cartridge import EncryptedBlock
from tapectl.scsi.logical_unit import Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.encryption import (
    ALL_NEXUSES,
    DECRYPT,
    DISABLE,
    ENCRYPT,
    LOCAL,
    MIXED,
    PUBLIC,
    RAW,
    EncryptionStatus,
    NextBlockStatus,
    set_page,
    spin_cdb,
    spout_cdb,
)
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

KEYS = [bytes((number,)) * 32 for number in range(3)]
CLIENTS = 3

clients = st.integers(0, CLIENTS - 1)
keys = st.integers(0, len(KEYS) - 1)


@dataclass
class Chosen:
    """What a client has set: `key` is an index, None where there is none."""

    encryption: int = DISABLE
    decryption: int = DISABLE
    key: int | None = None


@dataclass
class Books:
    """The model: whose parameters count, and with which key each block was written."""

    own: dict[int, Chosen] = field(default_factory=dict)
    shared: Chosen | None = None
    sharer: int | None = None
    blocks: list[tuple[bytes, int | None]] = field(default_factory=list)

    def of(self, client: int) -> Chosen:
        return self.own.get(client) or self.shared or Chosen()

    def set(self, client: int, scope: int, chosen: Chosen) -> None:
        if scope == ALL_NEXUSES:
            self.own.pop(client, None)
            self.shared, self.sharer = chosen, client
            return
        if self.sharer == client:
            self.shared = self.sharer = None
        self.own.pop(client, None)
        if scope == LOCAL:
            self.own[client] = chosen

    def sense_of(self, client: int, block_key: int | None) -> tuple[int, int, int] | None:
        """What reading a block ends with, None for success."""
        chosen = self.of(client)
        if block_key is None:
            return (7, 0x74, 2) if chosen.decryption == DECRYPT else None
        if chosen.decryption == DISABLE:
            return (7, 0x74, 1)
        if chosen.decryption == RAW:
            return (7, 0x74, 0x0A)
        return None if chosen.key == block_key else (7, 0x74, 3)


class EncryptionMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.tape = MemoryCartridge()
        self.drive = TapeDrive(
            DRIVE_PERSONALITIES["IBM-ULT3580-TD5"],
            serial="TD00000001",
            random=random.Random(4).randbytes,
        )
        self.drive.load(self.tape, attention=False)
        self.hosts = [
            Initiator(self.drive, f"iqn.2025-01.test:{number},i,0x01") for number in range(CLIENTS)
        ]
        self.books = Books()

    def hear(self, client: int) -> Initiator:
        """Return a client that has heard every attention that waits for it."""
        host = self.hosts[client]
        while host.send("00").status is not Status.GOOD:
            pass
        return host

    @rule(
        client=clients,
        scope=st.sampled_from([PUBLIC, LOCAL, ALL_NEXUSES]),
        encryption=st.sampled_from([DISABLE, ENCRYPT]),
        decryption=st.sampled_from([DISABLE, RAW, DECRYPT, MIXED]),
        key=keys,
    )
    def set_parameters(
        self, client: int, scope: int, encryption: int, decryption: int, key: int
    ) -> None:
        page = set_page(encryption, decryption, KEYS[key], scope=scope)
        self.hear(client).good(spout_cdb(page), page)
        self.books.set(client, scope, Chosen(encryption, decryption, key))

    @rule(client=clients, size=st.integers(1, 700))
    def append(self, client: int, size: int) -> None:
        host = self.hear(client)
        host.good(host.space_cdb(3, 0))
        block = random.Random(size).randbytes(size)
        assert host.write(block).status is Status.GOOD
        chosen = self.books.of(client)
        self.books.blocks.append((block, chosen.key if chosen.encryption == ENCRYPT else None))

    @rule(client=clients, draw=st.floats(0, 1))
    def cut(self, client: int, draw: float) -> None:
        """Go somewhere and erase."""
        number = int(draw * len(self.books.blocks))
        host = self.hear(client)
        host.good(b"\x2b\0\0" + number.to_bytes(4, "big") + b"\0\0\0")
        host.good("19")
        del self.books.blocks[number:]

    @rule(client=clients, draw=st.floats(0, 1, exclude_max=True))
    def read(self, client: int, draw: float) -> None:
        if not self.books.blocks:
            return
        number = int(draw * len(self.books.blocks))
        block, key = self.books.blocks[number]
        host = self.hear(client)
        host.good(b"\x2b\0\0" + number.to_bytes(4, "big") + b"\0\0\0")
        expected = self.books.sense_of(client, key)
        if expected is None:
            assert host.read(len(block)) == block
            assert host.position() == number + 1
        else:
            assert host.check(host.read_cdb(len(block))).code == expected
            assert host.position() == number

    @rule(client=clients)
    def lose(self, client: int) -> None:
        self.drive.nexus_lost(self.hosts[client].nexus)
        self.books.own.pop(client, None)

    @rule()
    def reset(self) -> None:
        self.drive.logical_unit_reset()
        self.books.own.clear()
        self.books.shared = self.books.sharer = None

    @rule(client=clients)
    def ask(self, client: int) -> None:
        host, chosen = self.hear(client), self.books.of(client)
        status = EncryptionStatus.decode(host.good(spin_cdb(0x20)))
        assert status.modes == (chosen.encryption, chosen.decryption)
        host.rewind()
        block = NextBlockStatus.decode(host.good(spin_cdb(0x21)))
        if not self.books.blocks:
            assert block.encryption == 2
        elif self.books.blocks[0][1] is None:
            assert block.encryption == 3
        else:
            able = chosen.decryption in (DECRYPT, MIXED) and chosen.key == self.books.blocks[0][1]
            assert block.encryption == (5 if able else 6)

    @invariant()
    def the_volume_tells_of_its_encrypted_blocks(self) -> None:
        keys = [key for _, key in self.books.blocks]
        encrypted = next((at for at, key in enumerate(keys) if key is not None), None)
        plain = None
        if encrypted is not None:
            after = (at for at, key in enumerate(keys) if key is None and at > encrypted)
            plain = next(after, None)
        for identifier, number in ((0x0224, encrypted), (0x0225, plain)):
            stored = self.tape.attribute(0, identifier)
            assert (stored and int.from_bytes(stored.value, "big")) == number

    @invariant()
    def the_medium_never_shows_what_was_encrypted(self) -> None:
        for recorded, (block, key) in zip(self.tape.objects, self.books.blocks, strict=True):
            assert isinstance(recorded, EncryptedBlock) is (key is not None)
            if isinstance(recorded, EncryptedBlock) and len(block) >= 8:
                assert block not in recorded.data


TestEncryption = EncryptionMachine.TestCase
TestEncryption.settings = settings(max_examples=250, stateful_step_count=30, deadline=None)
