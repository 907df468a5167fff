"""The gateway at one glance, for people: one screen of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tapectl.cli.render import show_fields
from tapectl.units import format_duration, format_size

# What a screen has room for; the rest is counted.
_DRIVES_MAX, _INITIATORS_MAX, _UNDER_WAY_MAX = 12, 6, 8
_LABEL_WIDTH = 15
# Below it nobody reads: the gateway looks whether its store is there.
_DOWNLOADS_SHOWN_BYTES_PER_S = 1024

Row = Mapping[str, Any]


def status_lines(row: Row) -> list[str]:
    """Return the lines of the screen for the JSON object of `tapectl status`."""
    return [
        *_gateway_lines(row),
        "",
        *_drive_lines(row),
        *_initiator_lines(row),
        *_room_lines(row),
        *_under_way_lines(row),
        *_alarm_lines(row),
    ]


def _gateway_lines(row: Row) -> Iterator[str]:
    yield _line("Gateway", f"{row['GatewayId']} ({row['GatewayName']})")
    if row["GatewayState"] == "STATE_RUNNING":
        yield _line("Serving", f"on {', '.join(row['Portals'])}, pid {row['Pid']}")
    else:
        yield _line("Serving", "no; run `tapectl serve`")
    if row["StateDetail"]:
        yield _line("Read-only", row["StateDetail"])
    endpoint = f" at {row['EndpointUrl']}" if row["EndpointUrl"] else ""
    yield _line("Store", f"{row['StoreUrl']}{endpoint}")
    if row.get("StoreError"):
        yield _line("Store fails", row["StoreError"])
    if row.get("StoreHint"):
        yield _line("", f"hint: {row['StoreHint']}")
    by_status = show_fields(row["TapesByStatus"]) or "none"
    yield _line("Tapes", f"{by_status} ({format_size(row['TapesSizeInBytes'])})")


def _drive_lines(row: Row) -> Iterator[str]:
    if "Drives" not in row:
        if row["TapesInDrives"]:
            yield _line("Drives", f"{row['TapesInDrives']} tapes in them, not open")
        return
    drives: Sequence[Row] = row["Drives"]
    busy = [one for one in drives if one["TapeBarcode"] or not one["Responds"]]
    if not busy:
        yield _line("Drives", f"{len(drives)}, all empty")
    for number, one in enumerate(busy[:_DRIVES_MAX]):
        yield _line("" if number else "Drives", f"{one['Device']}  {_drive_text(one)}")
    if hidden := len(busy) - _DRIVES_MAX if len(busy) > _DRIVES_MAX else 0:
        yield _line("", f"and {hidden} more with tapes")
    if busy and len(busy) < len(drives):
        yield _line("", f"and {len(drives) - len(busy)} empty")


def _drive_text(drive: Row) -> str:
    if not drive["Responds"]:
        return "does not answer"
    used, size = format_size(drive["TapeUsedInBytes"]), format_size(drive["TapeSizeInBytes"])
    speeds = [
        f"{verb} {format_size(drive[key])}/s"
        for verb, key in (("write", "WrittenBytesPerSecond"), ("read", "ReadBytesPerSecond"))
        if drive[key]
    ]
    return f"{drive['TapeBarcode']}  {used} of {size}  {', '.join(speeds) or 'idle'}"


def _initiator_lines(row: Row) -> Iterator[str]:
    if "Initiators" not in row:
        return
    found: Sequence[Row] = row["Initiators"]
    if not found:
        yield _line("Connected", "nobody")
    for number, one in enumerate(found[:_INITIATORS_MAX]):
        devices = one["Devices"]
        text = ", ".join(devices) if len(devices) < 3 else f"{len(devices)} devices"
        yield _line("" if number else "Connected", f"{one['InitiatorName']} from {one['Address']}")
        yield _line("", f"  {text}")
    if len(found) > _INITIATORS_MAX:
        yield _line("", f"and {len(found) - _INITIATORS_MAX} more")


def _room_lines(row: Row) -> Iterator[str]:
    cache, buffer = row["CacheAllocatedInBytes"], row["UploadBufferAllocatedInBytes"]
    used, dirty = row["CacheUsedPercentage"], row["CacheDirtyPercentage"]
    text = f"{used:.1f}% of {format_size(cache)}, {dirty:.1f}% not uploaded"
    without = "no disk; run `tapectl disk add-cache`"
    yield _line("Cache", text + _full(row["CacheSecondsToFull"]) if cache else without)
    if row.get("CacheHitPercentage") is not None:
        yield _line("", f"{row['CacheHitPercentage']:.1f}% of what was read came from it")
    percent = 100 * row["UploadBufferUsedInBytes"] / buffer if buffer else 0.0
    text = f"{percent:.1f}% of {format_size(buffer)}"
    without = "no disk; run `tapectl disk add-buffer`"
    yield _line(
        "Upload buffer", text + _full(row["UploadBufferSecondsToFull"]) if buffer else without
    )
    yield _line("Uploads", _uploads_text(row))
    if (rate := row.get("DownloadedBytesPerSecond") or 0) >= _DOWNLOADS_SHOWN_BYTES_PER_S:
        yield _line("Downloads", f"{format_size(rate)}/s")


def _uploads_text(row: Row) -> str:
    if not row["WaitingBytes"]:
        return "all done"
    text = f"{format_size(row['WaitingBytes'])} in {row['WaitingSegments']} segments"
    if rate := row.get("UploadedBytesPerSecond"):
        text += f", {format_size(rate)}/s"
    if (left_s := row["UploadSecondsLeft"]) is not None:
        # While more is written than is uploaded they are never done, but so far behind.
        if row["UploadBufferSecondsToFull"] is not None:
            return f"{text}, {format_duration(left_s)} behind"
        return f"{text}, done in {format_duration(left_s)}"
    return text if row["GatewayState"] == "STATE_RUNNING" else f"{text}; run `tapectl sync`"


def _under_way_lines(row: Row) -> Iterator[str]:
    found: Sequence[Row] = row["TapesUnderWay"]
    for number, one in enumerate(found[:_UNDER_WAY_MAX]):
        yield _line("" if number else "On their way", _under_way_text(one))
    if len(found) > _UNDER_WAY_MAX:
        yield _line("", f"and {len(found) - _UNDER_WAY_MAX} more")


def _under_way_text(tape: Row) -> str:
    text = f"{tape['TapeBarcode']}  {tape['TapeStatus']}"
    if tape["WaitingBytes"]:
        text += f", {format_size(tape['WaitingBytes'])} to upload"
    if tape["Progress"]:
        text += f", {tape['Progress']:.0f}%"
    if tape["SecondsLeft"]:
        at_most = "at most " if tape["RetrievalTier"] else ""
        text += f", {at_most}{format_duration(tape['SecondsLeft'])} left"
    return text


def _alarm_lines(row: Row) -> Iterator[str]:
    alerts: Sequence[Row] = row.get("Alerts", ())
    for number, one in enumerate(alerts):
        yield _line("" if number else "Alarms", f"{one['Alert']}: {one['Message']}")
    if not alerts and "Alerts" in row:
        yield _line("Alarms", "none")


def _full(seconds: int | None) -> str:
    return "" if seconds is None else f", full in {format_duration(seconds)}"


def _line(label: str, text: str) -> str:
    return f"{label:<{_LABEL_WIDTH}}{text}"
