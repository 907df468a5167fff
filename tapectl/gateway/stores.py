"""Opens the store that a gateway's record names."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from tapectl.errors import UsageError
from tapectl.gateway.clock import now_ms
from tapectl.gateway.settings import Settings
from tapectl.store.directory import DirectoryStore
from tapectl.store.interface import ObjectStore
from tapectl.store.retrying import RetryingStore, RetryPolicy
from tapectl.store.traffic import Traffic


class StoreAddress(Protocol):
    """What a gateway's record says of its store."""

    @property
    def store_url(self) -> str: ...
    @property
    def region(self) -> str | None: ...
    @property
    def endpoint_url(self) -> str | None: ...
    @property
    def profile(self) -> str | None: ...


def open_store(
    address: StoreAddress, settings: Settings, traffic: Traffic | None = None
) -> ObjectStore:
    """Return the store of `s3://bucket/prefix` or `file:///path`; reaches nothing yet.

    What may pass by itself is tried again; bytes pass by `traffic`, and without it unhindered.
    Raises UsageError for any other address.
    """
    return RetryingStore(
        _open(address, settings, traffic),
        policy=RetryPolicy(),
        sleep=time.sleep,
        monotonic_s=time.monotonic,
        rng=random.random,
    )


def _open(address: StoreAddress, settings: Settings, traffic: Traffic | None) -> ObjectStore:
    scheme, found, rest = address.store_url.partition("://")
    if found and scheme == "file" and rest.startswith("/"):
        return DirectoryStore(
            Path(unquote(rest)),
            retrieval_delay_s=settings.directory_retrieval_delay_s,
            now_ms=now_ms,
            traffic=traffic,
        )
    bucket, _, prefix = rest.partition("/")
    if found and scheme == "s3" and bucket:
        # boto3 takes half a second to import, which a directory store need not pay.
        from tapectl.store.s3 import S3Store
        from tapectl.store.s3_client import S3Clients

        clients = S3Clients(
            region=address.region,
            endpoint_url=address.endpoint_url,
            profile=address.profile,
            traffic=traffic,
        )
        return S3Store(bucket, prefix, clients, traffic=traffic)
    raise UsageError(
        f"not a store: {address.store_url}", hint="write s3://bucket/prefix or file:///path"
    )
