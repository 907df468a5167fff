"""The kernel's target as we want it, set up with rtslib-fb: storage objects, targets, access.

What is ours is known by its name (`names`); nothing else in the kernel's target is touched. All of
it may be called again at any time: what is there already stays, with the sessions that use it.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rtslib_fb as rtslib

from tapectl.gateway.activation import MAX_DRIVES
from tapectl.gateway.chap import LoginCredential
from tapectl.gateway.devices import DeviceInfo, device_name
from tapectl.gateway.settings import Fabric, ListenAddress
from tapectl.lio.errors import KernelTargetError
from tapectl.lio.names import (
    SUBTYPE,
    is_storage_object_of,
    loopback_name,
    storage_object_name,
)
from tapectl.units import GIB

_log = logging.getLogger(__name__)

_CONFIGFS = Path("/sys/kernel/config")
# Where the kernel keeps reservations that outlive a power loss: it makes no folder itself. One that
# had devices before we came has another, and keeps it, of which rtslib warns.
_DATABASE, _RESERVATIONS = Path("/etc/target"), "pr"
# No answer is ever late: a load may wait for the store. What is aborted is told (Linux 5.9).
_STORAGE_OBJECT_ATTRIBUTES = {"cmd_time_out": 0, "tmr_notification": 1}
# A tape has no size; the kernel wants one.
_SIZE_BYTES = GIB
# One piece of the data area is 1 MiB: the data of nearly every command is in one. No reply is
# waited for from a daemon that does not know our devices (tcmu-runner).
_CONTROL = "nl_reply_supported=-1,max_data_area_mb=64,data_pages_per_blk=256"
_TAG, _LUN = 1, 0
# How what is in a ring ends when the ring is reset: 1 is BUSY, which initiators try again.
_CHECK_CONDITION = "2"
_PARAMETERS = {
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "262144",
    "FirstBurstLength": "262144",
    "MaxBurstLength": "1048576",
}

# Who may log in to a target, by initiator name, and with which secret; None: whoever comes.
Access = Mapping[str, LoginCredential | None] | None


@dataclass(frozen=True, slots=True)
class KernelSession:
    """A session that the kernel has with an initiator."""

    initiator_name: str
    peer: str
    connections: int


class KernelTarget:
    """The objects of one gateway in the kernel's target. One thread at a time."""

    def __init__(
        self, gateway_id: str, fabric: Fabric, portals: Sequence[ListenAddress] = ()
    ) -> None:
        """Load what is needed of the kernel's target; raise KernelTargetError."""
        self._gateway_id = gateway_id
        self._fabric_kind = fabric
        self._portals = [_numeric(address) for address in portals]
        with _kernel_errors("the kernel's target cannot be used"):
            _mount_configfs()
            # Before the module is loaded, which then takes it for its own.
            _DATABASE.mkdir(parents=True, exist_ok=True)
            self._root = rtslib.RTSRoot()
            Path(self._root.dbroot, _RESERVATIONS).mkdir(parents=True, exist_ok=True)
            self._fabric = rtslib.FabricModule(fabric.value)

    @property
    def addresses(self) -> list[str]:
        """Where initiators find the targets; of the loopback fabric only this host does."""
        if self._fabric_kind is Fabric.LOOPBACK:
            return ["this host (tcm_loop)"]
        return [f"{host}:{port}" for host, port in self._portals]

    def storage_object(self, device: DeviceInfo) -> str:
        """Make the storage object of a device unless it is there; return its name.

        Whoever serves its ring has to be there before it gets a target. Raises KernelTargetError.
        """
        name = storage_object_name(self._gateway_id, device.name)
        with _kernel_errors(f"cannot make the storage object {name}"):
            if name not in self._storage_objects():
                # Others may have made some since rtslib has looked.
                rtslib.tcm.bs_cache.clear()
                made = rtslib.UserBackedStorageObject(
                    name,
                    config=f"{SUBTYPE}/{name}",
                    size=_SIZE_BYTES,
                    wwn=device.serial,
                    control=_CONTROL,
                )
                known = made.list_attributes()
                for attribute, value in _STORAGE_OBJECT_ATTRIBUTES.items():
                    if attribute in known:
                        made.set_attribute(attribute, value)
        return name

    def export(self, device: DeviceInfo, access: Access) -> None:
        """Show a device, to the initiators that `access` names. Raises KernelTargetError."""
        storage_object = self._storage_objects()[storage_object_name(self._gateway_id, device.name)]
        with _kernel_errors(f"cannot export {device.name}"):
            tpg = self._tpg(device)
            if self._fabric_kind is Fabric.LOOPBACK:
                self._link(tpg, storage_object)
                return
            if access is not None and tpg.get_attribute("generate_node_acls") == "1":
                # Whom the kernel has let in without a list it lets in for ever, and tells nobody.
                tpg.delete()
                tpg = self._tpg(device)
            for parameter, value in _PARAMETERS.items():
                tpg.set_parameter(parameter, value)
            self._link(tpg, storage_object)
            self._let_in(tpg, access)
            self._listen(tpg)
            tpg.enable = True

    def drop_sessions(self, device: DeviceInfo, initiator_name: str, access: Access) -> None:
        """End the sessions of an initiator, and of any that `access` does not let in any more."""
        if self._fabric_kind is Fabric.LOOPBACK:
            return
        with _kernel_errors(f"cannot change who may use {device.name}"):
            tpg = self._tpg(device)
            if access is None:
                # Sessions of whoever came are no objects of their own: they all end.
                tpg.enable = False
            for acl in list(tpg.node_acls):
                if acl.node_wwn == initiator_name:
                    acl.delete()
        self.export(device, access)

    def sessions(self, device: DeviceInfo) -> list[KernelSession]:
        """Return who is logged in; of those who are on no list the kernel tells the name alone."""
        if self._fabric_kind is Fabric.LOOPBACK:
            return []
        with _kernel_errors(f"cannot see the sessions of {device.name}"):
            tpg = self._tpg(device)
            found = [(acl.node_wwn, acl.session) for acl in tpg.node_acls]
            others = Path(tpg.path, "dynamic_sessions").read_text().replace("\0", "").split()
        return [KernelSession(name, "", 1) for name in others] + [
            KernelSession(
                initiator_name=name,
                peer=session["connections"][0].get("address", "") if session["connections"] else "",
                connections=len(session["connections"]),
            )
            for name, session in found
            if session is not None
        ]

    def remove(self, *, cut_off: bool = False) -> Sequence[str]:
        """Remove everything of this gateway; return the names of what was removed.

        A storage object that somebody else gave to a target of theirs stays. Each command that the
        kernel still has must be answered meanwhile, or fails at once where it is `cut_off`.
        Raises KernelTargetError.
        """
        removed = []
        if cut_off:
            self._cut_off()
        with _kernel_errors("cannot remove the targets"):
            for fabric in Fabric:
                for target in list(rtslib.FabricModule(fabric.value).targets):
                    if self._is_ours(target.wwn):
                        target.delete()
                        removed.append(target.wwn)
            for name, storage_object in self._storage_objects().items():
                if any(True for _ in storage_object.attached_luns):
                    _log.warning("%s stays: a target that is not ours uses it", name)
                    continue
                storage_object.delete()
                removed.append(name)
        return removed

    def _cut_off(self) -> None:
        """Let commands fail that nobody answers: the kernel removes nothing before they end."""
        with _kernel_errors("cannot end the commands that wait"):
            for storage_object in self._storage_objects().values():
                action = Path(storage_object.path, "action")
                (action / "block_dev").write_text("1")
                (action / "reset_ring").write_text(_CHECK_CONDITION)

    def _storage_objects(self) -> Mapping[str, rtslib.UserBackedStorageObject]:
        return {
            one.name: one
            for one in self._root.storage_objects
            if one.plugin == "user" and is_storage_object_of(self._gateway_id, one.name)
        }

    def _is_ours(self, wwn: str) -> bool:
        """Whether a target is one that we made, for a device of today or of an earlier library."""
        return f":{storage_object_name(self._gateway_id, '')}" in wwn or wwn in {
            loopback_name(self._gateway_id, device_name(number)) for number in range(MAX_DRIVES + 1)
        }

    def _tpg(self, device: DeviceInfo) -> rtslib.TPG:
        return rtslib.TPG(rtslib.Target(self._fabric, self._wwn(device)), _TAG)

    def _wwn(self, device: DeviceInfo) -> str:
        if self._fabric_kind is Fabric.LOOPBACK:
            return loopback_name(self._gateway_id, device.name)
        return device.target_name

    def _link(self, tpg: rtslib.TPG, storage_object: rtslib.UserBackedStorageObject) -> None:
        if not any(lun.lun == _LUN for lun in tpg.luns):
            rtslib.LUN(tpg, _LUN, storage_object)

    def _let_in(self, tpg: rtslib.TPG, access: Access) -> None:
        anyone = access is None
        tpg.set_attribute("generate_node_acls", int(anyone))
        tpg.set_attribute("demo_mode_write_protect", 0)
        asks = access is not None and any(one is not None for one in access.values())
        tpg.set_attribute("authentication", int(asks))
        for acl in list(tpg.node_acls):
            if access is None or acl.node_wwn not in access:
                acl.delete()
        for name, credential in (access or {}).items():
            try:
                acl = rtslib.NodeACL(tpg, name)
            except rtslib.RTSLibError as exc:
                _log.error(
                    "%s cannot log in: the kernel's target takes no such name: %s", name, exc
                )
                continue
            if not any(mapped.mapped_lun == _LUN for mapped in acl.mapped_luns):
                rtslib.MappedLUN(acl, _LUN, _LUN, False)
            acl.chap_userid = credential.user if credential else ""
            acl.chap_password = credential.secret.decode() if credential else ""
            mutual = credential is not None and credential.mutual_secret is not None
            acl.chap_mutual_userid = credential.mutual_user if credential and mutual else ""
            acl.chap_mutual_password = (
                credential.mutual_secret.decode()
                if credential is not None and credential.mutual_secret is not None
                else ""
            )

    def _listen(self, tpg: rtslib.TPG) -> None:
        wanted = set(self._portals)
        for portal in list(tpg.network_portals):
            if (portal.ip_address, portal.port) not in wanted:
                portal.delete()
        for host, port in self._portals:
            rtslib.NetworkPortal(tpg, host, port)


def _mount_configfs() -> None:
    if not _CONFIGFS.is_dir():
        subprocess.run(["modprobe", "configfs"], check=True, capture_output=True)
    if not _CONFIGFS.is_mount():
        subprocess.run(
            ["mount", "-t", "configfs", "configfs", str(_CONFIGFS)],
            check=True,
            capture_output=True,
        )


def _numeric(address: ListenAddress) -> tuple[str, int]:
    """Return host and port as the kernel wants them: no names, IPv6 in brackets."""
    if not address.port:
        raise KernelTargetError(f"the kernel's target does not choose a port: {address}")
    try:
        family, _, _, _, found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
    except OSError as exc:
        raise KernelTargetError(f"cannot listen at {address}: {exc}") from exc
    host = str(found[0])
    return (f"[{host}]" if family == socket.AF_INET6 else host), address.port


@contextlib.contextmanager
def _kernel_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (rtslib.RTSLibError, OSError, subprocess.SubprocessError) as exc:
        raise KernelTargetError(
            f"{what}: {exc}", hint="look at the kernel's log (dmesg), and run `tapectl check`"
        ) from exc
