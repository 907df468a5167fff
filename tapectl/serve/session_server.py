"""Takes the connections of one target after their login and runs their sessions."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from functools import partial

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.policy import TargetConfig
from tapectl.iscsi.session import LivingSession, SessionInfo
from tapectl.iscsi.session_state import SessionState
from tapectl.serve.connection_loop import ConnectionLoop, SessionTimes
from tapectl.serve.json_lines import Message
from tapectl.serve.portal import format_address
from tapectl.serve.session_loop import SessionLoop
from tapectl.serve.session_policy import OneTargetPolicy
from tapectl.serve.unit_host import Arrival, Session, SessionHost

_log = logging.getLogger(__name__)

# How long a connection may take to leave its place to the one that replaces it: a command that is
# under way is finished first. Initiators give a login up after 15 seconds or more.
REPLACE_WAIT_S = 10.0

Resume = Callable[[SessionState | None], TargetConnection]


class SessionServer:
    """Serves the sessions of one target. Thread-safe; has no thread of its own."""

    def __init__(
        self, host: SessionHost, times: SessionTimes, config: TargetConfig | None = None
    ) -> None:
        self._host = host
        self._times = times
        self._config = config or TargetConfig()

    def serve(self, stream: socket.socket, handed_over: Message, peer: str) -> None:
        """Serve a connection that `TargetConnection.hand_off` gave up, and own its socket.

        Sends its last login response when the session can be found here. Returns when the session
        has ended, or at once when a session that runs in another thread has taken it in.
        """
        info = SessionInfo.from_json(handed_over["session"])  # type: ignore[arg-type]  # its form
        address = format_address(*stream.getsockname()[:2])
        policy = OneTargetPolicy(info.target_name or "", address)
        resume = partial(TargetConnection.resume, policy, self._config, handed_over)
        old = self._find(info.nexus, info.tsih) if info.joined else None
        if old is not None and old.admit is not None:
            if not old.admit(Arrival(stream, info.cid, resume)):
                stream.close()
            return
        with stream:
            if info.joined and (old is None or old.state is None):
                _log.warning("%s: the session to join is gone", info.nexus)
                return
            self._lead(Session(info, peer), stream, resume, old)

    def _lead(
        self, session: Session, stream: socket.socket, resume: Resume, old: Session | None
    ) -> None:
        """Run a session from its first connection; it goes on with the numbers of `old`, if any,
        whose only connection it replaces (RFC 7143 6.3.4)."""
        if not self._host.table.enter(session):
            _log.warning("%s: too many sessions", session.nexus)
            return
        try:
            if old is not None and not old.finished.wait(REPLACE_WAIT_S):
                _log.warning("%s: the old connection does not leave", session.nexus)
                return
            connection = resume(old.state if old is not None else None)
            self._run(session, stream, connection)
        finally:
            session.finished.set()
            self._host.detach(session)

    def _run(self, session: Session, stream: socket.socket, connection: TargetConnection) -> None:
        state = connection.session_state
        place = (stream, connection)
        if session.info.parameters.max_connections == 1:
            loop = ConnectionLoop(session, place, self._host, self._times)
            session.state = state
            loop.run()
        else:
            several = SessionLoop(session, place, self._host, self._times)
            session.admit, session.state = several.admit, state
            several.run()

    def find_session(self, nexus: str, tsih: int) -> LivingSession | None:
        """Return a living session as a login that wants to join it must know it."""
        session = self._find(nexus, tsih)
        if session is None or session.state is None:
            return None
        state = session.state
        return LivingSession(
            info=session.info,
            cids=list(state.members),
            exp_cmd_sn=state.window.exp_cmd_sn,
            max_cmd_sn=state.window.max_cmd_sn,
        )

    def _find(self, nexus: str, tsih: int) -> Session | None:
        """Return the session of a nexus if its handle is the one given."""
        session = self._host.table.find(nexus)
        if isinstance(session, Session) and session.info.tsih == tsih:
            return session
        return None

    def drop_sessions(self, which: Callable[[str], bool]) -> None:
        """End the sessions of the initiators that are chosen by their names."""
        self._host.table.drop(
            lambda session: isinstance(session, Session) and which(session.initiator_name)
        )

    def status(self) -> list[Message]:
        """Return the sessions as the control socket shows them."""
        return [
            {
                "initiator_name": session.initiator_name,
                "peer": session.peer,
                "connections": len(session.connections),
                "commands": session.commands,
                "bytes_read": session.bytes_in,
                "bytes_written": session.bytes_out,
            }
            for session in self._host.table.all()
            if isinstance(session, Session)
        ]
