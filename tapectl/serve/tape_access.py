"""A tape that a command reads or writes without any drive: its blocks and filemarks, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from tapectl.disks.cartridge import SegmentedCartridge
from tapectl.disks.tape_files import TapeDescription
from tapectl.disks.tape_loading import LoadProgress
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.elements import ElementError, ElementMap
from tapectl.gateway.journal import StateJournal
from tapectl.gateway.keyring import IMPORT_HINT, TapeKeyError
from tapectl.gateway.quota import TapeLimitError
from tapectl.gateway.settings import Settings
from tapectl.gateway.tape_use import TapeUse
from tapectl.gateway.tapes import record_used_bytes, refuse_loaded
from tapectl.gateway.unreadable_tape import TapeUnreadableError, encrypted_object
from tapectl.medium.frame import BLOCK_BYTES_MAX
from tapectl.medium.images import Object
from tapectl.scsi.cartridge import (
    CartridgeError,
    CartridgeFullError,
    CartridgeKeyError,
    EncryptedBlock,
    Mark,
)
from tapectl.serve.cold_data import ColdData, cold_data, patiently
from tapectl.state import gateways, tapes
from tapectl.state.database import State
from tapectl.state.errors import TapeStatusError
from tapectl.state.tape_status import LOADABLE, TapeStatus
from tapectl.state.tapes import TapeRecord


class OpenTape:
    """A tape in use by this process, at its beginning. Partition 0 is what there is of it."""

    def __init__(self, cartridge: SegmentedCartridge, data: ColdData) -> None:
        """Use `open_tape`."""
        self._cartridge = cartridge
        self._data = data

    @property
    def used_bytes(self) -> int:
        """Bytes of user data on it."""
        return self._cartridge.used_bytes

    @property
    def blank(self) -> bool:
        return self._cartridge.end_of_data == 0

    def go_to_file(self, number: int) -> None:
        """Stand at the beginning of a file, counted from 0.

        Raises ElementError if there is none, TapeUnreadableError, CartridgeKeyError.
        """
        with self._readable(f"the way to file {number}"):
            stopped = patiently(lambda: self._cartridge.locate_file(number), _nothing)
        at_end = self._cartridge.position >= self._cartridge.end_of_data
        if stopped is not None or (at_end and number > 0):
            raise ElementError(
                f"tape {self._cartridge.barcode} has no file {number}",
                hint="files count from 0, and end at filemarks",
            )

    def read(self) -> Iterator[Object]:
        """Yield the objects from here to end of data; raise TapeUnreadableError,
        CartridgeKeyError."""
        buffer = memoryview(bytearray(BLOCK_BYTES_MAX))
        while True:
            number = self._cartridge.position
            with self._readable(f"object {number}"):
                found = patiently(lambda: self._cartridge.read_block(buffer), _nothing)
            if found is Mark.END_OF_DATA:
                return
            if isinstance(found, EncryptedBlock):
                raise encrypted_object(self._cartridge.barcode, number)
            yield found if isinstance(found, Mark) else bytes(buffer[:found])

    @contextlib.contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        try:
            yield
        except CartridgeKeyError:
            raise
        except CartridgeError as exc:
            raise TapeUnreadableError(
                f"{what} of tape {self._cartridge.barcode} cannot be read: {exc}",
                hint="run `tapectl tape verify` to see what else is damaged",
            ) from exc

    def write_all(self, objects: Iterable[Object]) -> None:
        """Write objects on a blank tape and synchronise them, all or none.

        Raises TapeLimitError if they do not fit, and whatever ends `objects`; the tape is blank
        then, as it was.
        """
        try:
            for one in objects:
                self._write(one)
            self._cartridge.synchronize()
        except BaseException:
            self._make_blank()
            raise

    def _write(self, one: Object) -> None:
        def write() -> None:
            if isinstance(one, Mark):
                self._cartridge.write_filemarks(1)
            else:
                self._cartridge.write_blocks(memoryview(one), len(one))

        try:
            patiently(write, self._data.make_room)
        except CartridgeFullError as exc:
            raise TapeLimitError(
                f"it does not fit on tape {self._cartridge.barcode}",
                hint="create a larger tape for it",
            ) from exc

    def _make_blank(self) -> None:
        def erase() -> None:
            self._cartridge.locate(0)
            self._cartridge.erase()

        patiently(erase, self._data.make_room)


def _nothing() -> None:
    """What helps while data is on its way from the store."""


@contextlib.contextmanager
def open_tape(
    state: State, settings: Settings, barcode: str, *, writing: bool = False
) -> Iterator[OpenTape]:
    """Yield a tape that is in no drive, whether or not the gateway is served.

    Raises TapeNotFoundError, TapeInDriveError, TapeInUseError, TapeStatusError,
    AlreadyServingError, TapeUnreadableError, TapeKeyError.
    """
    with TapeUse(settings.state_path) as use:
        use.begin(barcode)
        tape = _usable_tape(state, barcode, writing=writing)
        with cold_data(settings, "tape") as data:
            journal = StateJournal(state, settings)
            cartridge = _open(journal, settings, tape, data)
            try:
                yield OpenTape(cartridge, data)
            except CartridgeKeyError as exc:
                raise TapeKeyError(str(exc), hint=IMPORT_HINT) from exc
            finally:
                patiently(cartridge.close, data.make_room)
                journal.record_reads()
            if writing:
                record_used_bytes(state, barcode, cartridge.volume_used_bytes)


def _usable_tape(state: State, barcode: str, *, writing: bool) -> TapeRecord:
    check_barcode(barcode)
    elements = ElementMap.of(describe_gateway(state))
    with state.read() as db:
        tape = tapes.get(db, barcode)
        fenced = gateways.read_standing(db).fenced_detail
    refuse_loaded(tape, elements)
    verb = "written" if writing else "read"
    if tape.status not in ({TapeStatus.AVAILABLE} if writing else LOADABLE) or tape.cleaning:
        kind = "a cleaning cartridge" if tape.cleaning else tape.status
        raise TapeStatusError(
            f"tape {barcode} is {kind} and cannot be {verb}",
            status=tape.status,
            hint=None if tape.status is not TapeStatus.ARCHIVED else "run `tapectl tape retrieve`",
        )
    if writing and fenced is not None:
        raise TapeStatusError(f"tape {barcode} cannot be written: {fenced}", status=tape.status)
    return tape


def _open(
    journal: StateJournal, settings: Settings, tape: TapeRecord, data: ColdData
) -> SegmentedCartridge:
    progress = LoadProgress()

    def open_it() -> SegmentedCartridge:
        return SegmentedCartridge.open(
            TapeDescription(
                barcode=tape.barcode,
                tape_uuid=tape.tape_uuid,
                capacity_bytes=tape.size_bytes,
                write_protected=tape.write_protected,
                worm=tape.worm,
                generation=tape.generation,
            ),
            journal=journal,
            fetcher=data,
            segment_bytes=settings.segment_bytes,
            sealer=lambda job: job(),
            progress=progress,
        )

    try:
        return patiently(open_it, data.make_room)
    except CartridgeKeyError as exc:
        raise TapeKeyError(str(exc), hint=IMPORT_HINT) from exc
    except CartridgeError as exc:
        raise TapeUnreadableError(f"tape {tape.barcode} cannot be read: {exc}") from exc
