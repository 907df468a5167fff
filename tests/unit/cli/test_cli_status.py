"""`tapectl status`: what the screen says, and that it fits into 80 columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tapectl.cli.status import styled
from tapectl.cli.status_screen import status_lines

Active = Callable[..., int]

GIB = 1 << 30
ROW: Mapping[str, Any] = {
    "GatewayId": "sgw-0A1B2C3D",
    "GatewayName": "basement",
    "GatewayState": "STATE_RUNNING",
    "StateDetail": None,
    "Pid": 4711,
    "Portals": ["192.0.2.10:3260"],
    "StoreUrl": "s3://tapes/basement",
    "EndpointUrl": None,
    "StoreError": None,
    "TapesByStatus": {"AVAILABLE": 4, "RETRIEVING": 1, "IN TRANSIT TO VTS": 1},
    "TapesSizeInBytes": 600 * GIB,
    "TapesInDrives": 1,
    "Drives": [
        {
            "Device": "tapedrive-01",
            "Responds": True,
            "TapeBarcode": "VTL001L5",
            "TapeUsedInBytes": 20 * GIB,
            "TapeSizeInBytes": 100 * GIB,
            "WrittenBytesPerSecond": 210 << 20,
            "ReadBytesPerSecond": 0,
        },
        {"Device": "tapedrive-02", "Responds": True, "TapeBarcode": None},
        {"Device": "tapedrive-03", "Responds": False, "TapeBarcode": None},
    ],
    "Initiators": [
        {
            "InitiatorName": "iqn.1993-08.org.debian:01:abc",
            "Address": "192.0.2.20",
            "Devices": ["mediachanger", "tapedrive-01"],
        }
    ],
    "DownloadedBytesPerSecond": 0,
    "UploadedBytesPerSecond": 20 << 20,
    "WaitingBytes": 12 * GIB,
    "WaitingSegments": 192,
    "UploadSecondsLeft": 614,
    "CacheAllocatedInBytes": 150 * GIB,
    "CacheUsedPercentage": 40.0,
    "CacheDirtyPercentage": 8.0,
    "CacheSecondsToFull": 10_800,
    "UploadBufferAllocatedInBytes": 150 * GIB,
    "UploadBufferUsedInBytes": 12 * GIB,
    "UploadBufferSecondsToFull": None,
    "TapesUnderWay": [
        {
            "TapeBarcode": "VTL002L5",
            "TapeStatus": "RETRIEVING",
            "RetrievalTier": "Standard",
            "Progress": 50.0,
            "WaitingBytes": 0,
            "SecondsLeft": 7500,
        },
        {
            "TapeBarcode": "VTL003L5",
            "TapeStatus": "IN TRANSIT TO VTS",
            "RetrievalTier": None,
            "Progress": None,
            "WaitingBytes": GIB,
            "SecondsLeft": None,
        },
    ],
    "Alerts": [],
}

SCREEN = """\
Gateway        sgw-0A1B2C3D (basement)
Serving        on 192.0.2.10:3260, pid 4711
Store          s3://tapes/basement
Tapes          AVAILABLE=4 RETRIEVING=1 IN TRANSIT TO VTS=1 (600 GiB)

Drives         tapedrive-01  VTL001L5  20 GiB of 100 GiB  write 210 MiB/s
               tapedrive-03  does not answer
               and 1 empty
Connected      iqn.1993-08.org.debian:01:abc from 192.0.2.20
                 mediachanger, tapedrive-01
Cache          40.0% of 150 GiB, 8.0% not uploaded, full in 3 h 0 min
Upload buffer  8.0% of 150 GiB
Uploads        12 GiB in 192 segments, 20 MiB/s, done in 10 min 14 s
On their way   VTL002L5  RETRIEVING, 50%, at most 2 h 5 min left
               VTL003L5  IN TRANSIT TO VTS, 1 GiB to upload
Alarms         none"""


def test_one_screen_answers_it_all() -> None:
    lines = status_lines(ROW)
    assert "\n".join(lines) == SCREEN
    assert max(map(len, lines)) <= 80


def test_a_large_library_is_one_screen_too() -> None:
    drives = [dict(ROW["Drives"][0], Device=f"tapedrive-{n:02d}") for n in range(1, 65)]
    lines = status_lines(dict(ROW, Drives=drives, Initiators=list(ROW["Initiators"]) * 40))
    assert len(lines) <= 50
    assert "               and 52 more with tapes" in lines


def test_uploads_that_are_slower_than_the_writers_are_behind() -> None:
    lines = status_lines(dict(ROW, UploadBufferSecondsToFull=600))
    assert "Uploads        12 GiB in 192 segments, 20 MiB/s, 10 min 14 s behind" in lines


def test_only_what_is_read_is_a_download() -> None:
    """A gateway that is idle asks its store now and then whether it is there."""
    for rate, shown in ((93, False), (20 << 20, True)):
        lines = status_lines(dict(ROW, DownloadedBytesPerSecond=rate))
        assert any(line.startswith("Downloads") for line in lines) is shown


def test_what_is_missing_is_said() -> None:
    lines = status_lines(dict(ROW, CacheAllocatedInBytes=0, UploadBufferAllocatedInBytes=0))
    assert "Cache          no disk; run `tapectl disk add-cache`" in lines
    assert "Upload buffer  no disk; run `tapectl disk add-buffer`" in lines


def test_only_what_is_wrong_is_red() -> None:
    def red(row: dict[str, Any]) -> list[str]:
        text = styled(row)
        return [
            text.plain[span.start : span.end] for span in text.spans if "red" in str(span.style)
        ]

    assert red(ROW) == []
    alerts = [{"Alert": "CacheFull", "Message": "none left"}]
    assert red(dict(ROW, Alerts=alerts)) == ["Alarms         CacheFull: none left"]


def test_what_is_wrong_is_said() -> None:
    alerts = [{"Alert": "CacheFull", "Message": "the cache is full"}]
    lines = status_lines(dict(ROW, Alerts=alerts, StoreError="no answer"))
    assert "Alarms         CacheFull: the cache is full" in lines
    assert "Store fails    no answer" in lines


def test_without_a_server(active: Active, capsys: pytest.CaptureFixture[str]) -> None:
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5", "--wait")
    active("tape", "eject", "VTL001L5", "--hold", "60")
    capsys.readouterr()
    assert active("status") == 0
    screen = capsys.readouterr().out
    assert "Serving        no; run `tapectl serve`\n" in screen
    assert "On their way   VTL001L5  IN TRANSIT TO VTS\n" in screen
    assert active("status", "--output", "json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["GatewayState"] == "STATE_STOPPED"
    assert row["UploadSecondsLeft"] == 0
