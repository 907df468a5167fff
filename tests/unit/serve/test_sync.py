"""`tapectl sync`: the transfer engine in the foreground, with the lock that keeps drives away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tapectl.serve import transfer
from tapectl.serve.errors import AlreadyServingError
from tapectl.serve.lock import serve_lock
from tapectl.store.memory import MemoryStore
from tests.support.transfer_gateway import SETTINGS, TransferGateway


def test_nothing_of_it_goes_on_once_drives_may_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = TransferGateway(tmp_path)
    settings = replace(SETTINGS, state_path=gateway.state.path)
    engine = gateway.engine(MemoryStore(), drives_run=False)
    close, closed = engine.close, []

    def close_locked() -> None:
        with (
            pytest.raises(AlreadyServingError),
            serve_lock(settings.state_path, "serve", wait_s=0.0),
        ):
            pass
        close()
        closed.append(True)

    monkeypatch.setattr(engine, "close", close_locked)
    monkeypatch.setattr(transfer, "open_engine", lambda *_, **__: engine)
    transfer.run_sync(settings)
    assert closed
