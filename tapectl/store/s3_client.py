"""The boto3 client of a store: made at first use, and anew when its credentials have been renewed.

boto3 reads files of credentials once. A gateway serves for months, so whenever the server refuses
its keys they are looked for again: whoever renews them in the file need not restart anything.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from tapectl.store.interface import StoreAddressError
from tapectl.store.traffic import Traffic

# Of connecting, and of each write to the socket: urllib3 has one for both. A write waits until the
# kernel has room again, a third of a megabyte at times, which takes 35 s at 10 KiB/s.
_CONNECT_TIMEOUT_S = 60
# Of one read of the socket, not of a whole request. The first one waits until the server has what
# the kernel has taken from us, which a slow line may take long for.
_READ_TIMEOUT_S = 120
# Who tries again is RetryingStore, where it can be seen and stopped.
_ATTEMPTS = 1
_CONNECTIONS = 32
# What says that it is the keys, with or without a body that tells more.
_REFUSALS = frozenset({400, 401, 403})


class S3Clients:
    """Call it for the client to use, which threads share. Thread-safe; reaches nothing by itself.
    Bodies that are put pass by `traffic`.

    Raises StoreAddressError, and what botocore raises where there is no such profile or region.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self._region = region
        self._endpoint_url = endpoint_url
        self._profile = profile
        self._traffic = traffic or Traffic()
        self._lock = threading.Lock()
        self._client: Any = None
        self._keys: object = None
        self._doubted = False

    def __call__(self) -> Any:
        with self._lock:
            if self._client is None or self._doubted:
                self._look_again()
            return self._client

    def _look_again(self) -> None:
        """Make a client unless there is one with the keys that are found now.

        Not whenever keys are refused: each client costs megabytes, and an outage may be long.
        """
        session = boto3.Session(profile_name=self._profile)
        keys = _keys_of(session)
        if self._client is None or keys != self._keys:
            self._client, self._keys = self._make(session), keys
        # Without keys no request is sent that could be refused.
        self._doubted = keys is None

    def _make(self, session: boto3.Session) -> Any:
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # Bucket names in the path need no DNS of the server's own.
            s3={
                "payload_signing_enabled": False,
                "addressing_style": "path" if self._endpoint_url else "auto",
            },
        )
        try:
            client = session.client(
                "s3",
                # An endpoint of one's own has no regions, but signatures name one.
                region_name=self._region
                or session.region_name
                or ("us-east-1" if self._endpoint_url else None),
                endpoint_url=self._endpoint_url,
                config=config,
            )
        except ValueError as error:
            if isinstance(error, BotoCoreError):  # some of them are both
                raise
            # It says only so that a URL is none; one of AWS_ENDPOINT_URL is not known here.
            url = self._endpoint_url or os.environ.get("AWS_ENDPOINT_URL") or error
            raise StoreAddressError(
                f"not the URL of an S3 server: {url}",
                hint="write it as https://s3.example.com:9000",
            ) from error
        client.meta.events.register("after-call.s3", self._note_answer)
        # The last moment before a body goes: hashing and signing have read it, too.
        client.meta.events.register("before-send.s3", self._pace_upload)
        return client

    def _pace_upload(self, request: Any, **_: object) -> None:
        if request.body:
            request.body = self._traffic.up.wrap(request.body)

    def _note_answer(self, http_response: Any, **_: object) -> None:
        if http_response.status_code in _REFUSALS:
            self._doubted = True


def _keys_of(session: boto3.Session) -> object:
    """Return the keys that boto3 finds, to be compared; None if there are none."""
    credentials = session.get_credentials()
    return None if credentials is None else credentials.get_frozen_credentials()
