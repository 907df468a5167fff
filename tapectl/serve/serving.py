"""`tapectl serve`, run: one supervisor at a time, and the signals that stop and reload it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from tapectl.disks.staging import STAGING_FOLDER
from tapectl.errors import TapectlError
from tapectl.gateway.settings import Settings
from tapectl.serve.client import connect
from tapectl.serve.front_end_choice import check_listen
from tapectl.serve.lock import LEAVING_WAIT_S, serve_lock
from tapectl.serve.logs import configure_log
from tapectl.serve.privileges import become, forbid_core_dumps
from tapectl.serve.service_manager import ServiceManager
from tapectl.serve.signals import heard
from tapectl.serve.supervisor import ReadyInfo, Supervisor
from tapectl.state import disks
from tapectl.state.database import State

_log = logging.getLogger(__name__)


def run(
    settings: Settings,
    *,
    on_ready: Callable[[ReadyInfo], None] | None = None,
    reload: Callable[[], Settings] | None = None,
) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit status.

    At SIGHUP the settings are those that `reload` returns, as far as they can be. A second signal
    ends everything at once. Raises AlreadyServingError, AddressInUseError, UnsafeListenError and
    the errors of the state.
    """
    configure_log(settings.log_format)
    forbid_core_dumps()
    manager = ServiceManager.from_environment(os.environ)
    state = State.open(settings.state_path)
    check_listen(settings, state)
    with serve_lock(settings.state_path, "serve", wait_s=_lock_wait_s(settings)) as lock_fd:
        supervisor = Supervisor(settings, state, lock_fd=lock_fd)
        if settings.user:
            become(settings.user, _what_serving_writes(settings, state))
        load = reload or (lambda: settings)
        with (
            _reloads(supervisor, load, manager) as reload_soon,
            heard({**_stopping(supervisor), signal.SIGHUP: reload_soon}),
            manager.kept_alive(supervisor.is_alive),
        ):
            supervisor.run(on_ready or (lambda _info: None), manager)
    return 0


def _what_serving_writes(settings: Settings, state: State) -> Iterator[Path]:
    path = settings.state_path
    yield path.parent
    suffixes = ("", "-wal", "-shm", ".lock", ".key", ".keyring", ".tapes")
    names = [*(path.name + suffix for suffix in suffixes), STAGING_FOLDER]
    yield from (one for name in names if (one := path.with_name(name)).exists())
    with state.read() as db:
        for disk in disks.all_disks(db):
            if disk.path.is_dir():
                yield disk.path
                yield disk.path / "tapes"


def _lock_wait_s(settings: Settings) -> float:
    """Return how long to wait for the lock: not at all where a supervisor is well and answers."""
    other = connect(settings.state_path)
    if other is None:
        return LEAVING_WAIT_S
    with other:
        return 0.0


def _stopping(supervisor: Supervisor) -> Mapping[signal.Signals, Callable[[], None]]:
    """SIGTERM and SIGINT drain; the second one kills."""
    asked = threading.Event()

    def stop(number: signal.Signals) -> None:
        if asked.is_set():
            supervisor.kill()
            os._exit(128 + number)
        asked.set()
        _log.info("draining (%s)", number.name)
        supervisor.stop(number.name)

    return {number: partial(stop, number) for number in (signal.SIGTERM, signal.SIGINT)}


@contextlib.contextmanager
def _reloads(
    supervisor: Supervisor, load: Callable[[], Settings], manager: ServiceManager
) -> Iterator[Callable[[], None]]:
    """Return what has the settings read anew, in a thread: it may wait for a process to end."""
    asked, ended = threading.Event(), threading.Event()

    def run() -> None:
        while asked.wait() and not ended.is_set():
            asked.clear()
            try:
                with manager.reloading():
                    supervisor.reload(load())
            except TapectlError as exc:
                _log.error("settings are not reloaded: %s", exc.message)

    threading.Thread(target=run, name="reload", daemon=True).start()
    try:
        yield asked.set
    finally:
        ended.set()
        asked.set()
