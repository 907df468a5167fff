"""A file is applied to a library that is served: initiators find what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway, wait_until
from tests.support.initiator import LoginRefusedError, Session, SessionOptions

FILE = """
gateway: {{name: test, store: {store}, drives: 2, slots: 8, import_export: 4}}
tapes: [{{barcode: VTL001L5, size: 100GiB, to_slots: true}}]
initiators: {{tapedrive-02: [{initiator}]}}
chap: {{mediachanger: [{{initiator: "{initiator}", secret_file: {secret}}}]}}
"""
INITIATOR, SECRET = "iqn.2000-01.example:other", "secret-of-ours"


def test_a_served_library_becomes_what_the_file_says(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4")
    gateway.serve()
    file = gateway.root / "library.yaml"
    secret = gateway.root / "secret"
    secret.write_text(SECRET)
    text = FILE.format(store=gateway.store, initiator=INITIATOR, secret=secret)
    file.write_text(text.partition("chap:")[0])
    words = ("apply", "-f", str(file), "--exit-code")
    assert gateway.run(*words).returncode == ExitCode.CHANGED
    assert gateway.run(*words).returncode == ExitCode.OK
    wait_until(lambda: gateway.tape_status("VTL001L5") == "AVAILABLE", "the tape", 60)
    gateway.load("VTL001L5", drive=2)
    # The new drive takes the initiator of the file, and no other.
    with pytest.raises(LoginRefusedError):
        Session(gateway.portal, gateway.targets()["tapedrive-02"])
    options = SessionOptions(initiator_name=INITIATOR)
    gateway.connect("tapedrive-02", options).logout()
    # With a secret for somebody, who does not know it is not let in any more.
    file.write_text(text)
    assert gateway.run(*words).returncode == ExitCode.CHANGED
    with pytest.raises(LoginRefusedError):
        Session(gateway.portal, gateway.targets()["mediachanger"], options)
    gateway.connect("mediachanger", replace(options, chap=(INITIATOR, SECRET))).logout()
