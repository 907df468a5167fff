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


@pytest.mark.skipif(
    os.environ.get("TAPECTL_CI") != "1" or not sys.platform.startswith("linux"),
    reason="installs a Debian from the network; TAPECTL_CI=1 asks for it",
)
@pytest.mark.timeout(LIMIT_S + 60)
def test_pipx_installs_it_with_its_manual_pages_on_a_fresh_debian() -> None:
    require_root()
    fresh = require_shared("harness", "fresh.sh")
    page = (PROJECT / "docs" / "install.md").read_text()
    lines = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[0]
    assert "pipx install ." in lines
    done = subprocess.run(
        [str(fresh), str(PROJECT), f"{{ {BEFORE}{lines}{AFTER}}}"],
        env=os.environ | {"LIMIT": str(LIMIT_S)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S + 30,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.endswith("everything is there\n")
