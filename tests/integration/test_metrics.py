"""`tapectl metrics` is what Prometheus reads, with and without `serve`."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.support.gateway import Gateway


def values(gateway: Gateway) -> dict[str, float]:
    """Return the metrics as `name{label}` to value."""
    return {
        ",".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(gateway.cli("metrics"))
        for sample in family.samples
    }


def test_the_gateway_in_numbers(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
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
