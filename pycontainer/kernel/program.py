"""The library's own static programs, each executed from a sealed memfd.

A process inside a container sees such a program as ``/proc/1/exe``.  What it sees there is neither the
host's interpreter nor a file of the host, and the seals make every write to it fail (memfd_create(2),
F_SEAL_WRITE; the cure of CVE-2019-5736).
"""

from __future__ import annotations

import errno
import fcntl
import os
from functools import cache
from pathlib import Path

from pycontainer.errors import NotSupported

#: linux/fcntl.h, Linux 6.3: the mode's execute bits cannot be changed; Python has no name for it.
_F_SEAL_EXEC = 0x20

FOLDER = Path(__file__).parent / "programs"


@cache
def program(name: str) -> int:
    """The fd of the program ``name`` (``init``, ``reaper``), sealed; one for the life of the process.

    The fd belongs to this module: do not close it.
    """
    try:
        content = (FOLDER / name).read_bytes()
    except FileNotFoundError:
        raise NotSupported(
            f"the program {name} is not built", "run 'make build', or install a wheel"
        ) from None
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    os.fchmod(fd, 0o555)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    try:
        # A container of an ordinary user owns the file, too, and one that may trace its init can reach it:
        # without this it could take the permission to execute it from all containers of this process.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals | _F_SEAL_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
