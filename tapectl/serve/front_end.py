"""What the supervisor asks of a front end: by which target initiators reach the devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tapectl.gateway.devices import DeviceInfo
from tapectl.gateway.settings import Settings
from tapectl.serve.json_lines import Message


class FrontEnd(Protocol):
    """One of two: our own target (`user_front_end`), or the kernel's (`kernel_front_end`).

    In this order: `ring_of` while workers start, `open` when all do their work, `run` until `stop`,
    then `close`, and `drain` while the workers stop.
    """

    @property
    def addresses(self) -> Sequence[str]:
        """Where initiators find the targets."""
        ...

    @property
    def targets(self) -> Sequence[str]:
        """The names of all targets."""
        ...

    def ring_of(self, device: DeviceInfo) -> str | None:
        """Return the name of the ring that a drive's worker is to serve, None for none; from any
        thread."""
        ...

    def open(self) -> None:
        """Serve the changer, and let initiators in."""
        ...

    def run(self) -> None:
        """Return once `stop` was called."""
        ...

    def stop(self) -> None:
        """Make `run` return; from any thread."""
        ...

    def is_alive(self, timeout_s: float) -> bool:
        """Return whether initiators are let in, or it is to stop; waits so long to find out."""
        ...

    def close(self, *, keep: bool) -> None:
        """Let nobody in any more, while all that is under way is still answered.

        With `keep` initiators that can wait for the next server are left to.
        """
        ...

    def drain(self) -> None:
        """Let the initiators of what is served in this process leave."""
        ...

    def grow(self, devices: Sequence[DeviceInfo]) -> None:
        """The library has more devices, whose workers do their work."""
        ...

    def take_over(self, settings: Settings) -> None:
        """Go by these settings from now on; raises AddressInUseError, and nothing has changed."""
        ...

    def drop_sessions(self, device_name: str, initiator_name: str) -> None:
        """The access of an initiator to a device, or to discovery, was changed."""
        ...

    def status(self) -> Message:
        """Return what the control socket shows beside the devices."""
        ...

    def sessions(self, device: DeviceInfo) -> list[Message] | None:
        """Return the sessions of a device where its worker does not know them; else None."""
        ...
