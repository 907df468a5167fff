"""Who may log in to a device, all at once: for a target that is told beforehand."""

from __future__ import annotations

from collections.abc import Mapping

from tapectl.gateway.chap import LoginCredential, login_credentials
from tapectl.gateway.devices import DeviceInfo
from tapectl.gateway.initiators import allowed_initiators
from tapectl.state import chap
from tapectl.state.database import State


def initiators_let_in(
    state: State, device: DeviceInfo
) -> Mapping[str, LoginCredential | None] | None:
    """Return the initiators by name, each with what it has to prove itself by, None for nothing.

    None where whoever comes is let in: the device has no list and asks for no CHAP.
    """
    listed = allowed_initiators(state).get(device.name)
    with state.read() as db:
        with_secret = {
            entry.initiator_name for entry in chap.entries(db) if entry.target == device.name
        }
    if listed is None and not with_secret:
        return None
    names = set(listed) if listed is not None else with_secret
    if with_secret:
        names &= with_secret
    credentials: dict[str, LoginCredential | None] = {}
    for name in sorted(names):
        found = login_credentials(state, device.target_name, name) if with_secret else ()
        credentials[name] = found[0] if found else None
    return credentials
