"""Text requests of the full-feature phase: SendTargets, and answers longer than a PDU.

RFC 7143 11.10, 11.11 and appendix C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tapectl.iscsi.constants import CONTINUE, FINAL, RESERVED_TAG
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.params import REJECT, Negotiation, Use
from tapectl.iscsi.pdu import TextRequestPDU
from tapectl.iscsi.policy import LoginPolicy, TargetConfig, TargetPortalInfo
from tapectl.iscsi.session import SessionInfo, SessionType
from tapectl.iscsi.text import TextAssembly, encode_text

# One exchange at a time; its tag need only differ from the reserved one.
_EXCHANGE_TAG: Final = 1


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """What a Text Response is to carry."""

    flags: int
    target_transfer_tag: int
    data: bytes


class TextExchange:
    """The text exchange of a connection; a new one ends the one before."""

    def __init__(self, policy: LoginPolicy, config: TargetConfig, session: SessionInfo) -> None:
        self._policy = policy
        self._config = config
        self._session = session
        self._negotiation = Negotiation(
            config, discovery=session.session_type is SessionType.DISCOVERY
        )
        self._text = TextAssembly(config.login_text_bytes_max)
        self._itt = RESERVED_TAG
        self._rest = b""
        # What the initiator can take in one PDU; it may declare anew in a text request.
        self.segment_bytes_max = session.parameters.initiator_max_recv_data_segment_length

    def answer(self, request: TextRequestPDU) -> TextAnswer:
        """Take one Text Request and return what to respond.

        Raises ProtocolError for malformed text and for a tag of no exchange.
        """
        if request.target_transfer_tag == RESERVED_TAG:
            self._itt, self._rest = request.initiator_task_tag, b""
            self._text = TextAssembly(self._config.login_text_bytes_max)
        elif (request.target_transfer_tag, request.initiator_task_tag) != (
            _EXCHANGE_TAG,
            self._itt,
        ):
            raise ProtocolError("text request with the tag of no exchange")
        if request.flags & CONTINUE and request.flags & FINAL:
            # RFC 7143 11.10.2: a text that goes on is not the last of its exchange.
            raise ProtocolError("text request with both F and C")
        pairs = self._text.add(request.data, more=bool(request.flags & CONTINUE))
        if pairs is None:
            return TextAnswer(0, _EXCHANGE_TAG, b"")
        if pairs:
            if self._rest:
                raise ProtocolError("new keys before the answer was fetched")
            self._rest = encode_text(self._answer_pairs(pairs))
        data, self._rest = (
            self._rest[: self.segment_bytes_max],
            self._rest[self.segment_bytes_max :],
        )
        if self._rest:
            return TextAnswer(CONTINUE, _EXCHANGE_TAG, data)
        if not request.flags & FINAL:
            return TextAnswer(0, _EXCHANGE_TAG, data)
        self._itt = RESERVED_TAG
        return TextAnswer(FINAL, RESERVED_TAG, data)

    def _answer_pairs(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        answers: list[tuple[str, str]] = []
        rest = []
        for name, value in pairs:
            if name == "SendTargets":
                answers += self._send_targets(value)
            else:
                rest.append((name, value))
        answers += self._negotiation.answer(rest, Use.FULL_FEATURE)
        name = "MaxRecvDataSegmentLength"
        if name in dict(rest) and (name, REJECT) not in answers:
            declared = self._negotiation.parameters()
            self.segment_bytes_max = declared.initiator_max_recv_data_segment_length
        return answers

    def _send_targets(self, which: str) -> list[tuple[str, str]]:
        """Appendix C: All in a discovery session only, a name in both, nothing: this target."""
        own = self._session.target_name
        if (own is not None) if which == "All" else (own is None and not which):
            return [("SendTargets", REJECT)]
        wanted = None if which == "All" else (which or own or "").lower()
        targets = self._policy.targets(self._session.initiator_name)
        return [
            pair
            for target in targets
            if wanted is None or target.name.lower() == wanted
            for pair in self._record(target)
        ]

    def _record(self, target: TargetPortalInfo) -> list[tuple[str, str]]:
        tag = self._config.target_portal_group_tag
        return [
            ("TargetName", target.name),
            *(("TargetAddress", f"{address},{tag}") for address in target.addresses),
        ]
