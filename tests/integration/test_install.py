"""The lines of docs/install.md that install tapectl, on a fresh Debian."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support.clients import PROJECT, require_root, require_shared

LIMIT_S = 600
# What a person answers, and what only a minimal system lacks.
BEFORE = """set -e
export PATH=/usr/local/bin:$PATH DEBIAN_FRONTEND=noninteractive
echo 'APT::Get::Assume-Yes "true"; APT::Install-Recommends "false";' >/etc/apt/apt.conf.d/yes
apt-get update -qq; apt-get install -qq man-db
"""
AFTER = """
for page in '1 tapectl' '1 tapectl-tape' '5 tapectl.conf' '5 tapectl-bucket'; do man -w $page; done
test -r /usr/local/share/bash-completion/completions/tapectl
# For every user, as a service has it.
setpriv --reuid=nobody --regid=nogroup --clear-groups tapectl disk size --help >/dev/null
echo everything is there
"""
# What pipx brought is away, so that it is the package's that is found.
BEFORE_PACKAGE = """
PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx uninstall tapectl
rm -rf /usr/local/share; hash -r
"""
AFTER_PACKAGE = """
test "$(command -v tapectl)" = /usr/bin/tapectl
for page in '1 tapectl' '5 tapectl.conf'; do man -w $page; done
test -r /usr/share/bash-completion/completions/tapectl
test -r /usr/share/zsh/vendor-completions/_tapectl
grep -q ExecStart=/usr/bin/tapectl /usr/lib/systemd/system/tapectl.service
# As the service does: its user, the processes of its own, a tape's way.
as_tapectl() {
    setpriv --reuid=tapectl --regid=tapectl --init-groups env HOME=/var/lib/tapectl "$@"
}
as_tapectl tapectl quickstart /var/lib/tapectl/demo >/tmp/log &
for try in $(seq 60); do grep -q served /tmp/log && break; sleep 0.5; done
export TAPECTL_STATE=/var/lib/tapectl/demo/tapectl.db
as_tapectl tapectl tape eject DEMO01L5 --hold 0 --wait | grep ARCHIVED
as_tapectl tapectl gateway stop
apt-get remove -qq tapectl
test ! -e /usr/lib/tapectl
test -e $TAPECTL_STATE
echo so it is with the package
"""


@pytest.mark.skipif(
    os.environ.get("TAPECTL_CI") != "1" or not sys.platform.startswith("linux"),
    reason="installs a Debian from the network; TAPECTL_CI=1 asks for it",
)
@pytest.mark.timeout(LIMIT_S + 60)
def test_pipx_and_the_package_install_it_on_a_fresh_debian() -> None:
    require_root()
    fresh = require_shared("harness", "fresh.sh")
    page = (PROJECT / "docs" / "install.md").read_text()
    pipx, package = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[:2]
    assert "pipx install ." in pipx
    assert "build-deb" in package
    script = BEFORE + pipx + AFTER + BEFORE_PACKAGE + package + AFTER_PACKAGE
    done = subprocess.run(
        [str(fresh), str(PROJECT), f"{{ {script}}}"],
        env=os.environ | {"LIMIT": str(LIMIT_S)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S + 30,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "everything is there\n" in done.stdout
    assert done.stdout.endswith("so it is with the package\n")
