"""Copies of files and trees between the host and a container's root, by the rules of ``docker cp``.

Both sides are walked by descriptors, one level at a time, and no link is ever followed below the two named
paths: neither a tree that is hostile nor one that changes during the copy reaches outside of its target.
"""

from __future__ import annotations

import errno
import os
import stat

import attrs

from pycontainer.errors import KernelError
from pycontainer.kernel.content import Budget, copy_content
from pycontainer.kernel.creation import replacement
from pycontainer.kernel.descent import Descent
from pycontainer.kernel.encoding import encode
from pycontainer.kernel.fd import Fd
from pycontainer.kernel.kinds import kind_of, opened, status_of
from pycontainer.kernel.rooted import (
    OPEN_DIRECTORY,
    PathLike,
    Rooted,
    named,
)

#: What :func:`copy_out` takes out of a container at most when not told otherwise, in bytes.
COPY_LIMIT = 16 << 30
#: And how many entries of directories.
ENTRIES_LIMIT = 1_000_000

_FIND = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_in(root: Rooted, source: PathLike, target: PathLike, *, limit: int | None = None) -> None:
    """Copy a file, symbolic link or directory of the host to ``target`` in the container.

    As ``docker cp SOURCE container:TARGET``: a directory is copied into a directory that exists, or becomes
    ``target``; of a path that ends in ``/.`` the content is copied; a ``target`` that ends in ``/`` must
    be a directory; the directory of ``target`` must exist.  A link is copied as a link unless its path ends
    in ``/``.  A directory and something else never replace each other.

    Modes and times are kept, hard links become separate files, the owner is the container's root.
    Directories that exist keep theirs.  Each file is replaced atomically; a failure half-way leaves
    what was copied before.

    Raises :class:`KernelError`; ``EINVAL`` for a fifo, socket or device, ``EFBIG`` beyond ``limit`` bytes
    of content.

    >>> copy_in(db.files, "fixture.sql", "/tmp/")  # doctest: +SKIP
    """
    step = f"copy {os.fsdecode(source)} to {os.fsdecode(target)} {root.where}"
    with Fd(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as host_root:
        host = Rooted(host_root.fileno(), where="on the host", trusted=True)
        budget = Budget(step=step, size=limit, entries=None)
        ids = root.host_ids(0, 0)
        work = _Copy(step=step, target=root, modes=0o7777, ids=ids, budget=budget, kernels=True)
        _copy(work, host, _on_host(source), encode("path", target))


def copy_out(
    root: Rooted,
    source: PathLike,
    target: PathLike,
    *,
    limit: int = COPY_LIMIT,
    entries: int = ENTRIES_LIMIT,
) -> None:
    """Copy a file, symbolic link or directory of the container to ``target`` on the host.

    The rules are those of :func:`copy_in`.  What comes out belongs to the caller; its set-user-id,
    set-group-id and sticky bits are dropped, for the owner is no longer the container's.  Links keep their
    text, whatever it says.  Holes in files stay holes, and count for ``limit`` as if they were filled;
    ``entries`` bounds how many names there are in all directories.  A file that grows is copied as long as it
    was; one of the kernel's, as in /proc, only where ``source`` itself says so.

    >>> copy_out(db.files, "/etc/hostname", ".")  # doctest: +SKIP
    """
    step = f"copy {os.fsdecode(source)} {root.where} to {os.fsdecode(target)}"
    with Fd(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as host_root:
        host = Rooted(host_root.fileno(), where="on the host", trusted=True)
        kernels = root.names_kernels(source)
        budget = Budget(step=step, size=limit, entries=entries)
        work = _Copy(step=step, target=host, modes=0o777, ids=None, budget=budget, kernels=kernels)
        _copy(work, root, encode("path", source), _on_host(target))


def _on_host(path: PathLike) -> bytes:
    raw = encode("path", path)
    return os.path.join(os.getcwdb(), raw) if raw else b""


@attrs.define(kw_only=True)
class _Copy:
    """What one copy is to do with each entry, and how much it may still copy.

    ``kernels``: it may read files of the kernel's own.
    """

    step: str
    target: Rooted
    modes: int
    ids: tuple[int, int] | None
    budget: Budget
    kernels: bool

    def error(self, number: int, hint: str) -> KernelError:
        return KernelError(number, self.step, hint=hint)

    def make_directory(self, parent: int, name: str) -> bool:
        """Make a directory, private at first; ``False`` if there is one."""
        there = status_of(parent, name)
        if there is None:
            with self.target.creating():
                os.mkdir(name, stat.S_IRWXU, dir_fd=parent)
        elif not stat.S_ISDIR(there.st_mode):
            raise self.error(
                errno.ENOTDIR, f"{name} is a directory and would replace {kind_of(there.st_mode)}"
            )
        return there is None

    def finish_directory(self, fd: int, status: os.stat_result) -> None:
        if self.ids is not None:
            os.fchown(fd, *self.ids)
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & self.modes)
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def entry(self, source: int, name: str, status: os.stat_result, parent: int, new_name: str) -> None:
        """Copy what is no directory, in place of what is no directory."""
        there = status_of(parent, new_name)
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise self.error(errno.EISDIR, f"{new_name} is a directory there")
        if stat.S_ISLNK(status.st_mode):
            self._link(os.readlink(name, dir_fd=source), status, parent, new_name)
        elif stat.S_ISREG(status.st_mode):
            self._file(source, name, parent, new_name)
        else:
            raise self.refusal(name, status.st_mode)

    def refusal(self, name: str, mode: int) -> KernelError:
        what = kind_of(mode)
        return self.error(errno.EINVAL, f"{name} is {what}: only files, directories and links are copied")

    def _link(self, text: str, status: os.stat_result, parent: int, name: str) -> None:
        temporary = f".pycontainer-{os.urandom(8).hex()}"
        with self.target.creating():
            os.symlink(text, temporary, dir_fd=parent)
        try:
            if self.ids is not None:
                os.chown(temporary, *self.ids, dir_fd=parent, follow_symlinks=False)
            times = (status.st_atime_ns, status.st_mtime_ns)
            os.utime(temporary, ns=times, dir_fd=parent, follow_symlinks=False)
            with self.target.creating():
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            os.unlink(temporary, dir_fd=parent)
            raise

    def _file(self, source: int, name: str, parent: int, new_name: str) -> None:
        with Fd(os.open(name, _FIND, dir_fd=source)) as found:
            file = Fd(opened(found.fileno(), os.O_RDONLY, self.step, kernels=self.kernels))
        with file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode) & self.modes
            creator = self.target.host_ids(0, 0)
            new = os.fsencode(new_name)
            with replacement(parent, new, mode=mode, creator=creator, owner=self.ids) as fd:
                copy_content(file.fileno(), fd, self.budget, endless=self.kernels)
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy(work: _Copy, source: Rooted, source_path: bytes, target_path: bytes) -> None:
    with named(work.step):
        name = source_path.rstrip(b"/").rpartition(b"/")[2]
        if name in {b"", b".", b".."} or source_path.endswith(b"/"):
            # Names a directory, whatever links lead to it; it has no name of its own in the first case.
            with source.open_directory(source_path) as top:
                contents = b"" if name in {b".", b".."} else name
                _copy_directory(work, top.detach(), os.fsdecode(contents), target_path)
            return
        directory, name = source.locate(source_path, follow=False)
        with directory:
            status = os.stat(name, dir_fd=directory.fileno(), follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                fd = os.open(name, OPEN_DIRECTORY, dir_fd=directory.fileno())
                _copy_directory(work, fd, os.fsdecode(name), target_path)
                return
            entry = os.fsdecode(name)
            parent, new_name = _destination(work, target_path, entry, is_directory=False)
            with parent:
                work.entry(directory.fileno(), entry, status, parent.fileno(), new_name)


def _copy_directory(work: _Copy, top: int, name: str, target_path: bytes) -> None:
    """Copy a directory, whose descriptor is taken over; without a name its content."""
    with Descent(top) as source:
        parent, new_name = _destination(work, target_path, name, is_directory=True)
        with parent:
            if not new_name:
                with Descent(os.open(".", OPEN_DIRECTORY, dir_fd=parent.fileno())) as target:
                    _walk(work, source, target)
                return
            status = source.status
            made = work.make_directory(parent.fileno(), new_name)
            fd = os.open(new_name, OPEN_DIRECTORY, dir_fd=parent.fileno())
            with Fd(os.dup(fd)) as finished, Descent(fd) as target:
                _walk(work, source, target)
                if made:
                    work.finish_directory(finished.fileno(), status)


def _destination(work: _Copy, path: bytes, name: str, *, is_directory: bool) -> tuple[Fd, str]:
    """Decide by the rules of docker cp in which directory and under which name the copy begins.

    The name is empty for a directory's content that goes into a directory which exists.
    """
    try:
        return work.target.open_directory(path, os.O_PATH), name
    except KernelError as error:
        number = error.errno
        if number not in {errno.ENOENT, errno.ENOTDIR}:
            raise
    if path.endswith((b"/.", b"/..")) or (path.endswith(b"/") and not is_directory):
        raise work.error(number, "the directory must exist")
    if number == errno.ENOTDIR and is_directory:
        raise work.error(number, "a directory does not replace something else")
    directory, new_name = work.target.locate(path)
    return directory, os.fsdecode(new_name)


def _walk(work: _Copy, source: Descent, target: Descent) -> None:
    """Copy all below one directory into another; both are at their top again in the end."""
    top = (target.status.st_dev, target.status.st_ino)
    levels = [_entries(work, source, target)]
    made: list[tuple[bool, os.stat_result]] = []
    while True:
        if levels[-1]:
            name = levels[-1].pop()
            new = work.make_directory(target.fd, name)
            source.down(name)
            if (source.status.st_dev, source.status.st_ino) == top:
                raise work.error(errno.EINVAL, "a directory cannot be copied into itself")
            target.down(name)
            made.append((new, source.status))
            levels.append(_entries(work, source, target))
            continue
        levels.pop()
        if not levels:
            return
        source.up()
        # The final mode may shut the directory to the caller, and then ".." could not be opened from it.
        with Fd(os.dup(target.fd)) as finished:
            target.up()
            new, status = made.pop()
            if new:
                work.finish_directory(finished.fileno(), status)


def _entries(work: _Copy, source: Descent, target: Descent) -> list[str]:
    """Copy the current directory's entries but the directories, and return those."""
    directories = []
    names = []
    with os.scandir(source.fd) as entries:
        for entry in entries:
            work.budget.spend_entry()
            names.append(entry.name)
    for name in names:
        status = os.stat(name, dir_fd=source.fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            directories.append(name)
        else:
            work.entry(source.fd, name, status, target.fd, name)
    return directories
