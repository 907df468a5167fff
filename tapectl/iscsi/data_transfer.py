"""Data-Out of one task: what may come unsolicited, what is asked for, and in which order.

Because DataPDUInOrder and DataSequenceInOrder are always Yes (RFC 7143 13.18, 13.19), the
data of a task are one growing prefix, and one number says how much of it has come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tapectl.iscsi.constants import FINAL, RESERVED_TAG
from tapectl.iscsi.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class ReadyToTransfer:
    """A request for the next burst; offset and length in bytes."""

    r2t_sn: int
    target_transfer_tag: int
    offset: int
    length: int


class DataTransfer:
    """The incoming data of one write, PDU by PDU.

    `total` bytes are wanted, of which `unsolicited_end` may come without an R2T: with the
    command, and in Data-Outs until the F bit when the command left it 0.
    """

    __slots__ = (
        "_bursts",
        "_data_sn",
        "_max_burst",
        "_r2t_max",
        "_r2t_sn",
        "_received",
        "_requested",
        "_solicit",
        "_unsolicited_end",
        "_unsolicited_open",
        "total",
    )

    def __init__(self, total: int, *, max_burst: int, r2t_max: int, solicit: bool = True) -> None:
        """`solicit` False: take what comes unsolicited and ask for nothing (a refused command)."""
        self.total = total
        self._max_burst = max_burst
        self._r2t_max = r2t_max
        self._solicit = solicit
        self._received = 0
        self._requested = 0
        self._unsolicited_end = 0
        self._unsolicited_open = False
        self._bursts: deque[tuple[int, int]] = deque()  # tag and end offset of each open R2T
        self._data_sn = 0
        self._r2t_sn = 0

    def begin(self, immediate_bytes: int, *, unsolicited_end: int, final: bool) -> None:
        """Take the command's immediate data; unless `final`, more comes before any R2T."""
        self._received = immediate_bytes
        self._unsolicited_end = unsolicited_end
        self._unsolicited_open = not final and immediate_bytes < unsolicited_end
        if not self._unsolicited_open:
            self._close_unsolicited()

    @property
    def announced(self) -> bool:
        """Whether the header of the last PDU of data has come."""
        return self._received == self.total and not self._unsolicited_open

    def accept(self, header: tuple[int, int, int], flags: int, length: int) -> None:
        """Take the header of a Data-Out: (Target Transfer Tag, DataSN, Buffer Offset).

        Raises ProtocolError when it is not what must come next (RFC 7143 11.7): the connection
        cannot go on, as there is no recovery within a command at error recovery level 0.
        """
        tag, data_sn, offset = header
        unsolicited = tag == RESERVED_TAG
        if unsolicited:
            end = self._unsolicited_end if self._unsolicited_open else 0
        else:
            end = self._bursts[0][1] if self._bursts and self._bursts[0][0] == tag else 0
        if offset != self._received or data_sn != self._data_sn or offset + length > end:
            raise ProtocolError(f"unexpected Data-Out: offset {offset}, {length} bytes")
        self._received += length
        self._data_sn += 1
        final = flags & FINAL != 0
        if self._received < end and not (unsolicited and final):
            if final:
                raise ProtocolError("a burst ended before what was asked for had come")
            return
        self._data_sn = 0
        if unsolicited:
            self._close_unsolicited()
        else:
            self._bursts.popleft()

    def next_r2t(self, target_transfer_tag: int) -> ReadyToTransfer | None:
        """Return the request to send now, None while none is due."""
        if self._unsolicited_open or len(self._bursts) >= self._r2t_max:
            return None
        offset = self._requested
        length = min(self._max_burst, self.total - offset)
        if not length:
            return None
        self._requested = offset + length
        self._bursts.append((target_transfer_tag, self._requested))
        r2t = ReadyToTransfer(self._r2t_sn, target_transfer_tag, offset, length)
        self._r2t_sn += 1
        return r2t

    def _close_unsolicited(self) -> None:
        # Less than FirstBurstLength may have come; the rest is asked for.
        self._unsolicited_open = False
        self._requested = self._received
        if not self._solicit:
            self.total = self._received
