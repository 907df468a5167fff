"""What ails a gateway, and the TapeAlert flags of its devices, as rows of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapectl.cli.render import Row, iso_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import IntEnum

    from tapectl.gateway.devices import DeviceInfo


def alert_rows(answer: dict[str, object]) -> list[Row]:
    """Return the alerts in the supervisor's answer to `status`."""
    return [
        {
            "Alert": alert["alert"],
            "Subject": alert["subject"],
            "Message": alert["message"],
            "Since": iso_time(alert["since_ms"]),
        }
        for alert in _objects(answer.get("alerts"))
    ]


def show_alerts(value: object) -> str:
    """Return alerts for people: what is wrong, one after the other."""
    return "; ".join(str(alert["Message"]) for alert in _objects(value))


def tape_alert_rows(answer: dict[str, object], device: DeviceInfo) -> list[Row]:
    """Return the active TapeAlert flags of a device from the supervisor's answer to `status`."""
    from tapectl.gateway.devices import CHANGER_NUMBER, LIBRARY_NUMBER
    from tapectl.scsi.smc.alerts import LibraryAlert
    from tapectl.scsi.ssc.alerts import TapeAlert

    if device.drive_number in (CHANGER_NUMBER, LIBRARY_NUMBER):
        (found,) = _objects([answer.get("changer")])
        return _flag_rows(LibraryAlert, found["tape_alerts"])
    for drive in _objects(answer.get("drives")):
        if drive["drive_number"] == device.drive_number:
            return _flag_rows(TapeAlert, drive.get("tape_alerts", ()))
    return []


def show_tape_alerts(value: object) -> str:
    """Return flags for people: number and name of each."""
    return ", ".join(f"{flag['Flag']} {flag['Name']}" for flag in _objects(value))


def _flag_rows(known: Iterable[IntEnum], flags: Iterable[int]) -> list[Row]:
    """Return number and name of each flag; an initiator may have set others to test them."""
    names = {flag.value: flag.name.lower().replace("_", " ") for flag in known}
    return [{"Flag": flag, "Name": names.get(flag, "")} for flag in flags]


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
