"""A cgroup of the version 2 tree (cgroups(7), the kernel's admin-guide/cgroup-v2.rst).

Works on a version 2 host, and on a hybrid one where the tree is mounted without controllers: placing,
freezing (Linux 5.2) and killing (Linux 5.14) need none.
"""

from __future__ import annotations

import errno
import os
import select
import time

from pycontainer.errors import KernelError, NotSupported, WaitTimeout

_FIX = "run as root, or from a cgroup that is delegated to you (systemd-run --user --scope -p Delegate=yes)"


def find_home() -> str:
    """The directory of the caller's own version 2 cgroup. Raises :class:`NotSupported` where there is none."""
    with open("/proc/self/cgroup") as file:
        own = [line[3:].rstrip("\n") for line in file if line.startswith("0::")]
    with open("/proc/self/mountinfo") as file:
        fields = [line.split() for line in file if " - cgroup2 " in line]
    if not own or not fields:
        raise NotSupported(
            "no cgroup version 2 tree is mounted", "mount one: mount -t cgroup2 none /sys/fs/cgroup"
        )
    root, place = fields[0][3], fields[0][4]
    below = own[0].removeprefix(root.rstrip("/"))
    return (place + below).rstrip("/")


class Cgroup:
    """A cgroup that this object made, held by its directory's fd. ``close`` removes it; idempotent.

    >>> with Cgroup.create(find_home(), "job-7") as group:  # doctest: +SKIP
    ...     group.freeze(); group.thaw(); group.kill()
    """

    __slots__ = ("_fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def create(cls, parent: str, name: str) -> Cgroup:
        """Make the cgroup ``name`` in the directory ``parent``.

        Raises :class:`NotSupported` where the caller may not make one, :class:`KernelError` otherwise.
        """
        path = f"{parent}/{name}"
        try:
            os.mkdir(path, 0o755)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise NotSupported(f"no cgroup can be made in {parent}", _FIX) from None
            raise KernelError(error.errno or 0, f"make the cgroup {path}") from None
        try:
            return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            os.rmdir(path)
            raise KernelError(error.errno or 0, f"open the cgroup {path}") from None

    def fileno(self) -> int:
        """The directory's fd, for CLONE_INTO_CGROUP; stays owned here."""
        if self._fd < 0:
            raise ValueError("operation on a removed cgroup")
        return self._fd

    def freeze(self, timeout: float = 10.0) -> None:
        """Stop every process of the cgroup and below, and wait until all stand. Raises :class:`WaitTimeout`."""
        self._write("cgroup.freeze", b"1")
        self._await("frozen", b"1", timeout)

    def thaw(self) -> None:
        """Let the processes go on."""
        self._write("cgroup.freeze", b"0")

    def kill(self) -> None:
        """Kill every process of the cgroup and below, in one step that no fork can escape (Linux 5.14)."""
        self._write("cgroup.kill", b"1")

    def wait_empty(self, timeout: float = 10.0) -> None:
        """Wait until no process is left in the cgroup and below. Raises :class:`WaitTimeout`."""
        self._await("populated", b"0", timeout)

    def close(self) -> None:
        """Remove the cgroup and those below it, which must be empty of processes. Idempotent."""
        if self._fd < 0:
            return
        if not self._remove_at_once():
            with os.scandir(self._fd) as entries:
                below = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            for name in below:
                os.rmdir(name, dir_fd=self._fd)
            self._remove()
        self._forget()

    def dissolve(self) -> None:
        """Remove the cgroup; processes that are left move up to the one above. Idempotent."""
        if self._fd < 0:
            return
        while not self._remove_at_once():
            above = os.path.dirname(self.path)
            with open(f"{self.path}/cgroup.procs") as file:
                pids = file.read().split()
            if not pids:
                break
            for pid in pids:
                _move(pid, above)
        else:
            self._forget()
            return
        self.close()

    def _forget(self) -> None:
        os.close(self._fd)
        self._fd = -1

    def _remove_at_once(self) -> bool:
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise KernelError(error.errno or 0, f"remove the cgroup {self.path}") from None
            return False
        return True

    def _remove(self) -> None:
        deadline = time.monotonic() + 2
        while True:
            try:
                os.rmdir(self.path)
                return
            except FileNotFoundError:
                return
            except OSError as error:
                # A zombie that its parent has just reaped can still count for a moment.
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise KernelError(error.errno or 0, f"remove the cgroup {self.path}") from None
            time.sleep(0.001)

    def _await(self, key: str, value: bytes, timeout: float) -> None:
        """Wait until ``key`` of cgroup.events, which polls as POLLPRI when it changes, has ``value``."""
        fd = self._open("cgroup.events", os.O_RDONLY)
        try:
            poller = select.poll()
            poller.register(fd, select.POLLPRI)
            deadline = time.monotonic() + timeout
            while (
                dict(line.split() for line in os.pread(fd, 4096, 0).splitlines()).get(key.encode()) != value
            ):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WaitTimeout(
                        f"cgroup {self.path} was not {key}={value.decode()} within {timeout:g} s"
                    )
                poller.poll(left * 1000)
        finally:
            os.close(fd)

    def _open(self, name: str, flags: int) -> int:
        try:
            return os.open(name, flags | os.O_CLOEXEC, dir_fd=self.fileno())
        except OSError as error:
            raise KernelError(error.errno or 0, f"open {name} of the cgroup {self.path}") from None

    def _write(self, name: str, data: bytes) -> None:
        fd = self._open(name, os.O_WRONLY)
        try:
            os.write(fd, data)
        except OSError as error:
            raise KernelError(error.errno or 0, f"write {name} of the cgroup {self.path}") from None
        finally:
            os.close(fd)

    def __enter__(self) -> Cgroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _move(pid: str, directory: str) -> None:
    try:
        with open(f"{directory}/cgroup.procs", "w") as file:
            file.write(pid)
    except ProcessLookupError:
        return  # it has ended, which is as good
    except OSError as error:
        raise KernelError(error.errno or 0, f"move process {pid} to the cgroup {directory}") from None
