"""A tape goes from the shelf of a gateway to another one that serves the same bucket, and back.

On a directory, and on moto, which refuses to read what is in Glacier and has not been restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway, wait_until
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, moto_server
from tests.support.tapebench import Tapebench

SETTINGS = {"hold_s": "0", "retrieval_poll_s": "0.2", "directory_retrieval_delay_s": "1"}
WRITTEN = ("-E", "raw", "-b", "256k", "-t", "48m", "--seed", "7")
BUCKET = "tapes"
WAIT_S = 30.0


@pytest.fixture(params=["directory", "moto"])
def server(request: pytest.FixtureRequest) -> Iterator[S3Server | None]:
    if request.param == "directory":
        yield None
        return
    with moto_server() as running:
        running.store(BUCKET)  # makes the bucket
        yield running


@pytest.fixture
def machines(
    make_gateway: Callable[..., Gateway], server: S3Server | None
) -> tuple[Gateway, Gateway]:
    """Two gateways that serve one bucket."""
    first, second = make_gateway("first", **SETTINGS), make_gateway("second", **SETTINGS)
    for machine in (first, second):
        if server is None:
            machine.activate(store=str(first.store))
        else:
            machine.credentials = {
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            }
            options = ("--endpoint-url", server.endpoint_url, "--region", "us-east-1")
            machine.activate(*options, store=f"s3://{BUCKET}/library")
        machine.serve()
    return first, second


def archive(gateway: Gateway, barcode: str) -> None:
    gateway.changer().export(barcode)
    gateway.wait_status(barcode, "ARCHIVED")


def retrieve(gateway: Gateway, barcode: str) -> None:
    gateway.cli("tape", "retrieve", barcode, "--tier", "Bulk", "--wait")
    gateway.load(barcode)


def test_a_tape_is_retrieved_to_the_other_gateway_and_back(
    machines: tuple[Gateway, Gateway], tapebench: Tapebench
) -> None:
    first, second = machines
    first_id, second_id = (one.ask("gateway", "show")["GatewayId"] for one in machines)
    (barcode,) = first.create_tapes()
    first.load(barcode)
    tapebench.run("-o", "write", *WRITTEN, urls=first.urls([1])).assert_clean()
    refused = second.run("tape", "retrieve", barcode)
    assert refused.returncode != 0
    assert f"belongs to gateway {first_id}" in refused.stderr
    assert f"tapectl tape eject {barcode}" in refused.stderr
    archive(first, barcode)

    def on_other_shelves() -> list[tuple[str, str]]:
        rows = second.ask("archive", "list", "--all-gateways")
        return [(row["TapeBarcode"], row["GatewayId"]) for row in rows]

    wait_until(lambda: on_other_shelves() == [(barcode, first_id)], "the shelf", WAIT_S)
    retrieve(second, barcode)
    tapebench.run("-o", "verify", *WRITTEN, urls=second.urls([1])).assert_clean()
    assert on_other_shelves() == [(barcode, second_id)]

    # Whoever wants it where it was is told.
    gone = first.run("tape", "retrieve", barcode, "--wait")
    assert gone.returncode == ExitCode.TAPE_STATUS
    assert f"belongs to gateway {second_id} now" in gone.stderr
    assert first.ask("archive", "list") == []
    assert second_id in first.run("tape", "show", barcode).stderr

    archive(second, barcode)
    rows = first.ask
    wait_until(lambda: bool(rows("archive", "list", "--all-gateways")), "the shelf", WAIT_S)
    retrieve(first, barcode)
    tapebench.run("-o", "verify", *WRITTEN, urls=first.urls([1])).assert_clean()
    assert [row["TapeStatus"] for row in first.ask("tape", "list")] == ["RETRIEVED"]
    assert "IRRECOVERABLE" not in first.cli("events") + second.cli("events")
