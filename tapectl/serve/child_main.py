"""What every child process of the supervisor does: settle in, then answer its channel."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from tapectl.errors import TapectlError
from tapectl.gateway.settings import Settings
from tapectl.serve.channel import Channel, ChannelClosedError
from tapectl.serve.json_lines import Message
from tapectl.serve.logs import configure_log

_log = logging.getLogger(__name__)


class ChildService(Protocol):
    """The work of a child, driven by its channel."""

    def handle(self, request: Message, fds: list[int]) -> Message:
        """Answer one request; owns the descriptors."""
        ...

    def stop(self) -> None:
        """Flush and release everything; called once, last."""
        ...


def run_child(start: Callable[[Message], ChildService]) -> None:
    """Run a child to its end: `start` builds its service from the first message.

    Returns when the supervisor says stop or is gone; either way the service has
    been stopped, so what was acknowledged is on both disks.
    """
    # The supervisor alone decides: Ctrl-C and a service manager's SIGTERM to the whole
    # group must not cut a child off before it has been drained.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = Channel.from_fd(int(sys.argv[1]))
    service: ChildService | None = None
    try:
        while True:
            request, fds = channel.receive()
            if request.get("op") == "start":
                settings = Settings.from_json(str(request["settings"]))
                level = str(request.get("log_level", "INFO"))
                configure_log(settings.log_format, level=level)
                service = start(request)
                channel.send({"ok": True})
            elif request.get("op") == "stop":
                if service is not None:
                    service.stop()
                    service = None
                channel.send({"ok": True})
                return
            else:
                assert service is not None, "the first message is start"
                channel.send(_handle(service, request, fds))
    except ChannelClosedError:
        _log.warning("the supervisor is gone")
    finally:
        if service is not None:
            service.stop()


def _handle(service: ChildService, request: Message, fds: list[int]) -> Message:
    try:
        return service.handle(request, fds)
    except TapectlError as exc:
        return {"ok": False, "message": exc.message}
    except Exception as exc:
        _log.exception("%s", request.get("op"))
        return {"ok": False, "message": str(exc)}
    finally:
        for fd in fds:
            os.close(fd)
