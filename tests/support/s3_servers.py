"""Real S3 servers for tests: SeaweedFS and moto, child processes on free loopback ports.

They are bounded: `timeout` ends them even if the test run is killed. A server that is not
installed skips its tests, with the reason, but fails them in CI.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tapectl.store.s3 import S3Store
from tests.support.clients import missing

ACCESS_KEY = "testak"
SECRET_KEY = "testsecret123"
# Another pair that SeaweedFS knows, for what happens when keys are renewed.
NEW_ACCESS_KEY = "testak2"
NEW_SECRET_KEY = "testsecret456"
_LIFE_S = 900
_START_S = 60


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server: where it is, and whether its Glacier really archives."""

    endpoint_url: str
    archives: bool

    def store(self, bucket: str, prefix: str = "") -> S3Store:
        """Return a store in a bucket, which is made if it is missing."""
        client = self.client()
        if bucket not in [entry["Name"] for entry in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=bucket)
        return S3Store(bucket, prefix, lambda: client)

    def create_lock_bucket(self, bucket: str) -> None:
        """Make a bucket with Object Lock, which has versioning."""
        self.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)

    def client(self, *, secret_key: str = SECRET_KEY):  # type: ignore[no-untyped-def]
        """Return a boto3 client as S3Store makes it, with the test's own keys."""
        import boto3
        from botocore.config import Config

        return boto3.Session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=secret_key).client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint_url,
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 2},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"payload_signing_enabled": False, "addressing_style": "path"},
            ),
        )


def free_ports(count: int) -> list[int]:
    """Return loopback ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def moto_server() -> Iterator[S3Server]:
    """Run moto's server; restores take the time set by `set_moto_restore_s`, none by default."""
    program = _program("moto_server")
    (port,) = free_ports(1)
    command = [program, "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, f"http://127.0.0.1:{port}"):
        yield S3Server(f"http://127.0.0.1:{port}", archives=True)


@contextmanager
def weed_server() -> Iterator[S3Server]:
    """Run SeaweedFS with its S3 gateway in a temporary directory."""
    program = _program("weed")
    ports = free_ports(8)
    directory = Path(tempfile.mkdtemp(prefix="weed-"))
    config = directory / "s3.json"
    identity = {
        "name": "tests",
        "credentials": [
            {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY},
            {"accessKey": NEW_ACCESS_KEY, "secretKey": NEW_SECRET_KEY},
        ],
        "actions": ["Admin", "Read", "Write", "List", "Tagging", "BypassGovernanceRetention"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    names = (
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port",
        "s3.port.grpc",
    )
    command = [
        program,
        f"-logdir={directory}",
        "server",
        f"-dir={directory}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.volumeSizeLimitMB=128",
        "-volume.max=100",
        "-filer",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.ip.bind=127.0.0.1",
        f"-s3.config={config}",
        *(f"-{name}={port}" for name, port in zip(names, ports, strict=True)),
    ]
    endpoint_url = f"http://127.0.0.1:{ports[6]}"
    try:
        with _running(command, endpoint_url, cwd=directory):
            server = S3Server(endpoint_url, archives=False)
            _wait_for_writes(server)
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        # It makes these there whatever it is told, and has no time to remove them.
        for port in ports:
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)


def _program(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        missing(f"{name} is not installed")
    return found


@contextmanager
def _running(command: list[str], endpoint_url: str, cwd: Path | None = None) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["timeout", "--signal=KILL", str(_LIFE_S), *command],
            stdout=log,
            stderr=log,
            cwd=cwd,
            env={
                **os.environ,
                "MOTO_ALLOW_NONEXISTENT_REGION": "true",
                # SeaweedFS wraps the keys of SSE-S3 with it.
                "WEED_S3_SSE_KEY": "of the tests",
            },
            # A group of its own, `timeout` and the server, to be ended together.
            start_new_session=True,
        )
        try:
            _wait_for_answer(process, endpoint_url, log)
            yield
        finally:
            # SeaweedFS takes longer than a test to stop by itself, and outlives `timeout` then.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for_answer(process: subprocess.Popen[bytes], endpoint_url: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while not _answers(endpoint_url):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            said = log.read()[-2000:].decode(errors="replace")
            pytest.fail(f"server did not start: {process.args!r}\n{said}")
        time.sleep(0.1)


def _answers(endpoint_url: str) -> bool:
    try:
        urllib.request.urlopen(endpoint_url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _wait_for_writes(server: S3Server) -> None:
    """Wait until the volumes are ready too; the gateway answers earlier than they are."""
    client = server.client()
    deadline = time.monotonic() + _START_S
    while True:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="probe", Body=b"x")
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
