"""MODE SENSE and MODE SELECT, both forms, and the pages of a drive (SPC-5 6.9 to 6.12; SSC-5 8)."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.conformance import commands as c
from tests.conformance.commands import Command
from tests.conformance.device import CHECK_CONDITION, GOOD, Device
from tests.conformance.pages import (
    CHANGEABLE,
    CURRENT,
    DEFAULT,
    SAVED,
    ModePageKeeper,
    PageKey,
    logical_unit_reset,
    mode_page,
    select_page,
)
from tests.conformance.recording import set_block_length
from tests.conformance.requirements import mode_pages as pages_of
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    PARAMETER_LIST_LENGTH_ERROR,
    SAVING_PARAMETERS_NOT_SUPPORTED,
    SenseData,
)

ALL_PAGES, ALL_SUBPAGES = 0x3F, 0xFF
# Page and subpage, and PAGE LENGTH where the standard or LTO fixes it.
PAGES: dict[PageKey, int | None] = {
    (0x01, 0x00): 0x0A,
    (0x02, 0x00): 0x0E,
    (0x0A, 0x00): 0x0A,
    (0x0A, 0x01): 0x1C,
    (0x0A, 0xF0): 0x1C,
    (0x0F, 0x00): 0x0E,
    (0x10, 0x00): 0x0E,
    (0x10, 0x01): 0x1C,
    (0x11, 0x00): None,
    (0x1A, 0x00): None,
    (0x1C, 0x00): 0x0A,
    (0x1D, 0x00): 0x1E,
}
COMPRESSION, CONTROL, DEVICE_CONFIGURATION = (0x0F, 0), (0x0A, 0), (0x10, 0)


def page_id(key: object) -> str:
    return "{:02X}h-{:02X}h".format(*key) if isinstance(key, tuple) else ""


each_page = pytest.mark.parametrize(
    "key",
    [pytest.param(key, marks=requires("MODE SENSE(10)", mode_page=key)) for key in PAGES],
    ids=page_id,
)


class Form:
    """One of the two sizes of the commands and of the header."""

    def __init__(self, bits: int) -> None:
        self.short = bits == 6
        self.header_bytes = 4 if self.short else 8
        self.sense: Callable[..., Command] = c.mode_sense_6 if self.short else c.mode_sense_10
        self.select: Callable[..., Command] = c.mode_select_6 if self.short else c.mode_select_10

    def length(self, data: bytes) -> int:
        """Return how long the data say they are altogether."""
        return data[0] + 1 if self.short else int.from_bytes(data[:2], "big") + 2

    def descriptor(self, data: bytes) -> bytes:
        length = data[3] if self.short else int.from_bytes(data[6:8], "big")
        return data[self.header_bytes : self.header_bytes + length]

    def device_specific(self, data: bytes) -> int:
        return data[2] if self.short else data[3]

    def parameters(self, *, descriptor: bytes = b"", pages: bytes = b"") -> bytes:
        """Return a parameter list with the buffered mode of a drive by default."""
        if self.short:
            return bytes((0, 0, 0x10, len(descriptor))) + descriptor + pages
        return struct.pack(">HBBHH", 0, 0, 0x10, 0, len(descriptor)) + descriptor + pages


@pytest.fixture(
    params=[
        pytest.param(6, marks=requires("MODE SENSE(6)", "MODE SELECT(6)"), id="6"),
        pytest.param(10, marks=requires("MODE SENSE(10)", "MODE SELECT(10)"), id="10"),
    ]
)
def form(request: pytest.FixtureRequest) -> Form:
    return Form(request.param)


# -- MODE SENSE ------------------------------------------------------------------------------
def test_mode_data_length_counts_what_follows_it(tape: Device, form: Form) -> None:
    """SPC-5 7.5.5: MODE DATA LENGTH, without itself."""
    data = tape.good(form.sense(0x0F))
    assert form.length(data) == len(data)


def test_mode_data_length_is_not_adjusted_by_truncation(tape: Device, form: Form) -> None:
    """SPC-5 4.2.5.6: the data are cut, what they say is not."""
    whole = tape.good(form.sense(0x0F))
    assert tape.good(form.sense(0x0F, length=4)) == whole[:4]


def test_there_is_one_block_descriptor(tape: Device, form: Form) -> None:
    """SSC-5 8.3: a block descriptor of eight bytes with the density of the volume."""
    descriptor = form.descriptor(tape.good(form.sense(0x0F)))
    assert len(descriptor) == 8
    assert descriptor[0] != 0


def test_dbd_leaves_the_block_descriptor_out(tape: Device, form: Form) -> None:
    """SPC-5 6.11: DBD one: no block descriptors."""
    data = tape.good(form.sense(0x0F, dbd=True))
    assert form.descriptor(data) == b""
    assert [key for key, _ in pages_of(data, form.header_bytes)] == [COMPRESSION]


def test_page_zero_gives_header_and_block_descriptor(tape: Device, form: Form) -> None:
    """What Linux st asks at every open: page 00h, room for header and descriptor alone."""
    data = tape.good(form.sense(0x00, length=form.header_bytes + 8))
    assert len(form.descriptor(data)) == 8


def test_a_plain_volume_is_not_write_protected(tape: Device, form: Form) -> None:
    """SSC-5 8.3.1: WP zero."""
    assert not form.device_specific(tape.good(form.sense(0x0F))) & 0x80


def test_buffered_mode_is_one_by_default(tape: Device, form: Form) -> None:
    """SSC-5 8.3.1: BUFFERED MODE 1h: GOOD may precede the writing to the medium."""
    assert form.device_specific(tape.good(form.sense(0x0F))) >> 4 & 7 == 1


def test_all_pages_come_in_ascending_order(tape: Device, form: Form) -> None:
    """SPC-5 6.11: PAGE CODE 3Fh: all pages, ascending, page 00h last."""
    keys = [key for key, _ in pages_of(tape.good(form.sense(ALL_PAGES)), form.header_bytes)]
    assert keys
    assert keys == sorted(set(keys), key=lambda key: (key[0] == 0, key))


def test_all_pages_without_subpages_are_of_subpage_zero(tape: Device, form: Form) -> None:
    """SPC-5 table 158: 3Fh/00h: page_0 format only."""
    data = tape.good(form.sense(ALL_PAGES))
    assert all(subpage == 0 for (_, subpage), _ in pages_of(data, form.header_bytes))


@requires("MODE SENSE(10)", mode_page=(0x10, 0x01))
def test_all_subpages_of_a_page_can_be_asked_for(tape: Device) -> None:
    """SPC-5 table 158: SUBPAGE CODE FFh with a page code."""
    keys = [key for key, _ in pages_of(tape.good(c.mode_sense_10(0x10, ALL_SUBPAGES)), 8)]
    assert keys[:2] == [(0x10, 0x00), (0x10, 0x01)]


def test_a_page_that_is_not_there_is_refused(tape: Device, form: Form) -> None:
    """SPC-5 6.11: INVALID FIELD IN CDB."""
    sense = tape.check(form.sense(0x3C), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte == 2


def test_a_subpage_that_is_not_there_is_refused(tape: Device, form: Form) -> None:
    """SPC-5 6.11: INVALID FIELD IN CDB."""
    sense = tape.check(form.sense(0x0F, 0x77), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte in (2, 3)


@each_page
def test_a_page_has_the_length_of_its_format(tape: Device, key: PageKey) -> None:
    """SPC-5 7.5, SSC-5 8.3: PAGE LENGTH."""
    page = mode_page(tape, key)
    length = page[1] if not key[1] else int.from_bytes(page[2:4], "big")
    assert PAGES[key] in (None, length)


@each_page
def test_a_page_is_as_long_with_every_page_control(tape: Device, key: PageKey) -> None:
    """SPC-5 6.11: PC selects values; fields and PAGE LENGTH are the same."""
    lengths = {len(mode_page(tape, key, control)) for control in (CURRENT, CHANGEABLE, DEFAULT)}
    assert len(lengths) == 1


@each_page
def test_saved_values_are_returned_or_refused(tape: Device, key: PageKey) -> None:
    """SPC-5 6.11.5: where saved values are not implemented: SAVING PARAMETERS NOT SUPPORTED."""
    response = tape.run(c.mode_sense_10(*key, control=SAVED, dbd=True))
    if response.status == CHECK_CONDITION:
        assert SenseData.decode(response.sense).code == SAVING_PARAMETERS_NOT_SUPPORTED
    else:
        assert len(response.data) == 8 + len(mode_page(tape, key))


@each_page
def test_a_page_written_back_as_it_is_changes_nothing(tape: Device, key: PageKey) -> None:
    """SPC-5 6.9: what MODE SENSE returned is a valid parameter list (MODE DATA LENGTH zero)."""
    page = mode_page(tape, key)
    tape.good(select_page(page))
    assert mode_page(tape, key) == page


@each_page
def test_a_bit_that_is_not_changeable_is_refused(tape: Device, key: PageKey) -> None:
    """SPC-5 6.9: a change of what cannot be changed: INVALID FIELD IN PARAMETER LIST."""
    mask, page = mode_page(tape, key, CHANGEABLE), bytearray(mode_page(tape, key))
    first = 4 if key[1] else 2
    byte, bit = next(
        (at, bit)
        for at in range(len(mask) - 1, first - 1, -1)
        for bit in range(8)
        if not mask[at] >> bit & 1
    )
    page[byte] ^= 1 << bit
    sense = tape.check(select_page(bytes(page)), INVALID_FIELD_IN_PARAMETER_LIST)
    assert sense.field_pointer is None or sense.field_pointer.byte == 8 + byte
    assert mode_page(tape, key) != bytes(page)


# -- MODE SELECT -----------------------------------------------------------------------------
def test_a_block_length_round_trips(tape: Device, form: Form) -> None:
    """SSC-5 8.3.1: BLOCK LENGTH of the block descriptor."""
    tape.good(form.select(form.parameters(descriptor=bytes(5) + (512).to_bytes(3, "big"))))
    assert form.descriptor(tape.good(form.sense(0x0F)))[5:8] == b"\x00\x02\x00"


def test_both_forms_see_the_same_parameters(tape: Device) -> None:
    """SPC-5 6.12: the ten byte form is of the same parameters."""
    set_block_length(tape, 4096)
    assert Form(10).descriptor(tape.good(c.mode_sense_10(0x0F)))[5:8] == b"\x00\x10\x00"


@pytest.mark.parametrize("density", [0x00, 0x7F])
def test_default_and_unchanged_density_are_taken(tape: Device, form: Form, density: int) -> None:
    """SSC-5 8.3: DENSITY CODE 00h the default, 7Fh no change."""
    before = form.descriptor(tape.good(form.sense(0x0F)))
    tape.good(form.select(form.parameters(descriptor=bytes((density,)) + bytes(7))))
    assert form.descriptor(tape.good(form.sense(0x0F)))[0] == before[0]


def test_a_density_that_is_not_there_is_refused(tape: Device, form: Form) -> None:
    """SSC-5 8.3: INVALID FIELD IN PARAMETER LIST."""
    descriptor = b"\x7e" + bytes(7)
    parameters = form.parameters(descriptor=descriptor)
    sense = tape.check(form.select(parameters), INVALID_FIELD_IN_PARAMETER_LIST)
    assert sense.field_pointer is None or sense.field_pointer.byte == form.header_bytes


def test_an_unbuffered_mode_round_trips(tape: Device, form: Form) -> None:
    """SSC-5 8.3.1: BUFFERED MODE 0h."""
    parameters = bytearray(form.parameters())
    parameters[2 if form.short else 3] = 0
    tape.good(form.select(bytes(parameters)))
    assert form.device_specific(tape.good(form.sense(0x0F))) >> 4 & 7 == 0


def test_a_reserved_buffered_mode_is_refused(tape: Device, form: Form) -> None:
    """SSC-5 8.3.1: BUFFERED MODE 3h to 7h are reserved."""
    parameters = bytearray(form.parameters())
    parameters[2 if form.short else 3] = 0x70
    tape.check(form.select(bytes(parameters)), INVALID_FIELD_IN_PARAMETER_LIST)


def test_an_empty_parameter_list_changes_nothing(tape: Device, form: Form) -> None:
    """SPC-5 6.9: PARAMETER LIST LENGTH zero is no error."""
    set_block_length(tape, 512)
    tape.good(form.select(b""))
    assert form.descriptor(tape.good(form.sense(0x0F)))[5:8] == b"\x00\x02\x00"


@pytest.mark.parametrize("cut", ["header", "descriptor", "page"])
def test_a_list_cut_short_is_refused(tape: Device, form: Form, cut: str) -> None:
    """SPC-5 6.9: truncation of header, descriptor or page: PARAMETER LIST LENGTH ERROR."""
    whole = form.parameters(descriptor=bytes(8), pages=mode_page(tape, COMPRESSION))
    keep = {"header": 3, "descriptor": form.header_bytes + 5, "page": len(whole) - 3}[cut]
    tape.check(form.select(whole[:keep]), PARAMETER_LIST_LENGTH_ERROR)


def test_a_page_to_select_that_is_not_there_is_refused(tape: Device, form: Form) -> None:
    """SPC-5 6.9: INVALID FIELD IN PARAMETER LIST, the pointer at the page."""
    parameters = form.parameters(pages=b"\x3c\x02\0\0")
    sense = tape.check(form.select(parameters), INVALID_FIELD_IN_PARAMETER_LIST)
    assert sense.field_pointer is None or sense.field_pointer.byte == form.header_bytes


def test_a_page_of_another_length_is_refused(tape: Device, form: Form) -> None:
    """SPC-5 6.9: PAGE LENGTH not as MODE SENSE returns it: INVALID FIELD IN PARAMETER LIST."""
    page = mode_page(tape, COMPRESSION)
    parameters = form.parameters(pages=page[:1] + bytes((page[1] - 2,)) + page[2:-2])
    sense = tape.check(form.select(parameters), INVALID_FIELD_IN_PARAMETER_LIST)
    assert sense.field_pointer is None or sense.field_pointer.byte == form.header_bytes + 1


def test_a_block_descriptor_of_another_length_is_refused(tape: Device, form: Form) -> None:
    """SPC-5 7.5.6: BLOCK DESCRIPTOR LENGTH, a multiple of eight."""
    parameters = form.parameters(descriptor=bytes(5))
    response = tape.run(form.select(parameters))
    assert response.status == CHECK_CONDITION
    assert SenseData.decode(response.sense).code in (
        INVALID_FIELD_IN_PARAMETER_LIST,
        PARAMETER_LIST_LENGTH_ERROR,
    )


def test_a_refused_list_changes_nothing_at_all(tape: Device, form: Form) -> None:
    """SPC-5 6.9: CHECK CONDITION, and no mode parameters are changed."""
    descriptor = bytes(5) + (512).to_bytes(3, "big")
    parameters = form.parameters(descriptor=descriptor, pages=b"\x3c\x02\0\0")
    tape.check(form.select(parameters), INVALID_FIELD_IN_PARAMETER_LIST)
    assert form.descriptor(tape.good(form.sense(0x0F)))[5:8] == bytes(3)


def test_several_pages_can_be_selected_at_once(tape: Device, form: Form) -> None:
    """SPC-5 7.5.4: mode pages follow each other."""
    pages = mode_page(tape, COMPRESSION) + mode_page(tape, DEVICE_CONFIGURATION)
    tape.good(form.select(form.parameters(pages=pages)))


@requires("MODE SENSE(10)", mode_page=0x0F)
def test_compression_can_be_switched_off_and_on(tape: Device, mode_pages: ModePageKeeper) -> None:
    """SSC-5 8.3.3: DCE of the Data Compression page."""
    for value in (0x00, 0x80):
        mode_pages.change(COMPRESSION, 2, value, 0x80)
        assert mode_page(tape, COMPRESSION)[2] & 0x80 == value


@requires("MODE SENSE(10)", mode_page=0x0F)
def test_changed_values_are_current_but_not_default(
    tape: Device, mode_pages: ModePageKeeper
) -> None:
    """SPC-5 6.11: PC 00b and 10b."""
    mode_pages.change(COMPRESSION, 2, 0x00, 0x80)
    assert not mode_page(tape, COMPRESSION)[2] & 0x80
    assert mode_page(tape, COMPRESSION, DEFAULT)[2] & 0x80


@requires("MODE SENSE(10)", mode_page=0x0F)
def test_a_reset_brings_default_values_back(tape: Device, mode_pages: ModePageKeeper) -> None:
    """SPC-5 5.13: after a logical unit reset, saved or default values are current."""
    mode_pages.change(COMPRESSION, 2, 0x00, 0x80)
    logical_unit_reset(tape)
    assert mode_page(tape, COMPRESSION) == mode_page(tape, COMPRESSION, DEFAULT)


@requires("MODE SENSE(10)", mode_page=0x0A)
def test_d_sense_chooses_descriptor_format(tape: Device, mode_pages: ModePageKeeper) -> None:
    """SPC-5 7.5.9: D_SENSE one: descriptor format sense data in the same response."""
    if not mode_page(tape, CONTROL, CHANGEABLE)[2] & 0x04:
        pytest.skip("D_SENSE cannot be changed, which the standard allows")
    mode_pages.change(CONTROL, 2, 0x04, 0x04)
    assert tape.check(c.inquiry(0x7F), INVALID_FIELD_IN_CDB).response_code == 0x72


@requires("MODE SENSE(10)", mode_page=0x0A)
def test_descriptor_format_has_the_stream_commands_bits(
    tape: Device, mode_pages: ModePageKeeper
) -> None:
    """SPC-5 4.4.2.6: FILEMARK, EOM and ILI are in the stream commands descriptor."""
    if not mode_page(tape, CONTROL, CHANGEABLE)[2] & 0x04:
        pytest.skip("D_SENSE cannot be changed, which the standard allows")
    tape.good(c.write(bytes(100)))
    tape.good(c.rewind())
    mode_pages.change(CONTROL, 2, 0x04, 0x04)
    sense = tape.check(c.read(300), (0, 0, 0))
    assert sense.incorrect_length
    assert sense.information == 200


@requires("MODE SENSE(10)", mode_page=(0x10, 0x01))
def test_programmable_early_warning_size_round_trips(
    tape: Device, mode_pages: ModePageKeeper
) -> None:
    """SSC-5 8.3.8: PEWS, in megabytes (bytes 6 and 7)."""
    mode_pages.change((0x10, 0x01), 7, 0x05)
    assert mode_page(tape, (0x10, 0x01))[6:8] == b"\x00\x05"


@requires("MODE SENSE(10)", mode_page=0x1D)
def test_the_medium_configuration_of_a_plain_volume_is_not_worm(tape: Device) -> None:
    """SSC-5 8.3.7: WORMM zero."""
    assert not mode_page(tape, (0x1D, 0))[2] & 0x01


@requires("MODE SENSE(10)", mode_page=0x1C)
def test_test_and_dexcpt_together_are_refused(tape: Device) -> None:
    """SPC-5 7.5.15: TEST and DEXCPT one: INVALID FIELD IN PARAMETER LIST, where changeable."""
    page = bytearray(mode_page(tape, (0x1C, 0)))
    page[2] |= 0x0C
    tape.check(select_page(bytes(page)), INVALID_FIELD_IN_PARAMETER_LIST)


@requires("MODE SENSE(10)", "MODE SELECT(10)")
def test_pages_are_saved_where_they_say_that_they_can_be(
    tape: Device, mode_pages: ModePageKeeper
) -> None:
    """SPC-5 6.9, 7.5.7: PS one: SP one saves the page, and PC 11b returns it; where no page is
    savable SP one is an INVALID FIELD IN CDB."""
    pages = pages_of(tape.good(c.mode_sense_10(ALL_PAGES, ALL_SUBPAGES)), 8)
    savable = [key for key, page in pages if page[0] & 0x80]
    if not savable:
        tape.check(select_page(mode_page(tape, COMPRESSION), save=True), INVALID_FIELD_IN_CDB)
    for key in savable:
        page = mode_pages.current(key)
        tape.good(select_page(page, save=True))
        assert mode_page(tape, key, SAVED) == page


@requires("MODE SENSE(10)", "LOAD UNLOAD")
def test_mode_sense_needs_no_volume(tape: Device) -> None:
    """SPC-5 6.11: mode parameters are the logical unit's."""
    tape.good(c.load_unload(0))
    assert tape.run(c.mode_sense_10(0x0F)).status == GOOD
    tape.good(c.load_unload(c.LOAD))
