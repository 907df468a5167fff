"""CDBs with their data, biased to what a device knows: its command table and its own pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tapectl.scsi.command_table import Command
from tests.fuzz.replies import ALLOCATION_LENGTH

NEXUSES = ("iqn.2000-01.test:one,i,0x01", "iqn.2000-01.test:two,i,0x02", "three")
NOISE_BYTES = 18

# Where the parameter list length of a command is: first byte and bytes.
PARAMETER_LIST_LENGTH = {
    0x15: (4, 1),  # MODE SELECT(6)
    0x1D: (3, 2),  # SEND DIAGNOSTIC
    0x3B: (6, 3),  # WRITE BUFFER
    0x4C: (7, 2),  # LOG SELECT
    0x55: (7, 2),  # MODE SELECT(10)
    0x5F: (5, 4),  # PERSISTENT RESERVE OUT
    0x8D: (10, 4),  # WRITE ATTRIBUTE
    0xA4: (6, 4),  # MAINTENANCE OUT
    0xB5: (6, 4),  # SECURITY PROTOCOL OUT
    0xB6: (8, 2),  # SEND VOLUME TAG
}
_WRITE_6, _VERIFY_6 = 0x0A, 0x13
_FIXED = 0x01
# Of a fixed-block write; one of the block lengths that MODE SELECT is made to set.
FIXED_BLOCK_BYTES = 64
# As many as are asked for are objects in a memory cartridge.
_WRITE_FILEMARKS = {0x10: slice(2, 4), 0x80: slice(4, 14)}

STYLES = 8
_STEPS_MAX = 24
# What the first of two bytes of a mutation does to a parameter list, from these values on.
_CHANGE, _STRETCH, _CUT = 0x60, 0xE8, 0xF4
# So many commands are about as likely as one event.
_ROWS_AN_EVENT = 8
_WITH_CODES, _ONLY_CODES = 3, 5
_SMALL = (0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 8, 0x3F, 0x80, 0xFF)
_ALLOCATION_LENGTHS = (0xFFFF, 0xFFFF, 0xFFFF, 0xFF, 0x100, 0x40, 18, 8, 5, 4, 1, 0)
_LITTLE_SKEW = (0, 0, 0, 0, 0, 0, 0, -1, 1, 4)


@dataclass(frozen=True)
class Field:
    """Where a CDB has a number, and numbers that mean something there."""

    at: int
    size_bytes: int
    values: Sequence[int]


@dataclass(frozen=True)
class Vocabulary:
    """What makes CDBs that go deep.

    By operation code: `fields` are numbers; `codes` are what several bytes are at the same time (a
    page and its subpage), by position; `data_out` are parameter lists like those the device gives.
    """

    rows: Sequence[Command[object]]
    fields: Mapping[int, Sequence[Field]] = field(default_factory=dict)
    codes: Mapping[int, Sequence[Mapping[int, int]]] = field(default_factory=dict)
    data_out: Mapping[int, Sequence[bytes]] = field(default_factory=dict)

    def assemble(
        self, row: Command[object], style: int, noise: bytes, mutation: bytes
    ) -> tuple[bytes, bytes]:
        """Return a CDB of 16 bytes and its data, all chosen by the arguments.

        The greater the style, the more polite: any bytes, bytes where the command has fields, small
        numbers in them, known codes among those, and at last nothing but known codes.
        """
        opcode = row.operation_code
        raw = style == 0
        cdb = bytearray(16)
        if style < _ONLY_CODES:
            for at, usage in enumerate(row.usage):
                value = noise[at] if style <= 1 else _SMALL[noise[at] % len(_SMALL)]
                cdb[at] = value if raw else value & usage
        cdb[0] = opcode
        if row.service_action is not None:
            cdb[1] = cdb[1] & 0xE0 | row.service_action
        if not raw:
            self._fill_in(cdb, style, noise)
        data = self._data_out(cdb, noise[17], mutation)
        if opcode in _WRITE_FILEMARKS:
            cdb[_WRITE_FILEMARKS[opcode]] = bytes(len(cdb[_WRITE_FILEMARKS[opcode]]))
        if not raw and opcode in self.data_out:
            _say_how_long(cdb, data, noise[16])
        return bytes(cdb), data

    def _fill_in(self, cdb: bytearray, style: int, noise: bytes) -> None:
        for number, place in enumerate(self.fields.get(cdb[0], ())):
            value = place.values[noise[number + 2] % len(place.values)]
            limit = 1 << 8 * place.size_bytes
            end = place.at + place.size_bytes
            cdb[place.at : end] = (value % limit).to_bytes(place.size_bytes, "big")
        codes = self.codes.get(cdb[0])
        if codes and style >= _WITH_CODES:
            for at, value in codes[noise[15] % len(codes)].items():
                cdb[at] = value
        at, size = ALLOCATION_LENGTH.get(cdb[0], (0, 0))
        if size:
            length = _ALLOCATION_LENGTHS[noise[16] % len(_ALLOCATION_LENGTHS)]
            cdb[at : at + size] = min(length, (1 << 8 * size) - 1).to_bytes(size, "big")

    def _data_out(self, cdb: bytearray, choice: int, mutation: bytes) -> bytes:
        templates = self.data_out.get(cdb[0], ())
        if not templates:
            return mutation
        data = bytearray(templates[choice % len(templates)])
        for at, value in zip(mutation[0::2], mutation[1::2], strict=False):
            if at >= _CUT:
                del data[value:]
            elif at >= _STRETCH:
                data += bytes(value & 0x0F)
            elif at < _CHANGE and data:
                data[at % len(data)] = value
        return bytes(data)


def _say_how_long(cdb: bytearray, data: bytes, noise: int) -> None:
    """Put the length of the data where the CDB has it; now and then another one."""
    length = max(0, len(data) + _LITTLE_SKEW[noise % len(_LITTLE_SKEW)])
    if cdb[0] in (_WRITE_6, _VERIFY_6):
        count = length // FIXED_BLOCK_BYTES if cdb[1] & _FIXED else length
        cdb[2:5] = count.to_bytes(3, "big")
    else:
        at, size = PARAMETER_LIST_LENGTH[cdb[0]]
        cdb[at : at + size] = min(length, (1 << 8 * size) - 1).to_bytes(size, "big")


@dataclass(frozen=True)
class Step:
    """One thing that happens to a device: a command, or another event. `what` chooses which."""

    nexus: str
    what: int
    style: int
    noise: bytes
    mutation: bytes


class Theme:
    """The rows that a sequence is about: state is reached by commands that belong together.

    Without operation codes it is about all rows. The rest of the numbers stand for events.
    """

    def __init__(self, vocabulary: Vocabulary, events: Sequence[str], *opcodes: int) -> None:
        rows = vocabulary.rows
        self.rows = [row for row in rows if not opcodes or row.operation_code in opcodes]
        self._events = events
        assert self.rows, f"no such commands: {opcodes}"

    def choose(self, what: int) -> Command[object] | str:
        """Return the row or the event that a number stands for."""
        choices = len(self.rows) + max(1, len(self.rows) // _ROWS_AN_EVENT)
        index = what % choices
        if index < len(self.rows):
            return self.rows[index]
        return self._events[what // choices % len(self._events)]


def steps() -> st.SearchStrategy[list[Step]]:
    """Sequences of commands from several nexuses, with events between them."""
    return st.lists(
        st.builds(
            Step,
            st.sampled_from(NEXUSES),
            st.integers(0, 0xFFFF),
            st.integers(0, STYLES - 1),
            st.binary(min_size=NOISE_BYTES, max_size=NOISE_BYTES),
            st.binary(max_size=6),
        ),
        min_size=1,
        max_size=_STEPS_MAX,
    )
