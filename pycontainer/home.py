"""Where the library keeps what it keeps, and that it is the caller's alone."""

from __future__ import annotations

import os
import stat

from pycontainer.errors import NotSupported


def default_root() -> str:
    """Where the default engine keeps what it keeps.

    ``$PYCONTAINER_ROOT``, else /var/lib/pycontainer for root and ``$XDG_DATA_HOME/pycontainer`` for others.
    """
    given = os.environ.get("PYCONTAINER_ROOT")
    if given:
        return os.path.abspath(given)
    if os.geteuid() == 0:
        return "/var/lib/pycontainer"
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return f"{data}/pycontainer"


def make_private(path: str) -> None:
    """Make the directory, or refuse one that others can enter or own (CVE-2021-41103: setuid files in a store)."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise NotSupported(
            f"{path} is not a directory of yours with mode 0700",
            f"mend it: chown {os.geteuid()} {path}; chmod 0700 {path}",
        )
