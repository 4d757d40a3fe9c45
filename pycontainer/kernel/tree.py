"""Removing trees that a container made: any depth, any modes, nothing outside touched.

``shutil.rmtree`` recurses, and ends at a depth that any program can make.
"""

from __future__ import annotations

import errno
import os
import stat

from pycontainer.errors import InvalidArgument, KernelError
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.rooted import OPEN_DIRECTORY, named

#: How often one that somebody fills again while it is emptied is started over: in all, and from the top.
_ROUNDS = 20
_STARTS = 3


def remove_tree(dir_fd: int, name: str | bytes) -> None:
    """Remove ``name`` in the directory ``dir_fd``: a file, a link itself, or a directory with all below it.

    Nothing happens if it is absent, so it can be repeated.  Links are not followed, and what is mounted
    below is not entered but refused (``EXDEV``, ``EBUSY``).  Directories without permissions are given
    some first, as far as they are the caller's own.  Uses a few descriptors, whatever the depth.

    Somebody who goes on filling the tree can delay the end for as long as he fills it; mostly it is then
    given up (``ENOTEMPTY``).  So end the processes of a container first.

    Raises :class:`KernelError` at the first thing that cannot be removed, such as the files of other users
    for an ordinary user; what was removed until then is gone.

    >>> os.makedirs("/tmp/example/a/b")
    >>> top = os.open("/tmp", os.O_PATH | os.O_DIRECTORY)
    >>> remove_tree(top, "example")
    >>> os.path.exists("/tmp/example")
    False
    >>> os.close(top)
    """
    top = os.fsdecode(name)
    if top in {"", ".", ".."} or "/" in top or "\0" in top:
        raise InvalidArgument("name", name, "the name of one entry of the directory is wanted")
    with named(f"remove {top}"):
        for _ in range(_STARTS):
            if not _unlink(dir_fd, top):
                return
            try:
                _empty(dir_fd, top)
            except OSError as error:
                if error.errno != errno.ENOENT:  # somebody else who removes the same is ahead
                    raise
            if _rmdir(dir_fd, top):
                return
        raise KernelError(errno.ENOTEMPTY, f"remove {top}", hint="it is being filled again and again")


def _empty(dir_fd: int, top: str) -> None:
    # One list for each level: the directories still to be removed in it.
    with Descent(_open(dir_fd, top), one_file_system=True) as walk:
        levels = [_clear(walk)]
        rounds = 0
        while levels:
            if levels[-1]:
                if _enter(walk, levels[-1].pop()):
                    levels.append(_clear(walk))
            else:
                levels.pop()
                if not levels:
                    return
                name = walk.up()
                if not _rmdir(walk.fd, name):
                    rounds += 1
                    if rounds > _ROUNDS:
                        raise KernelError(errno.ENOTEMPTY, f"remove {top}/{walk.path(name)}")
                    levels[-1].append(name)


def _clear(walk: Descent) -> list[str]:
    """Remove what is no directory from the current one, and return the directories."""
    with named(lambda: f"remove {walk.path()}"):
        if walk.status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(walk.fd, stat.S_IRWXU)
        with os.scandir(walk.fd) as entries:
            return [
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) or _unlink(walk.fd, entry.name)
            ]


def _enter(walk: Descent, name: str) -> bool:
    """Go down into a directory; ``False`` if it is gone, or was replaced by something that is removed now."""
    number = 0
    for _ in range(_ROUNDS):
        try:
            walk.down(name)
        except KernelError as error:
            number = error.errno or errno.EIO
        else:
            return True
        if number == errno.EACCES:
            _unlock(walk.fd, name)
        elif number == errno.ENOENT or (
            number in {errno.ENOTDIR, errno.ELOOP} and not _unlink(walk.fd, name)
        ):
            return False
        elif number not in {errno.ENOTDIR, errno.ELOOP}:
            break
    hint = "something is mounted there" if number == errno.EXDEV else ""
    raise KernelError(number, f"remove {walk.path(name)}", hint=hint)


def _open(dir_fd: int, name: str) -> int:
    try:
        return os.open(name, OPEN_DIRECTORY, dir_fd=dir_fd)
    except PermissionError:
        _unlock(dir_fd, name)
        return os.open(name, OPEN_DIRECTORY, dir_fd=dir_fd)


def _unlock(dir_fd: int, name: str) -> None:
    """Give a directory's owner all permissions, through a descriptor: chmod by name would follow a link."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.chmod(f"/proc/self/fd/{fd}", stat.S_IRWXU)
    finally:
        os.close(fd)


def _unlink(dir_fd: int, name: str) -> bool:
    """Remove what is no directory; tell whether a directory is there."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        return True
    return False


def _rmdir(dir_fd: int, name: str) -> bool:
    """Remove an empty directory; ``False`` if it is not empty."""
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            return False
        raise
    return True
