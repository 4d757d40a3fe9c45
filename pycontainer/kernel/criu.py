"""CRIU, the program that writes processes down and makes them again (criu(8)): whether it can, and how it is called.

What it needs is known to it alone, so it is asked (``criu check``): its parasite code follows the kernel's, and a
version that is older than the kernel fails with it.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Sequence
from functools import cache

from pycontainer.errors import NotSupported
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.idmap import Extent, IdMap, rules_host
from pycontainer.kernel.native import wait_usage
from pycontainer.kernel.spawn import Spawn, spawn

#: Where distributions put it, also for callers whose search path lacks that.
_PLACES = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_INSTALL = "install it: apt install criu"
_OUTPUT = 1 << 16
_SHOWN = 500
#: What it says of an error: "(00.123)   1: Error (criu/files.c:12): what"; the time and the pid may be missing.
_ERROR = re.compile(r"^(?:\([0-9.]+\))?\s*(?:[0-9]+: )?Error \([^)]*\):\s*(.*)$", re.MULTILINE)
_IDS = re.compile(rb"\b([ug]id=)([0-9]{1,10})")
#: The two magic numbers and the size that an image of one message begins with.
_HEAD = 8
_SIZE = struct.Struct("<I")


def path() -> str | None:
    """Where the program is, if it is installed."""
    return shutil.which("criu", path=f"{os.environ.get('PATH', '')}:{_PLACES}")


def able() -> str:
    """The path of the program. Raises :class:`NotSupported`, with the reason and what mends it."""
    found = path()
    if found is None:
        raise NotSupported("checkpoints: there is no program criu", _INSTALL)
    if not rules_host():
        raise NotSupported(
            "checkpoints of an ordinary user: CRIU looks into processes as root of the host", "run as root"
        )
    reason = _refusal(found, os.stat(found).st_mtime_ns)
    if reason:
        raise NotSupported(
            f"checkpoints: 'criu check' says on this kernel ({os.uname().release}): {reason}",
            "install a CRIU that knows this kernel (criu.org), or boot a kernel that it knows",
        )
    return found


@cache
def _refusal(program: str, _changed: int) -> str:
    """What ``criu check`` has against this host; nothing: it works."""
    status, said = call([program, "check"])
    if status == 0:
        return ""
    lines = [
        line.strip() for line in said.splitlines() if "Error" in line or "Fail" in line
    ] or said.splitlines()
    return re.sub(r"^Error \([^)]*\):\s*", "", lines[0]) if lines else f"exit status {status}"


def version() -> str:
    """Its version, as it tells it; empty where there is none."""
    found = path()
    if found is None:
        return ""
    _, said = call([found, "--version"])
    words = said.split()
    return words[1] if len(words) > 1 else ""


def call(words: Sequence[str], *, lock: int | None = None) -> tuple[int, str]:
    """Run it to its end, whatever becomes of this process: its exit status, and what it said.

    It must not be ended in the midst of its work: there is code of it in other processes then.  ``lock`` is a locked
    file, which stays so for as long as it works.
    """
    output = os.memfd_create("criu", os.MFD_CLOEXEC)
    with Fd(output), Fd(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)) as null:
        # As its input: that it does not close.
        given = null.fileno() if lock is None else lock
        _, pidfd = spawn(
            Spawn(
                argv=tuple(os.fsencode(word) for word in words),
                candidates=(os.fsencode(words[0]),),
                env=(b"PATH=" + _PLACES.encode(),),
                fds=(given, output),
                stdio=((0, 0), (1, 1), (1, 2)),
            )
        )
        with Fd(pidfd):
            ended = wait_usage(pidfd, os.WEXITED)
        said = os.pread(output, _OUTPUT, 0).decode(errors="replace")
    return 255 if ended is None else ended.status, said


def errors_in(log: str, said: str = "") -> str:
    """What its log tells of a failure: the first errors, which are the cause of the others; else what it ``said``."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            found = _ERROR.findall(file.read())
    except FileNotFoundError:
        found = []
    return "; ".join(found[:2]) or said.strip()[-_SHOWN:] or "it told no error"


# -- ids of another block ----------------------------------------------------------------------


def userns_image(image: bytes, map_: IdMap) -> bytes:
    """The image of a user namespace (``userns-<n>.img``) with another map (criu, images/userns.proto)."""
    message = b"".join(
        bytes([number << 3 | 2]) + _varint(len(extent)) + extent
        for number, extents in ((1, map_.uids), (2, map_.gids))
        for extent in map(_extent, extents)
    )
    return image[:_HEAD] + _SIZE.pack(len(message)) + message


def mounts_image(image: bytes, before: IdMap, after: IdMap) -> bytes:
    """The image of mounts (``mountpoints-<n>.img``) with the host's ids in their options exchanged.

    Raises :class:`NotSupported` where a number has more digits than that in its place: the messages around tell sizes.
    """

    def exchanged(found: re.Match[bytes]) -> bytes:
        number = int(found[2])
        if found[1] == b"uid=":
            inside = before.inside(number, 0)[0]
            there = None if inside is None else after.host_uid(inside)
        else:
            inside = before.inside(0, number)[1]
            there = None if inside is None else after.host_gid(inside)
        if there is None:
            return found[0]
        digits = b"%d" % there
        if len(digits) != len(found[2]):
            raise NotSupported(
                "a checkpoint in a user namespace whose ids have other numbers of digits",
                "restore it with the id map that it was made with",
            )
        return found[1] + digits

    return _IDS.sub(exchanged, image)


def _extent(extent: Extent) -> bytes:
    fields = ((1, extent.inside), (2, extent.outside), (3, extent.count))
    return b"".join(bytes([number << 3]) + _varint(value) for number, value in fields)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
