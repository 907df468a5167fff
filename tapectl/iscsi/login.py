"""The login phase: stages, declarations, authentication, negotiation (RFC 7143 6.3, 11.12)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tapectl.iscsi.chap import CHAP_KEYS, ChapExchange
from tapectl.iscsi.constants import (
    CONTINUE,
    NAME_BYTES_MAX,
    PROTOCOL_VERSION,
    SERIAL_MASK,
    TRANSIT,
    LoginStatus,
    Stage,
)
from tapectl.iscsi.errors import LoginError, PDUFormatError, ProtocolError
from tapectl.iscsi.params import Negotiation, Use
from tapectl.iscsi.pdu import LoginRequestPDU, LoginResponsePDU
from tapectl.iscsi.policy import ChapCredential, LoginPolicy, TargetConfig
from tapectl.iscsi.session import LivingSession, SessionInfo, SessionType, nexus_name
from tapectl.iscsi.text import TextAssembly, encode_text

Pairs = list[tuple[str, str]]

# Each stage may lead to these (RFC 7143 11.12.3, the table of valid transitions).
_NEXT_STAGES: Final[dict[Stage, frozenset[int]]] = {
    Stage.SECURITY_NEGOTIATION: frozenset(
        {Stage.LOGIN_OPERATIONAL_NEGOTIATION, Stage.FULL_FEATURE_PHASE}
    ),
    Stage.LOGIN_OPERATIONAL_NEGOTIATION: frozenset({Stage.FULL_FEATURE_PHASE}),
}
_DECLARATIONS: Final = ("InitiatorName", "InitiatorAlias", "SessionType", "TargetName")


@dataclass(frozen=True, slots=True)
class _Identity:
    """Who logs in to what, as declared in the first request."""

    initiator_name: str
    initiator_alias: str
    session_type: SessionType
    target_name: str | None


class Login:
    """One login, from the first request to the full-feature phase or a refusal.

    After `answer`, exactly one of these holds: `session` is set (the response sent is the last
    of the login), `failure` is set (the response says why; drop the connection), or the login
    goes on.
    """

    def __init__(self, policy: LoginPolicy, config: TargetConfig) -> None:
        self._policy = policy
        self._config = config
        self._text = TextAssembly(config.login_text_bytes_max)
        self._first: LoginRequestPDU | None = None
        self._stage = Stage.SECURITY_NEGOTIATION
        self._requests = 0
        self._identity: _Identity | None = None
        self._credentials: Sequence[ChapCredential] = ()
        self._chap: ChapExchange | None = None
        self._authenticated = False
        self._negotiation = Negotiation(config, discovery=False)
        self._joins: LivingSession | None = None
        self.stat_sn = 0
        self.exp_cmd_sn = 0
        self.max_cmd_sn = 0
        self.session: SessionInfo | None = None
        self.failure: ProtocolError | None = None

    @property
    def claims(self) -> tuple[str | None, str | None]:
        """Names of initiator and target as they were declared, unproven; None: not yet, or none."""
        identity = self._identity
        return (identity.initiator_name, identity.target_name) if identity else (None, None)

    def answer(self, request: LoginRequestPDU) -> LoginResponsePDU:
        """Take one Login Request and return the response to send. Never raises ProtocolError."""
        try:
            return self._answer(request)
        except LoginError as exc:
            self.failure = exc
            return self._refusal(request, exc.status)
        except PDUFormatError as exc:
            self.failure = exc
            return self._refusal(request, LoginStatus.INITIATOR_ERROR)

    def _answer(self, request: LoginRequestPDU) -> LoginResponsePDU:
        self._check_request(request)
        more = bool(request.flags & CONTINUE)
        pairs = self._text.add(request.data, more=more)
        if pairs is None:
            return self._response(request, request.flags & 0x0C, [])
        answers = self._identify(pairs)
        if self._stage is Stage.SECURITY_NEGOTIATION:
            answers += self._negotiate_security(pairs)
        else:
            self._require_authentication()
            answers += self._negotiation.answer(pairs, Use.OPERATIONAL)
            answers += self._negotiation.declarations()
        flags = self._stage << 2
        if request.flags & TRANSIT and self._may_leave_stage():
            flags |= TRANSIT | request.flags & 3
            self._enter(Stage(request.flags & 3), request)
        return self._response(request, flags, answers)

    def _check_request(self, request: LoginRequestPDU) -> None:
        first = self._first
        csg = request.flags >> 2 & 3
        if first is None:
            self._begin(request, csg)
        elif (request.isid, request.cid, request.tsih, request.initiator_task_tag) != (
            first.isid,
            first.cid,
            first.tsih,
            first.initiator_task_tag,
        ):
            raise LoginError(LoginStatus.INVALID_DURING_LOGIN, "identifiers changed in the login")
        self._requests += 1
        if self._requests > self._config.login_requests_max:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "login never ends")
        if csg != self._stage:
            raise LoginError(LoginStatus.INVALID_DURING_LOGIN, f"stage {csg}, not {self._stage}")
        if request.flags & TRANSIT:
            if request.flags & CONTINUE:
                # RFC 7143 11.12.2: "When the C bit is set to 1, the T bit MUST be set to 0".
                raise LoginError(LoginStatus.INVALID_DURING_LOGIN, "both T and C are set")
            if request.flags & 3 not in _NEXT_STAGES[self._stage]:
                raise LoginError(LoginStatus.INVALID_DURING_LOGIN, "no such next stage")

    def _begin(self, request: LoginRequestPDU, csg: int) -> None:
        self._first = request
        self.stat_sn = request.exp_stat_sn
        self.exp_cmd_sn = request.cmd_sn
        # Of a connection that joins, the session's numbers count. Until they are known: "If the
        # PDU MaxCmdSN is less than the PDU ExpCmdSN - 1 ... they are both ignored" (4.2.2.1).
        ahead = -2 if request.tsih else self._config.queue_depth - 1
        self.max_cmd_sn = (request.cmd_sn + ahead) & SERIAL_MASK
        if request.version_min > PROTOCOL_VERSION:
            raise LoginError(LoginStatus.UNSUPPORTED_VERSION, f"version {request.version_min}")
        if csg not in _NEXT_STAGES:
            raise LoginError(LoginStatus.INVALID_DURING_LOGIN, f"login begins in stage {csg}")
        self._stage = Stage(csg)

    def _identify(self, pairs: Pairs) -> Pairs:
        """Take the declarations; return what the target declares when they are the first."""
        declared = {name: value for name, value in pairs if name in _DECLARATIONS}
        if self._identity is not None:
            self._check_unchanged(self._identity, declared)
            return []
        identity = self._identity = _identity(declared)
        target, initiator = identity.target_name, identity.initiator_name
        if target is not None and not self._policy.target_exists(target):
            raise LoginError(LoginStatus.NOT_FOUND, f"no such target: {target}")
        if target is not None and not self._policy.initiator_allowed(target, initiator):
            raise LoginError(LoginStatus.AUTHORIZATION_FAILURE, f"not allowed: {initiator}")
        self._credentials = self._policy.chap_credentials(target, initiator)
        joining = self._first is not None and self._first.tsih != 0
        if joining:
            self._find_session(identity)
        self._negotiation = Negotiation(self._config, discovery=target is None, joining=joining)
        answers = []
        if self._config.target_alias and target is not None:
            answers.append(("TargetAlias", self._config.target_alias))
        if target is not None:
            # RFC 7143 13.9: in the first response of a session with a TargetName.
            answers.append(("TargetPortalGroupTag", str(self._config.target_portal_group_tag)))
        return answers

    def _find_session(self, identity: _Identity) -> None:
        """Look for the session that the connection is to join (RFC 7143 6.3.1, 6.3.4).

        A CID that the session has already means that the connection takes the place of that one.
        """
        first, target = self._first, identity.target_name
        living = None
        if first is not None and target is not None:
            tag = self._config.target_portal_group_tag
            nexus = nexus_name(identity.initiator_name, first.isid, target, tag)
            living = self._policy.find_session(target, nexus, first.tsih)
        if first is None or living is None:
            raise LoginError(LoginStatus.SESSION_DOES_NOT_EXIST, "no such session to join")
        connections = len(living.cids)
        if first.cid not in living.cids and connections >= living.info.parameters.max_connections:
            raise LoginError(
                LoginStatus.TOO_MANY_CONNECTIONS, f"the session has {connections} connections"
            )
        self._joins = living
        self.exp_cmd_sn, self.max_cmd_sn = living.exp_cmd_sn, living.max_cmd_sn

    @staticmethod
    def _check_unchanged(identity: _Identity, declared: dict[str, str]) -> None:
        # Some initiators repeat their declarations in each request.
        before = {
            "InitiatorName": identity.initiator_name,
            "TargetName": identity.target_name,
            "SessionType": identity.session_type.value.lower(),
        }
        for name, value in declared.items():
            if name in before and value.lower() != before[name]:
                raise LoginError(LoginStatus.INITIATOR_ERROR, f"{name} changed in the login")

    def _negotiate_security(self, pairs: Pairs) -> Pairs:
        keys = dict(pairs)
        answers: Pairs = []
        if "AuthMethod" in keys:
            answers.append(("AuthMethod", self._choose_method(keys["AuthMethod"].split(","))))
        chap = {name: value for name, value in pairs if name in CHAP_KEYS}
        if chap and self._chap is None:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "CHAP before AuthMethod")
        if self._chap is not None:
            answers += self._chap.answer(chap)
        rest = [pair for pair in pairs if pair[0] not in CHAP_KEYS and pair[0] != "AuthMethod"]
        return answers + self._negotiation.answer(rest, Use.SECURITY)

    def _choose_method(self, offered: list[str]) -> str:
        if self._chap is not None or self._authenticated:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "AuthMethod negotiated twice")
        method = "CHAP" if self._credentials else "None"
        if method not in offered:
            raise LoginError(
                LoginStatus.AUTHENTICATION_FAILURE, f"AuthMethod {method} was not offered"
            )
        if self._credentials:
            self._chap = ChapExchange(self._credentials, self._policy.random_bytes)
        else:
            self._authenticated = True
        return method

    def _may_leave_stage(self) -> bool:
        if self._stage is not Stage.SECURITY_NEGOTIATION:
            return True
        if self._chap is None:
            self._require_authentication()
            return True
        return self._chap.done

    def _require_authentication(self) -> None:
        proven = self._chap is not None and self._chap.done
        if self._credentials and not proven:
            raise LoginError(LoginStatus.AUTHENTICATION_FAILURE, "authentication is required")

    def _enter(self, stage: Stage, request: LoginRequestPDU) -> None:
        self._stage = stage
        if stage is not Stage.FULL_FEATURE_PHASE or self._identity is None:
            return
        if self._joins is not None:
            # Again: a login may take its time.
            self._find_session(self._identity)
            self.session = self._joined(self._joins.info, request.cid)
            return
        self.session = SessionInfo(
            session_type=self._identity.session_type,
            initiator_name=self._identity.initiator_name,
            initiator_alias=self._identity.initiator_alias,
            target_name=self._identity.target_name,
            isid=request.isid,
            tsih=self._policy.new_tsih(),
            cid=request.cid,
            target_portal_group_tag=self._config.target_portal_group_tag,
            parameters=self._negotiation.parameters(),
        )

    def _joined(self, session: SessionInfo, cid: int) -> SessionInfo:
        """Return the session as the new connection has it: some parameters are its own."""
        own = self._negotiation.parameters()
        size, ours = own.initiator_max_recv_data_segment_length, own
        parameters = dataclasses.replace(
            session.parameters,
            header_digest=own.header_digest,
            data_digest=own.data_digest,
            initiator_max_recv_data_segment_length=size,
            target_max_recv_data_segment_length=ours.target_max_recv_data_segment_length,
        )
        return dataclasses.replace(session, cid=cid, joined=True, parameters=parameters)

    def _response(self, request: LoginRequestPDU, flags: int, pairs: Pairs) -> LoginResponsePDU:
        response = LoginResponsePDU(
            flags=flags,
            version_max=PROTOCOL_VERSION,
            version_active=PROTOCOL_VERSION,
            isid=request.isid,
            tsih=self.session.tsih if self.session else request.tsih,
            initiator_task_tag=request.initiator_task_tag,
            stat_sn=self.stat_sn,
            exp_cmd_sn=self.exp_cmd_sn,
            max_cmd_sn=self.max_cmd_sn,
            data=encode_text(pairs),
        )
        self.stat_sn = (self.stat_sn + 1) & SERIAL_MASK
        return response

    def _refusal(self, request: LoginRequestPDU, status: LoginStatus) -> LoginResponsePDU:
        return LoginResponsePDU(
            flags=request.flags & 0x0C,
            version_max=PROTOCOL_VERSION,
            version_active=PROTOCOL_VERSION,
            isid=request.isid,
            tsih=request.tsih,
            initiator_task_tag=request.initiator_task_tag,
            # RFC 7143 11.13.4: StatSN, ExpCmdSN and MaxCmdSN count only with status class 0.
            stat_sn=self.stat_sn,
            exp_cmd_sn=self.exp_cmd_sn,
            max_cmd_sn=self.max_cmd_sn,
            status_class=status >> 8,
            status_detail=status & 0xFF,
        )


def _identity(declared: dict[str, str]) -> _Identity:
    """Check the declarations of the first request (RFC 7143 6.3, 13.5 and 13.21)."""
    if "InitiatorName" not in declared:
        raise LoginError(LoginStatus.MISSING_PARAMETER, "InitiatorName is missing")
    try:
        session_type = SessionType(declared.get("SessionType", "Normal"))
    except ValueError:
        raise LoginError(LoginStatus.SESSION_TYPE_NOT_SUPPORTED, "unknown SessionType") from None
    if session_type is SessionType.NORMAL and "TargetName" not in declared:
        raise LoginError(LoginStatus.MISSING_PARAMETER, "TargetName is missing")
    normal = session_type is SessionType.NORMAL
    return _Identity(
        initiator_name=_name(declared["InitiatorName"]),
        initiator_alias=declared.get("InitiatorAlias", ""),
        session_type=session_type,
        target_name=_name(declared["TargetName"]) if normal else None,
    )


def _name(text: str) -> str:
    """Return an iSCSI name in lower case; names that could confuse a log or a nexus are refused."""
    name = text.lower()
    if not name or len(name.encode()) > NAME_BYTES_MAX:
        raise LoginError(LoginStatus.INITIATOR_ERROR, "name is empty or too long")
    if not name.isprintable() or any(c.isspace() or c == "," for c in name):
        raise LoginError(LoginStatus.INITIATOR_ERROR, "name has a character no name may have")
    return name
