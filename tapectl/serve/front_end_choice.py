"""Which front end the settings ask for, and whether it may listen where they say."""

from __future__ import annotations

import ipaddress
import logging

from tapectl.gateway.initiators import access_is_limited
from tapectl.gateway.settings import Fabric, FrontEndKind, Settings
from tapectl.serve.errors import UnsafeListenError
from tapectl.state.database import State

_log = logging.getLogger(__name__)


def uses_kernel_target(settings: Settings) -> bool:
    """Say whether the kernel's target is the front end: asked for, or taken where it is there."""
    if settings.frontend is not FrontEndKind.AUTO:
        return settings.frontend is FrontEndKind.LIO
    from tapectl.lio.requirements import missing

    found = missing(settings.fabric)
    for one in found:
        _log.info("our own target is used: %s", one.what)
    return not found


def check_listen(settings: Settings, state: State) -> None:
    """Raise UnsafeListenError for an address beyond loopback that anyone could log in at."""
    local = settings.fabric is Fabric.LOOPBACK and uses_kernel_target(settings)
    if local or settings.allow_anonymous or access_is_limited(state):
        return
    for address in settings.listen:
        try:
            loopback = ipaddress.ip_address(address.host).is_loopback
        except ValueError:
            loopback = address.host == "localhost"
        if not loopback:
            raise UnsafeListenError(str(address))
