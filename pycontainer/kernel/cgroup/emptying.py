"""Getting processes out of cgroups: into another one, or out of the world with those that nobody owns."""

from __future__ import annotations

from pycontainer.errors import KernelError
from pycontainer.kernel.cgroup import ending
from pycontainer.kernel.cgroup.directory import Directory


def sweep(path: str) -> None:
    """Kill what is in a cgroup directory of either version, and remove it with those below; nothing if absent.

    Raises :class:`KernelError`, and :class:`WaitTimeout` for processes that do not end.
    """
    try:
        directory = Directory.open(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError(error.errno or 0, f"open the cgroup {path}") from None
    try:
        unified = directory.has("cgroup.events")
        ending.kill(directory, unified=unified)
        ending.wait_empty(directory, 10, unified=unified)
        directory.remove_tree()
    finally:
        directory.close()


def move(directory: Directory, pid: int) -> None:
    """Move a process in; one that has ended is as good. Raises :class:`KernelError`."""
    try:
        directory.write("cgroup.procs", b"%d" % pid)
    except ProcessLookupError:
        return
    except OSError as error:
        raise KernelError(error.errno or 0, f"move process {pid} to the cgroup {directory.path}") from None


def empty(directory: Directory, target: str) -> None:
    """Move what is in it and below to another directory, until nothing is."""
    with ending.refused("empty", directory):
        if not (pids := directory.all_processes()):
            return
        other = Directory.open(target)
    try:
        while pids:
            for pid in pids:
                move(other, pid)
            with ending.refused("empty", directory):
                pids = directory.all_processes()
    finally:
        other.close()
