"""The gateway at one glance, as one JSON object; docs/json-output.md says what each key means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapectl.cli.alert_rows import alert_rows
from tapectl.cli.gateway import gateway_row, standing_row
from tapectl.cli.render import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tapectl.gateway.settings import Settings
    from tapectl.gateway.status import GatewayStatus
    from tapectl.state.database import State

Answer = dict[str, Any]


def status_row(state: State, settings: Settings, answer: Answer | None) -> Row:
    """Return the object; `answer` is what the supervisor says of itself, None where none runs."""
    from tapectl.gateway.status import gateway_standing, gateway_status

    found = gateway_status(state)
    rates = _rates(answer)
    return {
        **gateway_row(found.gateway, settings),
        **standing_row(gateway_standing(state)),
        **_state_row(found),
        **_serving_row(answer, rates),
        **_outlook_row(found, rates),
        "TapesUnderWay": _under_way_rows(state, settings, rates),
    }


def _state_row(found: GatewayStatus) -> Row:
    return {
        "TapesByStatus": {word.value: count for word, count in found.tapes_by_status.items()},
        "Tapes": found.tapes,
        "TapesSizeInBytes": found.size_bytes,
        "TapesInDrives": found.tapes_in_drives,
        "WaitingSegments": found.waiting_segments,
        "WaitingBytes": found.waiting_bytes,
        "OverwrittenBytes": found.overwritten_bytes,
        "CacheAllocatedInBytes": found.cache.allocated_bytes,
        "CacheUsedPercentage": round(found.cache.used_percent, 2),
        "CacheDirtyPercentage": round(found.cache_dirty_percent, 2),
        "UploadBufferAllocatedInBytes": found.upload_buffer.allocated_bytes,
        "UploadBufferUsedInBytes": found.upload_buffer.used_bytes,
    }


def _serving_row(answer: Answer | None, rates: Mapping[str, float]) -> Row:
    """Return what only the processes that serve know: sessions, drives, speeds, troubles."""
    if answer is None:
        return {"GatewayState": "STATE_STOPPED"}
    initiators = _initiator_rows(answer)
    return {
        "GatewayState": "STATE_RUNNING",
        "Pid": answer.get("pid"),
        "Portals": answer.get("portals"),
        "Sessions": sum(len(one["Devices"]) for one in initiators),
        "Initiators": initiators,
        "Drives": [_drive_row(drive) for drive in answer["drives"]],
        "WrittenBytesPerSecond": round(rates["written"]),
        "ReadBytesPerSecond": round(rates["read"]),
        "UploadedBytesPerSecond": round(rates["uploaded"]),
        "DownloadedBytesPerSecond": round(rates["downloaded"]),
        **_hit_row(answer),
        "StoreError": answer["transfer"].get("store_error"),
        "StoreHint": answer["transfer"].get("store_hint"),
        "Alerts": alert_rows(answer),
    }


def _hit_row(answer: Answer) -> Row:
    from tapectl.serve.metrics import cache_hit_percent

    hit = cache_hit_percent(answer)
    return {
        "CacheHitPercentage": None if hit is None else round(hit, 2),
        "CacheMissPercentage": None if hit is None else round(100 - hit, 2),
    }


def _rates(answer: Answer | None) -> Mapping[str, float]:
    """Return bytes a second of the whole gateway; a process that does not answer moves nothing."""
    drives = answer["drives"] if answer is not None else []
    transfer = answer["transfer"] if answer is not None else {}
    return {
        "written": sum(drive.get("written_bytes_per_s", 0.0) for drive in drives),
        "read": sum(drive.get("read_bytes_per_s", 0.0) for drive in drives),
        "uploaded": transfer.get("uploaded_bytes_per_s", 0.0),
        "downloaded": transfer.get("downloaded_bytes_per_s", 0.0),
        "arrived": transfer.get("arrived_bytes_per_s", 0.0),
    }


def _outlook_row(found: GatewayStatus, rates: Mapping[str, float]) -> Row:
    from tapectl.gateway.outlook import seconds_to_full, seconds_to_go

    def full(allocated_bytes: int, used_bytes: float) -> float | None:
        return _whole(
            seconds_to_full(allocated_bytes - used_bytes, rates["written"], rates["arrived"])
        )

    cache = found.cache.allocated_bytes
    buffer = found.upload_buffer
    return {
        "UploadSecondsLeft": _whole(seconds_to_go(found.waiting_bytes, rates["arrived"])),
        # What is uploaded leaves the cache when room is needed.
        "CacheSecondsToFull": full(cache, cache * found.cache_dirty_percent / 100),
        "UploadBufferSecondsToFull": full(buffer.allocated_bytes, buffer.used_bytes),
    }


def _under_way_rows(state: State, settings: Settings, rates: Mapping[str, float]) -> list[Row]:
    from tapectl.gateway.under_way import tapes_under_way

    return [
        {
            "TapeBarcode": tape.barcode,
            "TapeStatus": tape.status.value,
            "RetrievalTier": tape.tier,
            "Progress": tape.progress,
            "WaitingBytes": tape.waiting_bytes,
            "SecondsLeft": _whole(tape.seconds_left),
            "StatusDetail": tape.status_detail,
        }
        for tape in tapes_under_way(state, settings, arrived_bytes_per_s=rates["arrived"])
    ]


def _drive_row(drive: Answer) -> Row:
    from tapectl.gateway.devices import device_name

    return {
        "Device": device_name(drive["drive_number"]),
        "Responds": drive.get("ok", True),
        "TapeBarcode": drive.get("barcode"),
        "TapeUsedInBytes": drive.get("used_bytes"),
        "TapeSizeInBytes": drive.get("volume_bytes"),
        "WrittenBytesPerSecond": round(drive.get("written_bytes_per_s", 0)),
        "ReadBytesPerSecond": round(drive.get("read_bytes_per_s", 0)),
        "Initiators": sorted({one["initiator_name"] for one in drive.get("sessions", ())}),
    }


def _initiator_rows(answer: Answer) -> list[Answer]:
    """Return who is connected from where, each with the devices it uses."""
    devices: dict[tuple[str, str], list[str]] = {}
    for device, session in _sessions(answer):
        devices.setdefault((session["initiator_name"], session["peer"]), []).append(device)
    return [
        {"InitiatorName": name, "Address": address, "Devices": sorted(used)}
        for (name, address), used in sorted(devices.items())
    ]


def _sessions(answer: Answer) -> Iterator[tuple[str, Answer]]:
    from tapectl.gateway.devices import CHANGER_NUMBER, device_name

    library: Sequence[Answer] = (answer.get("library") or {}).get("sessions", ())
    yield from ((device_name(CHANGER_NUMBER), one) for one in answer["changer"]["sessions"])
    yield from (("library", one) for one in library)
    for drive in answer["drives"]:
        yield from ((device_name(drive["drive_number"]), one) for one in drive.get("sessions", ()))


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
