"""`tapectl metrics` is what Prometheus reads, with and without `serve`."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.eviction import evict
from tests.support.gateway import Gateway, wait_until

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"


def values(gateway: Gateway) -> dict[str, float]:
    """Return the metrics as `name{label}` to value."""
    return parsed(gateway.cli("metrics"))


def parsed(text: str) -> dict[str, float]:
    return {
        ",".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(gateway: Gateway) -> dict[str, float]:
    """Return what Prometheus would read."""
    (address,) = gateway.control("status")["metrics"]
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return parsed(answer.read().decode())


def test_the_gateway_in_numbers(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(metrics_listen="0")
    gateway.activate("--drives", "2")
    gateway.create_tapes("--count", "3")
    stopped = values(gateway)
    assert stopped["tapectl_up"] == 0
    assert stopped["tapectl_tapes,AVAILABLE"] == 3
    assert stopped["tapectl_tapes_size_bytes"] == 3 * 100 * 2**30
    assert stopped["tapectl_drives"] == 2
    gateway.serve()
    (barcode, *_) = gateway.barcodes()
    gateway.cli("tape", "verify", barcode)
    served = values(gateway)
    assert served["tapectl_up"] == 1
    assert served["tapectl_alerts,StoreUnreachable"] == 0
    assert served["tapectl_verified_tapes,SOUND"] == 1
    assert served["tapectl_upload_waiting_bytes"] == 0
    gateway.load(barcode)
    drive = gateway.drive(1)
    drive.write_block(bytes(65536))
    drive.write_filemarks(1)
    found = scraped(gateway)
    assert found["tapectl_drive_written_bytes_total,tapedrive-01"] == 65536
    assert found["tapectl_drive_read_bytes_total,tapedrive-01"] == 0
    assert found["tapectl_sessions,tapedrive-01"] == 1
    assert found["tapectl_uploaded_bytes_total"] > 0
    assert found["tapectl_up"] == 1
    assert "tapectl_cache_hit_percent" not in found  # nothing was read yet
    drive.rewind()
    drive.read_block(65536)
    assert scraped(gateway)["tapectl_cache_hit_percent"] == 100
    assert read_cold(gateway, barcode) == 65536
    found = scraped(gateway)
    assert found["tapectl_cache_hit_percent"] == gateway.json("status")["CacheHitPercentage"] == 50
    assert found["tapectl_drive_cache_missed_bytes_total,tapedrive-01"] == 65536
    assert found["tapectl_store_gets_total"] > 0
    assert found["tapectl_health_notifications_total"] == 0
    for expression in expressions_of_the_docs():
        names = set(re.findall(r"\btapectl_\w+", expression))
        assert names, expression
        assert names <= {name.partition(",")[0] for name in found}, expression


def read_cold(gateway: Gateway, barcode: str) -> int:
    """Read a tape that is in the store alone; return how long its first block is."""
    gateway.cli("tape", "unload", barcode)
    wait_until(lambda: gateway.json("status")["WaitingBytes"] == 0, "the upload", 30)
    evict(gateway.state, barcode)
    gateway.load(barcode)
    return len(gateway.drive(1).read_block(65536))


def expressions_of_the_docs() -> list[str]:
    """Return what the alert rules and the dashboard ask Prometheus for."""
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    return [one["expr"] for one in (*rules, *targets)]
