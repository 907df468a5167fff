"""Which settings a reload takes over."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

from tapectl.gateway.settings import Settings
from tapectl.serve.reloading import LIVE_SETTINGS, TRANSFER_SETTINGS, plan_reload

NOW = Settings.load({}, Path(os.devnull))
FOR_GOOD = {"state_path", "library_target", "user", "frontend", "fabric"}


def test_nothing_new_is_nothing_to_do() -> None:
    found = plan_reload(NOW, Settings.load({}, Path(os.devnull)))
    assert (found.settings, found.transfer, found.changed) == (NOW, False, frozenset())
    assert not found.unchanged_until_restart


def test_the_transfer_process_gets_its_settings_and_the_rest_waits() -> None:
    found = plan_reload(NOW, replace(NOW, upload_workers=7, hold_s=5.0, user="tapectl"))
    assert found.transfer
    assert found.settings == replace(NOW, upload_workers=7, hold_s=5.0)
    assert found.changed == {"upload_workers", "hold_s"}
    assert found.unchanged_until_restart == {"user"}


def test_places_of_events_leave_the_transfer_process_alone() -> None:
    found = plan_reload(NOW, replace(NOW, webhook_urls=("http://x",)))
    assert not found.transfer
    assert found.settings.webhook_urls == ("http://x",)


def test_every_setting_is_taken_over_but_those_that_initiators_would_notice() -> None:
    names = {field.name for field in fields(Settings)} - {"sources"}
    assert names == TRANSFER_SETTINGS | LIVE_SETTINGS | FOR_GOOD
    assert not TRANSFER_SETTINGS & LIVE_SETTINGS
