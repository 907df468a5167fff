"""Logins that were refused, as events and as numbers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tapectl.gateway.clock import now_ms
from tapectl.iscsi.constants import LoginStatus
from tapectl.iscsi.errors import LoginError, ProtocolError
from tapectl.serve.event_recorder import EventRecorder
from tapectl.serve.login_throttle import place_of
from tapectl.state.events import NewEvent

LOGIN_REFUSED = "LoginRefused"
THROTTLED = "Throttled"
"""The reason where an address is not listened to for a while: it has had too many others."""

# Those by which somebody may be trying doors; others are misunderstandings, which the log has.
_REASONS: Mapping[LoginStatus, str] = MappingProxyType(
    {
        LoginStatus.AUTHENTICATION_FAILURE: "AuthenticationFailure",
        LoginStatus.AUTHORIZATION_FAILURE: "AuthorizationFailure",
        LoginStatus.NOT_FOUND: "NotFound",
    }
)


class RefusedLogins:
    """Tells the recorder: of each address and reason the first, then ever more seldom.

    `device_of` returns the name of the device that a target is, if it is one. Thread-safe.
    """

    def __init__(
        self, recorder: EventRecorder, gateway_id: str, device_of: Callable[[str], str | None]
    ) -> None:
        self._recorder = recorder
        self._gateway_id = gateway_id
        self._device_of = device_of
        self._counts = Counter(dict.fromkeys((*_REASONS.values(), THROTTLED), 0))
        self._lock = threading.Lock()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there were by reason, each one counted."""
        with self._lock:
            return dict(self._counts)

    def refused(
        self, error: ProtocolError, claims: tuple[str | None, str | None], address: str
    ) -> None:
        """A login has failed; `claims` are the names of initiator and target in it, unproven."""
        reason = _REASONS.get(error.status) if isinstance(error, LoginError) else None
        if reason is not None:
            self._tell(reason, claims, address)

    def shut_out(self, address: str) -> None:
        """A connection was closed at once, whatever it wanted."""
        self._tell(THROTTLED, (None, None), address)

    def _tell(self, reason: str, claims: tuple[str | None, str | None], address: str) -> None:
        with self._lock:
            self._counts[reason] += 1
        initiator_name, target_name = claims
        device = None if target_name is None else self._device_of(target_name)
        event = NewEvent(
            at_ms=now_ms(),
            actor="serve",
            subject_kind="gateway" if device is None else "target",
            subject_id=self._gateway_id if device is None else device,
            type=LOGIN_REFUSED,
            detail={
                "initiator_name": initiator_name,
                "target_name": target_name,
                "address": address,
                "reason": reason,
            },
        )
        self._recorder.tell(event, flood=(place_of(address), reason))
