"""Files and directories that belong to a process for as long as it lives: it holds their flock(2).

The kernel drops the lock with the process, however that ends.  Whoever can take the lock of a file that is
there knows that its maker is gone.  A name may be removed or replaced between opening and locking it, so after
each locking it is looked at again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

from pycontainer.image.forks import open_own
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import status_of


def lock(
    dir_fd: int, name: str, flags: int = os.O_RDONLY, *, shared: bool = False, wait: bool = False
) -> Fd | None:
    """Open and lock what has this name; ``None`` if it is not there, or somebody's, who is not waited for.

    ``flags`` as for ``os.open``: with ``O_CREAT`` the file is made if need be.  Closing the result unlocks it;
    forked children do not have it.  Raises ``OSError``.
    """
    while True:
        try:
            file = open_own(name, flags, dir_fd=dir_fd)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(
                file.fileno(),
                (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB),
            )
            now, ours = status_of(dir_fd, name), os.fstat(file.fileno())
        except BlockingIOError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        if now is not None and (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino):
            return file
        file.close()


def make_locked(dir_fd: int, prefix: str) -> tuple[str, Fd]:
    """Make a directory of a random name, mode 0700, and lock it. Raises ``OSError``."""
    while True:
        name = prefix + os.urandom(8).hex()
        os.mkdir(name, 0o700, dir_fd=dir_fd)
        # Someone who sweeps may have taken it for abandoned: then once more.
        made = lock(dir_fd, name, os.O_RDONLY | os.O_DIRECTORY)
        if made is not None:
            return name, made


def sweep(dir_fd: int, prefix: str, remove: Callable[[int, str], None]) -> None:
    """Remove the directories of :func:`make_locked` whose makers are gone. Raises what ``remove`` does."""
    for name in os.listdir(dir_fd):
        if name.startswith(prefix):
            abandoned = lock(dir_fd, name, os.O_RDONLY | os.O_DIRECTORY)
            if abandoned is not None:
                with abandoned:
                    remove(dir_fd, name)
