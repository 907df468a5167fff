"""The media changer's command table (SMC-3 table 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapectl.scsi.command_table import Command, CommandTable
from tapectl.scsi.smc import element_status, import_export, moves, volume_search
from tapectl.scsi.spc import SPC_COMMANDS

if TYPE_CHECKING:
    from tapectl.scsi.smc.changer import MediaChanger

_MOVE_TIMEOUT_S = 600

# fmt: off
_SMC_COMMANDS: tuple[Command[MediaChanger], ...] = (
    Command(name="REZERO UNIT", usage=bytes.fromhex("010000000000"),
            handler=moves.rezero_unit),
    Command(name="INITIALIZE ELEMENT STATUS", usage=bytes.fromhex("070000000000"),
            handler=moves.initialize_element_status, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="OPEN/CLOSE IMPORT/EXPORT ELEMENT", usage=bytes.fromhex("1b00ffff1f00"),
            handler=import_export.open_close_import_export_element),
    Command(name="POSITION TO ELEMENT", usage=bytes.fromhex("2b00ffffffff00000000"),
            handler=moves.position_to_element, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="INITIALIZE ELEMENT STATUS WITH RANGE",
            usage=bytes.fromhex("3703ffff0000ffff0000"),
            handler=moves.initialize_element_status_with_range, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="MOVE MEDIUM", usage=bytes.fromhex("a500ffffffffffff00000000"),
            handler=moves.move_medium, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="EXCHANGE MEDIUM", usage=bytes.fromhex("a600ffffffffffffffff0000"),
            handler=moves.exchange_medium, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="REQUEST VOLUME ELEMENT ADDRESS",
            usage=bytes.fromhex("b51fffffffff00ffffff0000"),
            handler=volume_search.request_volume_element_address),
    Command(name="SEND VOLUME TAG", usage=bytes.fromhex("b60fffff001f0000ffff0000"),
            handler=volume_search.send_volume_tag),
    Command(name="READ ELEMENT STATUS", usage=bytes.fromhex("b81fffffffff03ffffff0000"),
            # Without CURDATA the changer may move to find out (SMC-3 table 10).
            handler=element_status.read_element_status, harmless=lambda cdb: bool(cdb[6] & 0x02)),
    # The code that it had before SMC-2, which libraries and their clients still use.
    Command(name="INITIALIZE ELEMENT STATUS WITH RANGE",
            usage=bytes.fromhex("e701ffff0000ffff8000"),
            handler=moves.initialize_element_status_with_range, timeout_s=_MOVE_TIMEOUT_S),
)
# fmt: on

COMMANDS: CommandTable[MediaChanger] = CommandTable((*SPC_COMMANDS, *_SMC_COMMANDS))
