"""From root to a user of its own, once the ports are bound; and no core dumps, which hold keys."""

from __future__ import annotations

import os
import pwd
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

from tapectl.errors import ExitCode, TapectlError


class UserError(TapectlError):
    """`serve` cannot run as the user that was asked for."""

    exit_code = ExitCode.SETTING_INVALID
    code = "user"


def forbid_core_dumps() -> None:
    """Let neither this process nor its children leave their memory on a disk: keys are in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def become(user_name: str, needed: Iterable[Path]) -> None:
    """Give root up for good, for a user who can write all that is `needed`.

    Nothing happens where this process is that user's already. Raises UserError; root may be gone
    then.
    """
    try:
        user = pwd.getpwnam(user_name)
    except KeyError:
        hint = f"adduser --system --group {user_name}"
        raise UserError(f"no such user: {user_name}", hint=hint) from None
    if os.geteuid() != user.pw_uid:
        if os.geteuid() != 0:
            raise UserError(
                f"only root can become {user_name}", hint="start it as root, or as that user"
            )
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        # Credentials of the store are looked for at home.
        os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
    _require_access(user_name, needed)


def _require_access(user_name: str, needed: Iterable[Path]) -> None:
    for path in needed:
        mode = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
        if not os.access(path, mode):
            raise UserError(
                f"user {user_name} cannot write {path}",
                hint=f"chown -R {user_name}: {path}, and see that the folders above let it in",
            )
    if not os.access(sys.executable, os.X_OK):
        raise UserError(
            f"user {user_name} cannot run {sys.executable}",
            hint="install tapectl where every user can read it, as /opt or /usr/local",
        )
