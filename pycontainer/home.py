"""Where the library keeps what it keeps, and that it is the caller's alone."""

from __future__ import annotations

import os
import stat

from pycontainer.errors import NotSupported

#: How many ids there are outside of all user namespaces.
_ALL = (1 << 32) - 1


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
    """Make the directory, and those above it, for the caller alone; or refuse one that others can get at.

    A store that others can enter runs its set-user-id files for them (CVE-2021-41103); one that they can
    exchange, itself or a directory above it, has them say where the caller writes.  Raises
    :class:`NotSupported`, which names what to mend.
    """
    _make(path)
    status, user = os.lstat(path), os.geteuid()
    if stat.S_ISLNK(status.st_mode):
        raise NotSupported(
            f"{path} is a symbolic link, which could lead elsewhere tomorrow",
            f"name the directory itself: {os.path.realpath(path)}",
        )
    if not stat.S_ISDIR(status.st_mode):
        raise NotSupported(f"{path} is no directory", "remove it, or choose another place")
    if status.st_uid != user:
        raise NotSupported(
            f"{path} belongs to user {status.st_uid}, and you are {user}",
            f"choose another place (PYCONTAINER_ROOT), or: chown {user} {path}",
        )
    if status.st_mode & 0o077:
        raise NotSupported(
            f"{path} can be entered by others, its mode is {stat.S_IMODE(status.st_mode):04o}",
            f"chmod 0700 {path}",
        )
    for place in {path, os.path.realpath(path)}:
        _check_above(os.path.dirname(place), user)


def _make(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        # Not os.makedirs: it makes those above as the umask allows, for everybody at the worst.
        _make(os.path.dirname(path))
        os.mkdir(path, 0o700)


def _check_above(path: str, user: int) -> None:
    """Refuse a directory on the way in which others can put another in the place of ours."""
    while True:
        status = os.lstat(path)
        if status.st_uid not in {0, user, _nobody()}:
            raise NotSupported(
                f"{path} belongs to user {status.st_uid}, who can exchange what is in it",
                "choose a place below directories of root and yourself (PYCONTAINER_ROOT)",
            )
        exchangeable = status.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH
        if exchangeable and not stat.S_ISLNK(status.st_mode):
            raise NotSupported(
                f"everybody can write to {path}, and exchange what is in it",
                f"chmod o-w {path}, or choose another place (PYCONTAINER_ROOT)",
            )
        if path == "/":
            return
        path = os.path.dirname(path)


def _nobody() -> int:
    """Whom files of users without a number here seem to belong to (user_namespaces(7)); such as root's."""
    with open("/proc/self/uid_map") as file:
        if sum(int(line.split()[2]) for line in file) >= _ALL:
            return 0
    with open("/proc/sys/kernel/overflowuid") as file:
        return int(file.read())
