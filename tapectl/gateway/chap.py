"""CHAP credentials: who may log in to which device, and with which secret."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.devices import (
    DISCOVERY,
    LIBRARY,
    devices_meant,
    discovery_name,
    find_device,
    library_device,
    list_devices,
)
from tapectl.state import chap, events
from tapectl.state.chap import ChapRecord
from tapectl.state.database import State
from tapectl.state.secret_box import SecretBox, SecretKeyError, UnsealError

_log = logging.getLogger(__name__)

MIN_SECRET_BYTES = 12
MAX_SECRET_BYTES = 16
_INITIATOR, _TARGET = "initiator", "target"

# RFC 7143 4.2.7: iqn., eui. and naa. names; AWS's IqnName allows these characters.
_INITIATOR_NAME = re.compile(r"(?:iqn|eui|naa)\.[0-9a-z:.-]{1,219}")


class ChapNotFoundError(TapectlError):
    """The initiator has no credentials at this target."""

    exit_code = ExitCode.CHAP_NOT_FOUND
    code = "chap_not_found"
    aws_code = "ChapCredentialNotFound"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChapInfo:
    """Credentials without their secrets."""

    device: str
    target_name: str
    initiator_name: str
    mutual: bool
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginCredential:
    """What login checks: the initiator's name and secret, and ours for mutual CHAP."""

    user: str
    secret: bytes = field(repr=False)
    mutual_user: str | None = None
    mutual_secret: bytes | None = field(default=None, repr=False)


def set_credentials(
    state: State,
    target: str,
    initiator_name: str,
    *,
    initiator_secret: str,
    target_secret: str | None = None,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> Sequence[ChapInfo]:
    """Set the credentials of an initiator at a target (a device's id, name, or iSCSI name), at
    `all` devices, or for its discovery sessions (`discovery`); return them, a device each.

    `target_secret` makes CHAP mutual. Raises DeviceNotFoundError, UsageError.
    """
    places = _places(state, target)
    check_initiator_name(initiator_name)
    secret = _check_secret("initiator", initiator_secret)
    mutual_secret = None if target_secret is None else _check_secret("target", target_secret)
    if secret == mutual_secret:
        # RFC 7143 9.2.1: "the same CHAP secret must not be configured" for both directions.
        raise UsageError(
            "the secrets of initiator and target must differ", hint="choose another one for ours"
        )
    box = SecretBox.open(state.path, create=True)
    assert box is not None
    at_ms = now_ms()

    def sealed(place: _Place) -> ChapRecord:
        initiator, ours = (
            None if one is None else box.seal(one, _seal_place(place.device, initiator_name, whose))
            for one, whose in ((secret, _INITIATOR), (mutual_secret, _TARGET))
        )
        assert initiator is not None
        return ChapRecord(
            target=place.device,
            initiator_name=initiator_name,
            sealed_initiator_secret=initiator,
            sealed_target_secret=ours,
            created_at_ms=at_ms,
        )

    records = [sealed(place) for place in places]
    with state.write() as db:
        for record in records:
            chap.replace(db, record)
            events.append(
                db, _event("ChapCredentialsSet", record.target, initiator_name, actor, at_ms)
            )
    return [
        ChapInfo(
            device=place.device,
            target_name=place.target_name,
            initiator_name=initiator_name,
            mutual=mutual_secret is not None,
            created_at_ms=at_ms,
        )
        for place in places
    ]


def has_secrets(
    state: State,
    target: str,
    initiator_name: str,
    initiator_secret: str,
    target_secret: str | None = None,
) -> bool:
    """Say whether an initiator has these secrets at a target already; raise DeviceNotFoundError."""
    place = _place(state, target)
    with state.read() as db:
        record = chap.find(db, place.device, initiator_name)
    known = None if record is None else _unsealed(state, record, place.target_name)
    if known is None or (known.mutual_secret is None) is not (target_secret is None):
        return False
    pairs = ((known.secret, initiator_secret), (known.mutual_secret, target_secret))
    return all(
        hmac.compare_digest(has, wants.encode())
        for has, wants in pairs
        if has is not None and wants is not None
    )


def list_credentials(state: State) -> Sequence[ChapInfo]:
    """Return all credentials, without their secrets."""
    devices = (*list_devices(state), library_device(state))
    target_names = {device.name: device.target_name for device in devices}
    target_names[DISCOVERY] = discovery_name(state)
    with state.read() as db:
        entries = chap.entries(db)
    return [
        ChapInfo(
            device=entry.target,
            target_name=target_names.get(entry.target, entry.target),
            initiator_name=entry.initiator_name,
            mutual=entry.mutual,
            created_at_ms=entry.created_at_ms,
        )
        for entry in entries
    ]


def delete_credentials(
    state: State,
    target: str,
    initiator_name: str,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> Sequence[str]:
    """Delete credentials at a device, or at `all`; return the names of those that had some.

    Raises DeviceNotFoundError, and ChapNotFoundError if none had.
    """
    places, at_ms = _places(state, target), now_ms()
    with state.write() as db:
        deleted = [
            place.device for place in places if chap.delete(db, place.device, initiator_name)
        ]
        for device in deleted:
            events.append(
                db, _event("ChapCredentialsDeleted", device, initiator_name, actor, at_ms)
            )
    if not deleted:
        raise _no_credentials(target, initiator_name)
    return deleted


def require_credentials(state: State, target: str, initiator_name: str) -> None:
    """Raise ChapNotFoundError unless the initiator has credentials there, at `all` anywhere,
    DeviceNotFoundError."""
    known = {(one.device, one.initiator_name) for one in list_credentials(state)}
    if not any((place.device, initiator_name) in known for place in _places(state, target)):
        raise _no_credentials(target, initiator_name)


def _no_credentials(device: str, initiator_name: str) -> ChapNotFoundError:
    return ChapNotFoundError(
        f"{initiator_name} has no credentials at {device}", hint="run `tapectl chap list`"
    )


def login_credentials(
    state: State, target: str | None, initiator_name: str
) -> Sequence[LoginCredential]:
    """Return what an initiator may authenticate with at a target; nothing where no CHAP is asked.

    `target` is an iSCSI name, None for a discovery session. An initiator without credentials at a
    target where others have some gets a secret that nobody knows: CHAP is asked for and fails.
    The target of the whole library asks for CHAP as soon as any device does.
    """
    place = _place(state, DISCOVERY if target is None else target)
    with state.read() as db:
        asking = {entry.target for entry in chap.entries(db)} - {DISCOVERY}
        if not (asking if place.device == LIBRARY else chap.is_asked_for(db, place.device)):
            return ()
        record = chap.find(db, place.device, initiator_name)
    credential = None if record is None else _unsealed(state, record, place.target_name)
    if credential is None:
        nobody_knows = secrets.token_hex(MAX_SECRET_BYTES // 2).encode()
        credential = LoginCredential(user=initiator_name, secret=nobody_knows)
    return (credential,)


def _unsealed(state: State, record: ChapRecord, target_name: str) -> LoginCredential | None:
    """Return the secrets; None if they cannot be read, and so nobody can log in with them."""
    try:
        box = SecretBox.open(state.path)
        if box is None:
            raise UnsealError
        secret, mutual_secret = (
            None
            if sealed is None
            else box.unseal(sealed, _seal_place(record.target, record.initiator_name, whose))
            for sealed, whose in (
                (record.sealed_initiator_secret, _INITIATOR),
                (record.sealed_target_secret, _TARGET),
            )
        )
    except (UnsealError, SecretKeyError) as exc:
        _log.error(
            "the CHAP secret of %s at %s cannot be read; set it again with `tapectl chap set`: %s",
            record.initiator_name,
            record.target,
            exc,
        )
        return None
    assert secret is not None
    return LoginCredential(
        user=record.initiator_name,
        secret=secret,
        mutual_user=None if mutual_secret is None else target_name,
        mutual_secret=mutual_secret,
    )


def _seal_place(device: str, initiator_name: str, whose: str) -> str:
    return f"chap {device} {initiator_name} {whose}"


def check_initiator_name(name: str) -> None:
    """Raise UsageError for what is no initiator's name."""
    if _INITIATOR_NAME.fullmatch(name) is None:
        raise UsageError(
            f"not an initiator name: {name}", hint="as in iqn.1993-08.org.debian:01:abc"
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where credentials hold: a device, or `discovery`, and the name we answer by there."""

    device: str
    target_name: str


def _place(state: State, target: str) -> _Place:
    if target == DISCOVERY:
        return _Place(DISCOVERY, discovery_name(state))
    device = find_device(state, target)
    return _Place(device.name, device.target_name)


def _places(state: State, target: str) -> Sequence[_Place]:
    if target == DISCOVERY:
        return [_place(state, target)]
    return [_Place(device.name, device.target_name) for device in devices_meant(state, target)]


def _check_secret(whose: str, secret: str) -> bytes:
    encoded = secret.encode()
    if not MIN_SECRET_BYTES <= len(encoded) <= MAX_SECRET_BYTES:
        raise UsageError(
            f"the {whose}'s CHAP secret has {len(encoded)} bytes",
            hint=f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes of UTF-8",
        )
    return encoded


def _event(
    event_type: str, target: str, initiator_name: str, actor: str, at_ms: int
) -> events.NewEvent:
    return events.NewEvent(
        at_ms=at_ms,
        actor=actor,
        subject_kind="target",
        subject_id=target,
        type=event_type,
        detail={"initiator_name": initiator_name},
    )
