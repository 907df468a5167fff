"""Which front end serves, and what is said where the kernel's cannot."""

from __future__ import annotations

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway


def test_a_host_without_the_kernels_target_is_told_what_it_lacks(gateway: Gateway) -> None:
    gateway.activate()
    # Without modprobe nobody finds a module that is not loaded.
    gateway.credentials["PATH"] = "/nowhere"
    served = gateway.run("serve", "--frontend", "lio")
    assert served.returncode == ExitCode.FRONT_END_UNAVAILABLE
    assert "hint:" in served.stderr
    assert gateway.run("device", "lio-clean").returncode == ExitCode.FRONT_END_UNAVAILABLE
    gateway.settings["frontend"] = "lio"
    checked = gateway.run("check", "--output", "json")
    assert checked.returncode == ExitCode.CHECK_FINDINGS
    assert "front_end_lacks" in checked.stdout
    assert "linux-image-amd64" in checked.stdout
    gateway.settings["frontend"] = "auto"
    assert "front_end_falls_back" in gateway.run("check", "--output", "json").stdout
    gateway.serve()
    gateway.stop()


def test_what_does_not_go_with_the_kernels_target(gateway: Gateway) -> None:
    gateway.activate()
    for name, value in (("user", "nobody"), ("library_target", "true")):
        gateway.settings = {"frontend": "lio", name: value}
        served = gateway.run("serve")
        assert served.returncode == ExitCode.FRONT_END_UNAVAILABLE
        assert name in served.stderr
