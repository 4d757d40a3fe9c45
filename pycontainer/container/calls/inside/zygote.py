"""An interpreter that is warmed up once, and copied (fork) for each call.

Its standard input is the control socket (SOCK_SEQPACKET), its argument says what to import and where to look for
leftovers::

    host                                     zygote (PID 1)                copy
    ----                                     --------------                ----
                                             imports what is to be
          <------------------ "ready" or "failed"
    "fork" + job socket -------------------> fork ------------------------> waits for its job
    job ------------------------------------------------------------------> does it
          <---------------------------------------------------------------- result; ends
                                             kills and reaps all others
          <------------------ "status"
                                             looks what it has left
          <------------------ "clean"
    "kill" --------------------------------> the same, at once

The copies are hostile.  They cannot kill PID 1 or stop it (pid_namespaces(7)), and not look into it, as it is not
dumpable (proc(5)).  What else they could leave to the next copy is looked for after each: then it says so, and
the host ends it.  A result goes to the host as it comes: it is not looked at here.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the text that goes before
    from pycontainer.container.calls.inside.job import run_job

_MOST = 2000  #: files that are looked at
_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
#: Which a copy that is root may write, of PID 1 too (proc(5)).
_FILES = ["/proc/self/" + name for name in ("oom_score_adj", "coredump_filter", "autogroup")]


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None)


def _hide(hidden: bool) -> None:
    """Nobody of the same user may look into this process, or may again (PR_SET_DUMPABLE)."""
    if _libc().prctl(4, 0 if hidden else 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_DUMPABLE) was refused")


def _kernel_objects(libc: Any) -> list[int]:
    """How many System V objects there are (shmctl(2) and its like, *_INFO): /proc need not tell."""
    import ctypes

    numbers = (ctypes.c_int * 64)()
    found = []
    for call, arguments, place in (
        (libc.shmctl, (0, 14, numbers), 0),
        (libc.semctl, (0, 0, 19, numbers), 7),
        (libc.msgctl, (0, 12, numbers), 0),
    ):
        failed = call(*arguments) < 0
        found.append(-1 if failed else numbers[place])
    return found


def _tree(place: str) -> Any:
    """What is in a directory and below, with the times of change, which a copy cannot set."""
    found = []
    try:
        for folder, names, files in os.walk(place):
            for name in names + files:
                path = folder + "/" + name
                found.append((path, os.lstat(path).st_ctime_ns))
            if len(found) > _MOST:
                return object()  # equal to nothing
    except (OSError, RecursionError):
        return object()
    return sorted(found)


class _Zygote:
    def __init__(self, control: socket.socket, places: list[str]) -> None:
        self.control = control
        self.places = places
        self.woken, self.waker = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(self.waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.child = 0
        self.status = 0
        self.used = [0.0, 0.0, 0]
        self.libc = _libc()
        self.state = self.look()

    def look(self) -> list[Any]:
        """What a copy can change of its PID 1, and leave in the kernel and in file systems that are not the root."""
        found: list[Any] = [resource.getrlimit(each) for each in _LIMITS]
        found += [
            os.getpriority(os.PRIO_PROCESS, 0),
            os.sched_getscheduler(0),
            sorted(os.sched_getaffinity(0)),
        ]
        found += [_tree(place) for place in self.places]
        found += _kernel_objects(self.libc)
        for path in _FILES:
            try:
                with open(path) as file:
                    found.append(file.read())
            except OSError:
                found.append(None)
        return found

    def serve(self) -> None:
        sources: list[Any] = [self.control, self.woken]
        while True:
            ready, _, _ = select.select(sources, [], [])
            if self.woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.woken, 4096)
                self.reap()
            if self.control in ready and not self.obey():
                return

    def obey(self) -> bool:
        """Do what the host says; false when it is gone."""
        fds = array.array("i")
        data, ancillary, _, _ = self.control.recvmsg(16, socket.CMSG_LEN(fds.itemsize))
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content)
        if data == b"fork":
            self.fork(socket.socket(fileno=fds[0]))
        elif data == b"kill" and self.child:
            self.end()
        return bool(data)

    def fork(self, job: socket.socket) -> None:
        self.used = [0.0, 0.0, 0]
        self.status = 0
        try:
            self.child = os.fork()
        except OSError as error:
            self.tell({"refused": str(error)})
            job.close()
            return
        if self.child == 0:
            try:
                self.control.close()
                signal.set_wakeup_fd(-1)
                os.close(self.woken)
                os.close(self.waker)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                _hide(False)
                run_job(job)
            finally:
                os._exit(0)
        job.close()

    def reap(self) -> None:
        """Take who has ended; with the copy, all that came of it ends."""
        while True:
            try:
                pid = self.take(os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.end()
                return

    def take(self, options: int) -> int:
        pid, status, usage = os.wait4(-1, options)
        if pid != 0:
            self.used[0] += usage.ru_utime
            self.used[1] += usage.ru_stime
            self.used[2] = max(self.used[2], usage.ru_maxrss)
        if pid == self.child:
            self.status = status
        return pid

    def end(self) -> None:
        """Kill all that is left, which no fork escapes, wait for it, and tell."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                self.take(0)
        self.child = 0
        self.tell({"status": self.status, "used": self.used})
        # Not on the way of the result.
        self.tell({"clean": self.look() == self.state})

    def tell(self, message: dict[str, Any]) -> None:
        self.control.send(json.dumps(message).encode())


def _main() -> None:
    preload, places = json.loads(sys.argv[1])
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    sys.dont_write_bytecode = True
    sys.argv = [""]
    try:
        if os.getpid() != 1:
            raise OSError("it is not the first process of its container")
        _hide(True)
        for name in preload:
            __import__(name)
        zygote = _Zygote(control, places)
    except BaseException as error:  # noqa: BLE001  the host's to raise
        control.send(json.dumps({"failed": f"{type(error).__name__}: {error}"[:5000]}).encode())
        return
    # What is there by now stays: a collection in a copy would copy the pages that it is on.
    gc.collect()
    gc.freeze()
    zygote.tell({"ready": sys.version.split()[0]})
    zygote.serve()


if __name__ == "__main__":
    _main()
