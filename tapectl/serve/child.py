"""A child process of the supervisor: started, watched, started again when it dies."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapectl.errors import TapectlError
from tapectl.serve.channel import Channel, ChannelClosedError
from tapectl.serve.json_lines import Message

_log = logging.getLogger(__name__)

# A child that dies at once again and again is started at most this often.
RESTART_INTERVAL_S = 1.0
# How long a child may take to flush and leave before it is killed.
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a child ended that nobody had asked to: `status` is negative for a signal. Seconds until
    the next one did its work are None if that one could not either, for `problem`."""

    pid: int
    status: int
    restarted_after_s: float | None = None
    problem: str | None = None


class Child:
    """One child, identified by the Python module it runs. Thread-safe.

    `prepare` gives the first message (op `start`) of each life; `started` is
    called after the child has answered it. Both get whether it is a restart.
    `died` is told of every death, once it is known whether another one does its work.
    """

    def __init__(
        self,
        name: str,
        module: str,
        *,
        inherited_fds: Sequence[int],
        prepare: Callable[[bool], Message],
        started: Callable[[bool], None] = lambda _restarted: None,
        died: Callable[[Death], None] = lambda _death: None,
    ) -> None:
        self.name = name
        self._module = module
        self._inherited_fds = tuple(inherited_fds)
        self._prepare = prepare
        self._started = started
        self._died = died
        self.deaths = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._begun = False
        self._renewing = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def ready(self) -> bool:
        """Whether it does its work: it runs, and has got what it needs."""
        return self._begun and self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Start the process without waiting for it; `begin` completes the start."""
        self._begun = False
        channel, theirs = Channel.pair()
        # Its standard input is not the terminal, and its session is its own: Ctrl-C
        # reaches the supervisor alone, which drains the children in order.
        self._process = subprocess.Popen(
            # -P: what lies in the working directory is no module of ours.
            [sys.executable, "-P", "-m", self._module, str(theirs.fileno())],
            pass_fds=(theirs.fileno(), *self._inherited_fds),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._channel = channel

    def begin(self, *, restarted: bool = False) -> None:
        """Hand the child what it needs, wait until it is ready, and watch it from now on."""
        answer = self.request({"op": "start", **self._prepare(restarted)})
        if not answer.get("ok"):
            raise ChannelClosedError(f"{self.name} did not start: {answer.get('message')}")
        self._started(restarted)
        self._begun = True
        self._watcher = threading.Thread(target=self._watch, name=f"{self.name}-watch", daemon=True)
        self._watcher.start()

    def request(self, message: Message, fds: Sequence[int] = ()) -> Message:
        """Ask the child; raise ChannelClosedError if it is dead or dies meanwhile."""
        channel = self._channel
        if channel is None:
            raise ChannelClosedError(f"{self.name} is not running")
        return channel.request(message, fds)

    def stop(self) -> bool:
        """Tell the child to flush and leave; wait until it has, and kill it if it does not.

        Returns whether it ended as it should.
        """
        self._stopping.set()
        try:
            self.request({"op": "stop"})
        except ChannelClosedError as exc:
            _log.info("%s: %s", self.name, exc)
        if self._process is None:
            return True
        try:
            status = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _log.error("%s did not stop within %d s: killed", self.name, STOP_TIMEOUT_S)
            self._process.kill()
            status = self._process.wait()
        return status == 0

    def renew(self) -> None:
        """Tell the child to flush and leave, for another one to start in its place."""
        self._renewing = True
        try:
            self.request({"op": "stop"})
        except ChannelClosedError as exc:  # it is being restarted anyway
            _log.info("%s: %s", self.name, exc)

    def kill(self) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.kill()

    def _watch(self) -> None:
        assert self._process is not None
        begun = time.monotonic()
        status = self._process.wait()
        if self._channel is not None:
            self._channel.close()
        if self._stopping.is_set():
            return
        expected, self._renewing = self._renewing and status == 0, False
        level = logging.INFO if expected else logging.ERROR
        _log.log(level, "%s (pid %d) ended with status %d", self.name, self._process.pid, status)
        ended = time.monotonic()
        self._stopping.wait(max(0.0, RESTART_INTERVAL_S - (ended - begun)))
        while not self._stopping.is_set():
            pid = self._process.pid
            try:
                self.spawn()
                self.begin(restarted=True)
            except (OSError, ChannelClosedError, TapectlError) as exc:
                _log.error("%s: restart failed: %s", self.name, exc)
                if not expected:
                    self._tell_death(Death(pid=pid, status=status, problem=str(exc)))
                # One that lives but cannot do its work must not stand beside the next.
                self._process.kill()
                status, expected, ended = self._process.wait(), False, time.monotonic()
                self._stopping.wait(RESTART_INTERVAL_S)
            else:
                _log.warning("%s restarted as pid %s", self.name, self.pid)
                if not expected:
                    after_s = round(time.monotonic() - ended, 3)
                    self._tell_death(Death(pid=pid, status=status, restarted_after_s=after_s))
                return

    def _tell_death(self, death: Death) -> None:
        self.deaths += 1
        self._died(death)
