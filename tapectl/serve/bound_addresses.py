"""What is bound to the addresses of a setting, which may change while it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from tapectl.gateway.settings import ListenAddress

Bound = TypeVar("Bound")


class BoundAddresses(Generic[Bound]):
    """One thing an address, made by `bind`, which raises AddressInUseError; `close` ends one."""

    def __init__(
        self, bind: Callable[[ListenAddress], Bound], close: Callable[[Bound], object]
    ) -> None:
        self._bind = bind
        self._close = close
        self._bound: Mapping[ListenAddress, Bound] = {}

    @property
    def all(self) -> Sequence[Bound]:
        """What is bound now, in the order of the setting; from any thread."""
        return list(self._bound.values())

    def change(self, addresses: Sequence[ListenAddress]) -> Sequence[Bound]:
        """Be bound to these addresses; return what is at none of them, for the caller to close.

        Raises what `bind` does, having changed nothing.
        """
        opened: dict[ListenAddress, Bound] = {}
        try:
            for address in addresses:
                if address not in self._bound:
                    opened[address] = self._bind(address)
        except BaseException:
            for one in opened.values():
                self._close(one)
            raise
        before = self._bound
        self._bound = {
            address: opened[address] if address in opened else before[address]
            for address in addresses
        }
        return [before[address] for address in before.keys() - set(addresses)]
