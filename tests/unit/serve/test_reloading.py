"""Which settings a reload takes over."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

from tapectl.gateway.settings import Settings
from tapectl.serve.reloading import EVENT_SETTINGS, TRANSFER_SETTINGS, plan_reload

NOW = Settings.load({}, Path(os.devnull))


def test_nothing_new_is_nothing_to_do() -> None:
    found = plan_reload(NOW, Settings.load({}, Path(os.devnull)))
    assert (found.settings, found.transfer) == (NOW, False)
    assert not found.unchanged_until_restart


def test_the_transfer_process_gets_its_settings_and_the_rest_waits() -> None:
    found = plan_reload(NOW, replace(NOW, upload_workers=7, hold_s=5.0, webhook_urls=("http://x",)))
    assert found.transfer
    assert found.settings == replace(NOW, upload_workers=7, webhook_urls=("http://x",))
    assert found.unchanged_until_restart == {"hold_s"}


def test_places_of_events_leave_the_transfer_process_alone() -> None:
    found = plan_reload(NOW, replace(NOW, webhook_urls=("http://x",)))
    assert not found.transfer
    assert found.settings.webhook_urls == ("http://x",)


def test_the_names_are_settings() -> None:
    assert {field.name for field in fields(Settings)} >= TRANSFER_SETTINGS | EVENT_SETTINGS
