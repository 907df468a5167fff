"""The tape drive's command table (SSC-5 table 15), as its generation has it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import Access, Command, CommandTable
from tapectl.scsi.spc import SPC_COMMANDS
from tapectl.scsi.ssc import (
    attributes,
    density,
    introductions,
    loading,
    overwriting,
    partitions,
    positioning,
    read_write,
    security,
    verify,
)

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_ERASE_TIMEOUT_S = 3600
_MOVE_TIMEOUT_S = 600

# fmt: off
_SSC_COMMANDS: tuple[Command[TapeDrive], ...] = (
    Command(name="REWIND", usage=bytes.fromhex("010100000000"),
            handler=positioning.rewind,
            access=Access.READ, needs_medium=True, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="FORMAT MEDIUM", usage=bytes.fromhex("04030fffff00"),
            handler=partitions.format_medium, needs_medium=True, timeout_s=_ERASE_TIMEOUT_S),
    Command(name="READ BLOCK LIMITS", usage=bytes.fromhex("050100000000"),
            handler=loading.read_block_limits, access=Access.ALWAYS),
    Command(name="READ(6)", usage=bytes.fromhex("0803ffffff00"),
            handler=read_write.read_6, access=Access.READ, needs_medium=True,
            timeout_s=_MOVE_TIMEOUT_S),
    Command(name="WRITE(6)", usage=bytes.fromhex("0a01ffffff00"),
            handler=read_write.write_6, needs_medium=True, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="SET CAPACITY", usage=bytes.fromhex("0b0100ffff00"),
            handler=partitions.set_capacity, needs_medium=True, timeout_s=_ERASE_TIMEOUT_S),
    Command(name="WRITE FILEMARKS(6)", usage=bytes.fromhex("1001ffffff00"),
            handler=read_write.write_filemarks_6, needs_medium=True, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="SPACE(6)", usage=bytes.fromhex("110fffffff00"),
            handler=positioning.space_6,
            access=Access.READ, needs_medium=True, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="VERIFY(6)", usage=bytes.fromhex("132fffffff00"),
            handler=verify.verify_6, access=Access.READ, needs_medium=True,
            timeout_s=_ERASE_TIMEOUT_S),
    Command(name="ERASE(6)", usage=bytes.fromhex("190300000000"),
            handler=read_write.erase_6, needs_medium=True, timeout_s=_ERASE_TIMEOUT_S),
    Command(name="LOAD UNLOAD", usage=bytes.fromhex("1b0100000f00"),
            handler=loading.load_unload, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="LOCATE(10)", usage=bytes.fromhex("2b0700ffffffff00ff00"),
            handler=positioning.locate_10,
            access=Access.READ, needs_medium=True, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="READ POSITION, SHORT FORM -- BLOCK ID", service_action=0x00,
            usage=bytes.fromhex("341f0000000000000000"),
            handler=positioning.read_position_short, access=Access.READ, needs_medium=True),
    Command(name="READ POSITION, SHORT FORM -- VENDOR-SPECIFIC", service_action=0x01,
            usage=bytes.fromhex("341f0000000000000000"),
            handler=positioning.read_position_short, access=Access.READ, needs_medium=True),
    Command(name="READ POSITION, LONG FORM", service_action=0x06,
            usage=bytes.fromhex("341f0000000000000000"),
            handler=positioning.read_position_long, access=Access.READ, needs_medium=True),
    Command(name="READ POSITION, EXTENDED FORM", service_action=0x08,
            usage=bytes.fromhex("341f0000000000ffff00"),
            handler=positioning.read_position_extended, access=Access.READ, needs_medium=True),
    Command(name="REPORT DENSITY SUPPORT", usage=bytes.fromhex("44030000000000ffff00"),
            handler=density.report_density_support, access=Access.ALWAYS),
    Command(name="ALLOW OVERWRITE", usage=bytes.fromhex("82000fffffffffffffffffff00000000"),
            handler=overwriting.allow_overwrite, needs_medium=True),
    *(Command(name=f"READ ATTRIBUTE, {name}", service_action=action,
              usage=bytes.fromhex("8c1f000000ff00ffffffffffffff0000"),
              handler=handler, access=Access.READ)
      for action, name, handler in (
          (0x00, "ATTRIBUTE VALUES", attributes.read_attribute_values),
          (0x01, "ATTRIBUTE LIST", attributes.read_attribute_list),
          (0x02, "LOGICAL VOLUME LIST", attributes.read_logical_volume_list),
          (0x03, "PARTITION LIST", attributes.read_partition_list),
          (0x05, "SUPPORTED ATTRIBUTES", attributes.read_supported_attributes))),
    Command(name="WRITE ATTRIBUTE", usage=bytes.fromhex("8d01000000ff00ff0000ffffffff0000"),
            handler=attributes.write_attribute, needs_medium=True),
    Command(name="SPACE(16)", usage=bytes.fromhex("910f0000ffffffffffffffff00000000"),
            handler=positioning.space_16,
            access=Access.READ, needs_medium=True, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="LOCATE(16)", usage=bytes.fromhex("923b00ffffffffffffffffff00000000"),
            handler=positioning.locate_16,
            access=Access.READ, needs_medium=True, timeout_s=_MOVE_TIMEOUT_S),
    Command(name="SECURITY PROTOCOL IN", usage=bytes.fromhex("a2ffffff0000ffffffff0000"),
            handler=security.security_protocol_in, access=Access.READ),
    Command(name="SECURITY PROTOCOL OUT", usage=bytes.fromhex("b5ffffff0000ffffffff0000"),
            handler=security.security_protocol_out),
    Command(name="READ MEDIA SERIAL NUMBER", service_action=0x01,
            usage=bytes.fromhex("ab1f00000000ffffffff0000"),
            handler=loading.read_media_serial_number,
            access=Access.PERSISTENT, needs_medium=True),
)
# fmt: on


@functools.cache
def commands_of(generation: int) -> CommandTable[TapeDrive]:
    """Return the commands that drives of an LTO generation have."""
    unknown = introductions.unknown_to(generation, introductions.COMMANDS)
    rows: tuple[Command[TapeDrive], ...] = (*SPC_COMMANDS, *_SSC_COMMANDS)
    return CommandTable(row for row in rows if row.operation_code not in unknown)
