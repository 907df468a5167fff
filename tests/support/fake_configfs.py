"""The kernel's configfs for its target, as far as rtslib-fb uses it: folders fill themselves."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from rtslib_fb import root as rtslib_root
from rtslib_fb import tcm
from rtslib_fb.node import CFSNode

from tapectl.lio import configuration

# By the path below the target's folder: what the kernel puts into a new folder.
FILES = (
    (
        r"core/user_\d+/[^/]+",
        {
            "enable": "0",
            "control": "",
            "info": "Status: DEACTIVATED Config: none Size: 1",
            "attrib/cmd_time_out": "30",
            "attrib/tmr_notification": "0",
            "attrib/alua_support": "0",
            "wwn/vpd_unit_serial": "T10 VPD Unit Serial Number: ",
            "action/block_dev": "0",
            "action/reset_ring": "0",
            "alua/": "",
        },
    ),
    (
        r"iscsi/[^/]+/tpgt_\d+",
        {
            "enable": "0",
            "attrib/generate_node_acls": "0",
            "attrib/demo_mode_write_protect": "1",
            "attrib/authentication": "1",
            "dynamic_sessions": "",
            "param/InitialR2T": "Yes",
            "param/ImmediateData": "Yes",
            "param/MaxRecvDataSegmentLength": "8192",
            "param/FirstBurstLength": "65536",
            "param/MaxBurstLength": "262144",
            "lun/": "",
            "acls/": "",
            "np/": "",
        },
    ),
    (r"loopback/[^/]+/tpgt_\d+", {"lun/": ""}),
    (
        r"iscsi/[^/]+/tpgt_\d+/acls/[^/]+",
        {
            "info": "No active iSCSI Session for Initiator Endpoint",
            "auth/userid": "NULL",
            "auth/password": "NULL",
            "auth/userid_mutual": "NULL",
            "auth/password_mutual": "NULL",
        },
    ),
)


class FakeConfigfs:
    """Installed in place of the real one for the time of a test. `root` is the target's folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder / "target"
        (self.root / "core").mkdir(parents=True)
        database = folder / "database"
        (self.root / "dbroot").write_text(str(database))
        make, remove = Path.mkdir, Path.rmdir

        def mkdir(path: Path, *args: int, **options: bool) -> None:
            make(path, *args, **options)
            if path.is_relative_to(self.root):
                self._fill(path)

        def rmdir(path: Path) -> None:
            if not path.is_relative_to(self.root):
                remove(path)
                return
            # The kernel's own folders go with the folder; links and what others made stop it.
            links = [one for one in path.rglob("*") if one.is_symlink()]
            assert not links, links
            shutil.rmtree(path)

        monkeypatch.setattr(Path, "mkdir", mkdir)
        monkeypatch.setattr(Path, "rmdir", rmdir)
        monkeypatch.setattr(CFSNode, "configfs_dir", str(self.root))
        monkeypatch.setattr(rtslib_root, "mount_configfs", lambda: None)
        monkeypatch.setattr(rtslib_root.RTSRoot, "_preferred_dbroot", str(database))
        monkeypatch.setattr(tcm, "bs_cache", {})
        monkeypatch.setattr(tcm, "lock_file", str(folder / "rtslib.lock"))
        monkeypatch.setattr(configuration, "_mount_configfs", lambda: None)
        monkeypatch.setattr(configuration, "_DATABASE", database)

    def _fill(self, path: Path) -> None:
        for pattern, files in FILES:
            if re.fullmatch(pattern, str(path.relative_to(self.root))):
                for name, content in files.items():
                    folder, _, file = name.rpartition("/")
                    os.makedirs(path / folder, exist_ok=True)  # not mkdir: that fills
                    if file:
                        (path / name).write_text(content)

    def read(self, path: str) -> str:
        return (self.root / path).read_text().strip()

    def folders(self, path: str) -> list[str]:
        folder = self.root / path
        return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
