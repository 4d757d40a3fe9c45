"""Where detached containers are kept, and the locks that tell who is at work.

::

    <root>/containers/<id>/     0700
        verb                    locked by a process that starts or removes the container
        alive                   locked by the monitor while there is one
        monitor                 the monitor's socket, 0600
        plan                    what the monitor is to do (csrc/monitor_protocol.h)
        run                     what its clients have to know of this start (JSON)
        status                  how it is, or was: written by the monitor (runs.py)
        log.1, log.2 ..         its output, of which the oldest files are gone
        health.0 ..             the last results of its health check
        still                   locked by who has it paused for a moment
        cgroups                 where its cgroup may be: a line for each directory
        files/                  the writable layer
        volumes/                its own volumes
        skeleton-<uid>/         the host image's tree, owned by its root
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pycontainer.errors import KernelError, StateError, WaitTimeout
from pycontainer.home import make_private
from pycontainer.kernel.fd import Fd

#: How long another process's start or removal is waited for, in seconds.
_PATIENCE = 60.0
_PAUSE = 0.005
_LOCK = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_NEW, _GONE = ".new-", ".gone-"
_STILL = "still"
#: How old a folder is, in seconds, that nobody is about to lock any more.
_ABANDONED = 60


class Places:
    """The directory of the containers below an engine root; made when first needed."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.path = f"{self.root}/containers"

    def make(self) -> None:
        """Make it, for the caller alone. Raises :class:`NotSupported`."""
        make_private(self.root)
        make_private(self.path)

    def folder(self, id_: str) -> str:
        """A container's folder."""
        return f"{self.path}/{id_}"

    def exists(self, id_: str) -> bool:
        """Is there a folder of this container?"""
        return os.path.isdir(self.folder(id_))

    @contextmanager
    def new(self, id_: str) -> Iterator[str]:
        """Make a folder, which is locked until the end of the block; it stays unless the block raises."""
        self.make()
        with self._make(id_):
            yield self.folder(id_)

    def _make(self, id_: str) -> Fd:
        """The folder with what is in each; its lock."""
        partial = f"{self.path}/{_NEW}{id_}"
        try:
            os.mkdir(partial, 0o700)
            lock = Fd(os.open(f"{partial}/verb", _LOCK, 0o600))
            try:
                fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
                os.close(os.open(f"{partial}/alive", _LOCK, 0o600))
                os.rename(partial, self.folder(id_))
            except BaseException:
                lock.close()
                raise
        except OSError as error:
            for name in ("verb", "alive"):
                with contextlib.suppress(OSError):
                    os.unlink(f"{partial}/{name}")
            with contextlib.suppress(OSError):
                os.rmdir(partial)
            raise KernelError(error.errno or 0, f"make {self.folder(id_)}") from None
        return lock

    def put_away(self, id_: str) -> str:
        """Have a container not be there any more; the name of what is left of it, which is to be removed."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.folder(id_), f"{self.path}/{_GONE}{id_}")
        return f"{_GONE}{id_}"

    @contextmanager
    def verb(self, id_: str) -> Iterator[int | None]:
        """The lock of who starts or removes the container; ``None``: it is not there any more.

        Raises :class:`WaitTimeout` when another process does not come to an end.
        """
        lock = _lock(f"{self.folder(id_)}/verb", _PATIENCE)
        if lock is None:
            yield None
            return
        with lock:
            yield lock.fileno()

    @contextmanager
    def alive(self, id_: str) -> Iterator[int]:
        """The lock that says that there is a monitor; it goes on with who else has the fd. Waits for the last one's end.

        Raises :class:`StateError` when the container goes with that.
        """
        lock = _lock(f"{self.folder(id_)}/alive", _PATIENCE)
        if lock is None:
            raise StateError(f"container {id_[:12]}", "removed", "start")
        with lock:
            yield lock.fileno()

    @contextmanager
    def still(self, id_: str) -> Iterator[None]:
        """Note that the container is paused only for as long as the block runs; waits for who does the same."""
        path = f"{self.folder(id_)}/{_STILL}"
        lock = None
        while lock is None and self.exists(id_):
            with contextlib.suppress(FileNotFoundError):
                os.close(os.open(path, _LOCK, 0o600))
            lock = _lock(path, _PATIENCE)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            if lock is not None:
                lock.close()

    def is_still(self, id_: str) -> bool:
        """Is somebody in such a block, or was he killed there?"""
        return os.path.exists(f"{self.folder(id_)}/{_STILL}")

    def end_still(self, id_: str) -> bool:
        """Forget somebody who was killed in such a block; false: nobody was."""
        path = f"{self.folder(id_)}/{_STILL}"
        if not os.path.exists(path) or is_locked(path):
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return True

    def abandoned(
        self, known: Callable[[], frozenset[str]], is_known: Callable[[str], bool]
    ) -> Iterator[str]:
        """The folders of containers that are not known, and that nobody is at work with; locked while they are told."""
        with contextlib.suppress(FileNotFoundError):
            names = os.listdir(self.path)
            ids = known()  # after: most of what is there has its row by now
            for name in names:
                if name not in ids and os.path.isdir(f"{self.path}/{name}") and not self._was_complete(name):
                    lock = self._lock_abandoned(name)
                    if lock is not None:
                        with lock:
                            # Who had it locked may have come to the end of his work meanwhile.
                            if not is_known(name):
                                yield name

    def _was_complete(self, name: str) -> bool:
        """Was it started, and not removed? Then its row was lost, with the database: its files are not ours to remove."""
        return not name.startswith((_NEW, _GONE)) and os.path.exists(f"{self.path}/{name}/status")

    def _lock_abandoned(self, name: str) -> Fd | None:
        path = f"{self.path}/{name}"
        try:
            if name.startswith(_NEW):
                old = time.time() - os.stat(path).st_mtime > _ABANDONED
                return Fd(os.open(path, os.O_PATH | os.O_CLOEXEC)) if old else None
            lock = Fd(os.open(f"{path}/verb", _LOCK, 0o600))
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock.fileno()).st_nlink > 0:
                return lock
        except BlockingIOError:
            pass
        lock.close()
        return None


def _lock(path: str, patience: float) -> Fd | None:
    """Lock a file, waiting for others; ``None`` when it was removed."""
    deadline = time.monotonic() + patience
    while True:
        try:
            # Made anew where somebody has lost it: the folder tells whether the container is there.
            lock = Fd(os.open(path, _LOCK, 0o600))
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, lock):  # and not removed, nor its folder put away, while we waited
                return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise WaitTimeout(f"{path} is locked by another process for {patience:g} s") from None
        except BaseException:
            lock.close()
            raise
        lock.close()
        time.sleep(_PAUSE)


def _is_at(path: str, file: Fd) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def is_locked(path: str) -> bool:
    """Does anybody hold the lock of this file? Of one that is not there: nobody."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
