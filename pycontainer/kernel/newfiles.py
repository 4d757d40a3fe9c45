"""Making files with all that belongs to them, in one call from Python for each.

A file of a few bytes is six system calls; that many from Python would cost more than the kernel's work.
"""

from __future__ import annotations

import os

from pycontainer.kernel.native import ffi, lib

_UNCHANGED = (1 << 32) - 1


class NewFiles:
    """Makes regular files and symbolic links in open directories, O_PATH ones, too.

    ``owners``: they belong to whom the caller says, otherwise to the caller.  All directories are ``top`` or made
    below it.  Methods raise ``OSError``; with ``FileExistsError`` nothing was done.  Not thread-safe.

    >>> top = os.open("/tmp", os.O_PATH | os.O_DIRECTORY)
    >>> new = NewFiles(top, owners=False)
    >>> new.give(uid=0, gid=0, mode=0o644, mtime=10**18)
    >>> new.file(top, b"example", b"some text", 5, 4)
    >>> open("/tmp/example").read(), os.stat("/tmp/example").st_mtime
    ('text', 1000000000.0)
    >>> os.unlink("/tmp/example"); os.close(top)
    """

    __slots__ = ("_attributes", "_own", "_owners")

    def __init__(self, top: int, *, owners: bool) -> None:
        self._attributes = ffi.new("struct pc_attributes *")
        self._owners = owners
        # The group of what is new is ours or the directory's (mount(8), bsdgroups): here, and so below, the same.
        own = (os.geteuid(), os.getegid())
        self._own = own if os.fstat(top).st_gid == own[1] else (-1, -1)

    def give(self, *, uid: int, gid: int, mode: int, mtime: int) -> None:
        """Say what the files that are made next are given; ``mtime`` in nanoseconds."""
        attributes = self._attributes
        if not self._owners or (uid, gid) == self._own:
            attributes.uid = attributes.gid = _UNCHANGED
        else:
            attributes.uid, attributes.gid = uid, gid
        attributes.mode = mode
        attributes.seconds, attributes.nanoseconds = divmod(mtime, 10**9)

    def file(self, parent: int, name: bytes, data: bytes, start: int, size: int) -> None:
        """Make a file of the ``size`` bytes of ``data`` from ``start`` on."""
        ret = lib.pc_make_file(parent, name, data, start, size, self._attributes)
        if ret < 0:
            raise OSError(-ret, os.strerror(-ret))

    def link(self, parent: int, name: bytes, target: bytes) -> None:
        """Make a symbolic link with the text ``target``; its mode means nothing."""
        ret = lib.pc_make_link(parent, name, target, self._attributes)
        if ret < 0:
            raise OSError(-ret, os.strerror(-ret))
