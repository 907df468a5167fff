"""iSCSI TransportIDs: the names of initiator ports in persistent reservations (SPC-5 7.6.4.6).

A nexus is named by its initiator port and its target port, one after the other (RFC 7143 4.4.2);
the port's name is the node's name, `,i,0x` and the ISID. Whatever has no ISID is taken as it is.
"""

from __future__ import annotations

import re
import struct

_HEADER = struct.Struct(">BxH")
_ISCSI_PROTOCOL = 0x05
_NODE_NAME, _PORT_NAME = 0x00, 0x40
_PROTOCOL_MASK, _FORMAT_MASK = 0x0F, 0xC0
# "ADDITIONAL LENGTH ... shall be at least 20 and shall be a multiple of four".
_NAME_MIN_BYTES = 20
# RFC 7143 4.2.7.1: names have at most 223 bytes; the port adds ",i,0x" and 12 digits.
_NAME_MAX_BYTES = 223 + 5 + 12 + 1
_TARGET_PORT = re.compile(r",([^,]+),t,0x[0-9a-f]+")
_PORT = re.compile(r"([^,]+),i,0x([0-9a-f]{1,12})")


def initiator_port(nexus: str) -> str:
    """Return the name of the initiator port of a nexus."""
    found = _PORT.match(nexus)
    return found.group(0) if found else nexus


def target_node(nexus: str) -> str:
    """Return the iSCSI name of the node that the target port of a nexus belongs to, empty if none
    is named."""
    found = _TARGET_PORT.fullmatch(nexus[len(initiator_port(nexus)) :])
    return found.group(1) if found else ""


def same_target_port(port: str, nexus: str) -> str:
    """Return the nexus of an initiator port and the target port of another nexus."""
    return port + nexus[len(initiator_port(nexus)) :]


def node_name(port: str) -> str:
    """Return the iSCSI name of the node that a port belongs to."""
    found = _PORT.fullmatch(port)
    return found.group(1) if found else port


def encode_transport_id(port: str) -> bytes:
    """Return the TransportID of an initiator port, or of a node where there is no ISID."""
    name = port.encode("utf-8", "replace") + b"\0"
    name = name.ljust(max(_NAME_MIN_BYTES, (len(name) + 3) & ~3), b"\0")
    form = _PORT_NAME if _PORT.fullmatch(port) else _NODE_NAME
    return _HEADER.pack(form | _ISCSI_PROTOCOL, len(name)) + name


def decode_transport_id(data: bytes) -> tuple[str, int]:
    """Return the port (with its ISID in 12 digits) or node that `data` begins with, and how many
    bytes named it.

    Raises ValueError for a TransportID of another protocol or one that is not well formed.
    """
    if len(data) < _HEADER.size:
        raise ValueError("a TransportID is cut short")
    first, length = _HEADER.unpack_from(data)
    end = _HEADER.size + length
    if first & _PROTOCOL_MASK != _ISCSI_PROTOCOL or length % 4 or end > len(data):
        raise ValueError("no iSCSI TransportID")
    name, null, padding = data[_HEADER.size : end].partition(b"\0")
    if not null or not name or any(padding) or len(name) > _NAME_MAX_BYTES:
        raise ValueError("no name that ends in a null")
    text = name.decode().lower()  # UnicodeDecodeError is a ValueError
    form = first & _FORMAT_MASK
    if form == _NODE_NAME and "," not in text:
        return text, end
    port = _PORT.fullmatch(text)
    if form != _PORT_NAME or port is None:
        raise ValueError("neither a node's nor a port's name")
    return f"{port.group(1)},i,0x{int(port.group(2), 16):012x}", end
