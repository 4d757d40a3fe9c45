"""Making files for somebody else: whose they are from the start, and how one takes another's place.

An overlay in a user namespace refuses (``EOVERFLOW``) new names from a user who has no number in that
namespace, such as the host's root.  So the thread that makes something takes the owner's ids.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pycontainer.kernel import native
from pycontainer.kernel.fd import Fd


@contextmanager
def creating_as(uid: int, gid: int) -> Iterator[None]:
    """Let what this thread creates in the body belong to these host ids, if it is root's to decide.

    Sets the file system ids of this thread alone (setfsuid(2)); capabilities stay, so everything can
    still be reached.
    """
    if os.geteuid() != 0 or (uid, gid) == (0, os.getegid()):
        yield
        return
    native.set_file_ids(uid, gid)
    try:
        yield
    finally:
        native.set_file_ids(0, os.getegid())


@contextmanager
def replacement(
    parent: int, name: bytes, *, mode: int, creator: tuple[int, int], owner: tuple[int, int] | None
) -> Iterator[int]:
    """Give a new file to write, which takes the place of ``name`` in ``parent`` when the body succeeds.

    A failure leaves what was.  ``creator`` and ``owner`` are host ids; without an owner it is the creator's.
    """
    temporary = b".pycontainer-" + os.urandom(8).hex().encode()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with creating_as(*creator):
        fd = os.open(temporary, flags, 0o600, dir_fd=parent)
    try:
        yield fd
        if owner is not None:
            os.fchown(fd, *owner)
        os.fchmod(fd, mode)  # after the owner: chown takes the set-user-id bits away
        with creating_as(*creator):
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        os.unlink(temporary, dir_fd=parent)
        raise
    finally:
        os.close(fd)


def make_directory(
    parent: int, name: bytes, *, mode: int, creator: tuple[int, int], owner: tuple[int, int]
) -> None:
    """Make a directory; if there is something already, nothing happens."""
    try:
        with creating_as(*creator):
            os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with Fd(os.open(name, flags, dir_fd=parent)) as made:
        os.fchown(made.fileno(), *owner)
        os.fchmod(made.fileno(), mode)
