"""Any CDB with any data, from several nexuses, on a drive with any cartridge in it or none."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tapectl.scsi.cartridge import CartridgeBusyError, StoredAttribute
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.media import LTO_MEDIA
from tapectl.scsi.mode_pages import ALL_PAGES, ALL_SUBPAGES, PageControl
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.sense import SenseKey
from tapectl.scsi.ssc import TapeDrive
from tapectl.scsi.ssc.commands import commands_of
from tests.fuzz.cases import TIMEOUT, fuzz
from tests.fuzz.commands import NEXUSES, Field, Step, Theme, Vocabulary, steps
from tests.fuzz.learning import asking, learn_spc
from tests.fuzz.replies import check_reply
from tests.support.memory_cartridge import MemoryCartridge

pytestmark = TIMEOUT

_COUNTS = (0, 1, 1, 2, 3, 5, 10, 64, 100, 512, 4096, 0xFFFFFF, -1, -2, -3)
_PARTITIONS = (0, 0, 0, 1, 2, 3)
_CAPACITY_BYTES = 8192

# How often it was formatted, and what hosts have written (SPC-5, attributes of host type).
_WATCHED_ATTRIBUTES = {0x0007, *range(0x0800, 0x0C00)}

# What happens to a drive besides commands.
_EVENTS = ("nexus lost", "reset", "unload", "load", "power on", "reads fail", "writes fail")


def cartridge(kind: str, generation: int) -> MemoryCartridge | None:
    """Return a small tape with something on it, of this generation unless it is to be another."""
    if kind == "none":
        return None
    tape = MemoryCartridge(
        capacity_bytes=_CAPACITY_BYTES,
        write_protected=kind == "write protected",
        worm=kind == "WORM",
        generation={"old": min(LTO_MEDIA), "new": max(LTO_MEDIA)}.get(kind, generation),
        cleaning=kind == "cleaning",
    )
    if kind == "partitioned":
        partitions = LTO_MEDIA[generation].partitions
        tape.format([_CAPACITY_BYTES // partitions] * partitions)
    tape.partition_objects[0] = [b"x" * 100, b"y" * 64, None, b"z" * 512, None, None, b"w" * 64]
    tape.set_attributes({(0, 0x0803): StoredAttribute(2, b"label".ljust(160))})
    return tape


TAPES = st.sampled_from(
    ("plain", "plain", "partitioned", "none", "write protected", "WORM", "old", "new", "cleaning")
)
PERSONALITIES = st.sampled_from(sorted(DRIVE_PERSONALITIES))


def new_drive(personality: str, tape: str) -> TapeDrive:
    drive = TapeDrive(
        DRIVE_PERSONALITIES[personality],
        serial="TD00000001",
        target_name="iqn.2000-01.test:drive",
        # The same each time: a command that is run again must end the same way.
        random=bytes,
        now_ms=lambda: 1_700_000_000_000,
    )
    loaded = cartridge(tape, drive.personality.generation.number)
    if loaded is not None:
        drive.load(loaded)
    return drive


def _encryption_lists() -> Iterator[bytes]:
    """Set Data Encryption pages: every scope and mode, with and without a key (SSC-5 8.5.3.2)."""
    for scope, encrypt, decrypt, key in itertools.product(
        (0, 1, 2), (0, 1, 2), (0, 1, 2, 3), (b"", b"k" * 32, b"l" * 32)
    ):
        body = struct.pack(">BBBBBB8xH", scope << 5, 0, encrypt, decrypt, 1, 0, len(key)) + key
        yield struct.pack(">HH", 0x0010, len(body)) + body


def vocabulary() -> Vocabulary:
    drive = new_drive("IBM-ULT3580-TD8", "plain")
    ask = asking(drive)
    codes, lists = learn_spc(ask)
    attributes = ask("8c 00 000000 00 00 0000 00001000 0000")
    identifiers = ask("8c 01 000000 00 00 0000 00001000 0000")[4:]
    codes[0x8C] = [
        {8: high, 9: low} for high, low in zip(identifiers[::2], identifiers[1::2], strict=True)
    ]
    codes[0xA2] = [{1: 0, 2: 0, 3: 0}, {1: 0, 2: 0, 3: 1}]
    pages = ask("a2 20 0000 0000 00001000 0000")[4:]
    codes[0xA2] += [
        {1: 0x20, 2: high, 3: low} for high, low in zip(pages[::2], pages[1::2], strict=True)
    ]
    codes[0xB5] = [{1: 0x20, 2: 0, 3: 0x10, 4: 0}]
    blocks = [b"a" * 64, b"b" * 10, b"c" * 128, b"", b"d" * 500, b"x" * 100, b"y" * 64]
    label = struct.pack(">HBH", 0x0803, 2, 5) + b"other"
    coherency = struct.pack(">HBH", 0x080C, 0, 20) + b"\x08" + bytes(19)
    lists |= {
        0x0A: blocks,
        0x13: blocks,
        0x8D: [
            *(
                struct.pack(">I", len(body)) + body
                for body in (label, coherency, label + coherency)
            ),
            struct.pack(">I", len(attributes) - 4) + attributes[4:],
            bytes(4),
        ],
        0xB5: list(_encryption_lists()),
    }
    count_6, count_16 = Field(2, 3, _COUNTS), Field(4, 8, _COUNTS)
    fields = {
        0x08: [count_6],
        0x0A: [count_6],
        0x10: [count_6],
        0x11: [count_6],
        0x13: [count_6],
        0x2B: [Field(3, 4, _COUNTS), Field(8, 1, _PARTITIONS)],
        0x91: [count_16],
        0x92: [count_16, Field(3, 1, _PARTITIONS)],
    }
    return Vocabulary(commands_of(max(LTO_MEDIA)).rows, fields, codes, lists)


VOCABULARY = vocabulary()
_MOTION = (0x01, 0x08, 0x0A, 0x10, 0x11, 0x13, 0x19, 0x1B, 0x2B, 0x34, 0x91, 0x92)
THEMES = tuple(
    Theme(VOCABULARY, _EVENTS, *opcodes)
    for opcodes in (
        (),
        _MOTION,
        (*_MOTION, 0x15, 0x1A),
        (*_MOTION, 0xA2, 0xB5),
        (0x01, 0x04, 0x0A, 0x0B, 0x15, 0x2B, 0x34, 0x55, 0x82, 0x8C, 0x8D, 0x92),
        (0x00, 0x03, 0x08, 0x0A, 0x15, 0x16, 0x17, 0x1E, 0x5E, 0x5F),
        (0x03, 0x15, 0x1A, 0x4C, 0x4D, 0x55, 0x5A),
    )
)


_KEY_1, _KEY_2 = (struct.pack(">QQ8x", 0, key) for key in (1, 2))
_HOLD = struct.pack(">QQ8x", 1, 0)
_ENCRYPT = struct.pack(">HHBBBBBB8xH", 0x0010, 48, 2 << 5, 0, 2, 2, 1, 0, 32) + b"k" * 32
# What has been done to the drive before: states that chance seldom reaches.
PROLOGUES = st.sampled_from(
    (
        (),
        ((0, "1510000010", bytes.fromhex("00000008 00000000 00000040")),),
        ((0, "16", b""),),
        ((0, "b5200010000000000034", _ENCRYPT), (0, "0a00000040", b"s" * 64)),
        *(
            (
                (0, "5f00000000000000180000", _KEY_1),
                (1, "5f00000000000000180000", _KEY_2),
                (0, f"5f01{kind:02x}0000000000180000", _HOLD),
            )
            for kind in (1, 3, 5, 6, 7, 8)
        ),
    )
)
Prologue = tuple[tuple[int, str, bytes], ...]


def set_up(drive: TapeDrive, prologue: Prologue) -> None:
    for nexus, cdb, data_out in prologue:
        raw = bytes.fromhex(cdb).ljust(16, b"\0")
        drive.execute(NEXUSES[nexus], raw, memoryview(data_out))


def tape_state(drive: TapeDrive) -> Any:
    """Return the cartridge, its position and what hosts have put on it, as values."""
    tape = drive.cartridge
    if tape is None:
        return None
    assert isinstance(tape, MemoryCartridge)
    objects = [list(partition) for partition in tape.partition_objects]
    place = (drive.threaded, tape.partition, tape.position, tuple(tape.sizes))
    # Attributes of other ranges are the drive's own statistics.
    kept = {key: value for key, value in tape.attributes.items() if key[1] in _WATCHED_ATTRIBUTES}
    return place, objects, kept


def settings_state(drive: TapeDrive) -> Any:
    """Return what commands set in the drive, as values."""
    server = drive.server
    pages = [
        server.mode_pages.sense(ALL_PAGES, ALL_SUBPAGES, PageControl.CURRENT, nexus)
        for nexus in NEXUSES
    ]
    reserved = server.reservations.legacy_holder, server.reservations.persistent
    encryption = [(drive.encryption.scope(n), drive.encryption.parameters(n)) for n in NEXUSES]
    return pages, drive.mode_header(), reserved, encryption, set(server.removal_preventers)


def happen(drive: TapeDrive, event: str, nexus: str) -> None:
    tape = drive.cartridge
    match event:
        case "nexus lost":
            drive.nexus_lost(nexus)
        case "reset":
            drive.logical_unit_reset()
        case "unload":
            drive.unload()
        case "load" if tape is None:
            new = cartridge("plain", drive.personality.generation.number)
            assert new is not None
            drive.load(new)
        case "power on":
            drive.power_on_attention()
        case "reads fail" if isinstance(tape, MemoryCartridge):
            tape.fail_reads = not tape.fail_reads
        case "writes fail" if isinstance(tape, MemoryCartridge):
            tape.fail_writes = not tape.fail_writes


def run_step(drive: TapeDrive, theme: Theme, step: Step) -> None:
    row = theme.choose(step.what)
    if isinstance(row, str):
        happen(drive, row, step.nexus)
        return
    cdb, data_out = VOCABULARY.assemble(row, step.style, step.noise, step.mutation)
    lun = 1 if step.noise[17] == 0xFF else 0
    before = tape_state(drive), settings_state(drive)
    block_bytes = drive.parameters.block_bytes
    reply = drive.execute(step.nexus, cdb, memoryview(data_out), lun)
    key = check_reply(cdb, reply, block_bytes=block_bytes)
    if key == SenseKey.ILLEGAL_REQUEST or reply.status is Status.RESERVATION_CONFLICT:
        after = tape_state(drive), settings_state(drive)
        assert after == before, f"{row.name} was refused and has changed something: {cdb.hex()}"


@fuzz()
@given(steps(), st.sampled_from(THEMES), PERSONALITIES, TAPES, PROLOGUES)
def test_every_reply_is_legal_and_a_refusal_changes_nothing(
    sequence: list[Step], theme: Theme, personality: str, tape: str, prologue: Prologue
) -> None:
    drive = new_drive(personality, tape)
    set_up(drive, prologue)
    for step in sequence:
        run_step(drive, theme, step)


@fuzz(0.2)
@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(max_size=64))), TAPES)
def test_bytes_without_any_bias(commands: list[tuple[bytes, bytes]], tape: str) -> None:
    drive = new_drive("IBM-ULT3580-TD9", tape)
    for cdb, data_out in commands:
        if cdb[0] == 0x10:  # that many filemarks are objects in memory
            continue
        block_bytes = drive.parameters.block_bytes
        check_reply(cdb, drive.execute("any", cdb, memoryview(data_out)), block_bytes=block_bytes)


class HesitantCartridge(MemoryCartridge):
    """Has something to wait for, the n-th time it is asked for anything that may have to wait.

    That is at most once a command: how it goes on is seen when it is run again.
    """

    def __init__(self, pattern: bytes, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._pattern = itertools.cycle(pattern or b"\0")
        self.willing = True

    def _may_be_busy(self, method: str) -> None:
        if not self.willing and next(self._pattern) & 1:
            self.willing = True
            raise CartridgeBusyError(method)


def before_the_position(tape: MemoryCartridge) -> Any:
    """Return what must be as it was after a command that has to wait: it will be run again.

    What is at the position and after it may be gone already, when the command was to write there.
    """
    written = list(tape.objects[: tape.position])
    others = [list(o) for n, o in enumerate(tape.partition_objects) if n != tape.partition]
    return tape.partition, tape.position, tuple(tape.sizes), written, others


def insist(drive: TapeDrive, nexus: str, cdb: bytes, data_out: bytes) -> Reply:
    """Run a command until it goes on, as the connection loop does."""
    tape = drive.cartridge
    assert isinstance(tape, HesitantCartridge)
    for attempt in range(20):
        before = before_the_position(tape), settings_state(drive)
        tape.willing = attempt == 19
        try:
            return drive.execute(nexus, cdb, memoryview(data_out))
        except CartridgeBusyError:
            after = before_the_position(tape), settings_state(drive)
            assert after == before, f"has to wait and has changed something: {cdb.hex()}"
        finally:
            tape.willing = True
    raise AssertionError("a willing cartridge is not busy")


@fuzz(0.3)
@given(
    steps(), st.sampled_from(THEMES), PROLOGUES, st.binary(min_size=1, max_size=5), st.booleans()
)
def test_a_command_that_had_to_wait_ends_as_one_that_had_not(
    sequence: list[Step], theme: Theme, prologue: Prologue, pattern: bytes, partitioned: bool
) -> None:
    drives = [new_drive("IBM-ULT3580-TD8", "none") for _ in range(2)]
    for drive, hesitation in zip(drives, (b"\0", pattern), strict=True):
        tape = HesitantCartridge(hesitation, capacity_bytes=_CAPACITY_BYTES, generation=8)
        if partitioned:
            tape.format([_CAPACITY_BYTES // 2] * 2)
            tape.partition_objects[1] += [b"w" * 64, None, None]
        tape.objects.extend([b"x" * 100, b"y" * 64, None, b"z" * 512])
        drive.load(tape)
        set_up(drive, prologue)
    for step in sequence:
        row = theme.choose(step.what)
        if isinstance(row, str):
            continue
        cdb, data_out = VOCABULARY.assemble(row, step.style, step.noise, step.mutation)
        straight, waited = (insist(drive, step.nexus, cdb, data_out) for drive in drives)
        assert (waited.status, waited.sense) == (straight.status, straight.sense), row.name
        assert tape_state(drives[0]) == tape_state(drives[1]), row.name
