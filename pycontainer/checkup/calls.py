"""Probes of system calls that need no place: how processes are made, held and confined."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pycontainer.checkup.feature import Lacking, Probes
from pycontainer.checkup.host import Host, ended_within, find, run, setting
from pycontainer.errors import KernelError
from pycontainer.kernel import native, seccomp, userns
from pycontainer.kernel.native import lib
from pycontainer.kernel.seccomp import ALLOW, Profile

PROBES = Probes()
_FILTERED = "Linux 5.12, and no call filter around this process that hides it: docker run --security-opt seccomp=unconfined"


@contextmanager
def _child(**more: Any) -> Iterator[tuple[int, int]]:
    """A process of ours that does nothing, with further fields of a ``Spawn``: its pid and pidfd."""
    pid, pidfd = userns.hold(0, **more)
    try:
        yield pid, pidfd
    finally:
        userns.release(pidfd)


@contextmanager
def _ready_child() -> Iterator[tuple[int, int]]:
    """The same, once its files in /proc are its user's (userns.when_ready)."""
    pid, pidfd = userns.when_ready(lambda fd: userns.hold(0, fds=(fd,), stdio=((0, 0),)))
    try:
        yield pid, pidfd
    finally:
        userns.release(pidfd)


def _refused(call: str, ret: int) -> None:
    if ret < 0:
        raise Lacking(f"{call}: {os.strerror(-ret)}")


@PROBES.add(
    "clone3",
    needed=True,
    tries="started a process with clone3(2)",
    needed_for="every start of a process",
    fix=_FILTERED,
)
def _clone3(_: Host) -> str:
    with _child():
        return "works"


@PROBES.add(
    "pidfd",
    needed=True,
    tries="pidfd_open(2), poll(2), pidfd_send_signal(2) and waitid(P_PIDFD) on a process of ours",
    needed_for="every wait and every signal: a pidfd is never another process",
    fix=_FILTERED,
)
def _pidfd(_: Host) -> str:
    with _child() as (pid, theirs):
        ours = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(ours, 0)
            if ended_within(ours, 0) or native.wait_usage(theirs, os.WEXITED | os.WNOHANG):
                raise Lacking("the pidfd of a process that runs polls as if it had ended")
        finally:
            os.close(ours)
    return "open, poll, signal and wait work"


@PROBES.add(
    "pidfd-getfd",
    tries="pidfd_getfd(2) from a process of ours",
    needed_for="nothing yet; taking a socket from inside of a container",
    fix="Linux 5.6, and the right to trace one's children: sysctl -w kernel.yama.ptrace_scope=1",
)
def _pidfd_getfd(_: Host) -> str:
    with _ready_child() as (_pid, pidfd):
        try:
            os.close(native.pidfd_getfd(pidfd, 0))
        except KernelError as error:
            # Our program has no open file, but who may not look is told EPERM.
            if error.errno != errno.EBADF:
                raise
    return "works"


#: _IOWR(0xFF, 11, struct pidfd_info) and PIDFD_INFO_EXIT of linux/pidfd.h, Linux 6.15.
_PIDFD_INFO, _PIDFD_GET_INFO = struct.Struct("=QQ11Ii"), 0xC040_FF0B
_PIDFD_INFO_EXIT = 8


@PROBES.add(
    "pidfd-exit-status",
    tries="ioctl(PIDFD_GET_INFO) on a process that was waited for",
    needed_for="the exit code of a program that other code of this process has reaped",
    fix="Linux 6.15; without it, code that waits for every child (os.wait) must not run beside the library",
)
def _pidfd_exit_status(_: Host) -> str:
    with _child() as (pid, _pidfd):
        ours = os.pidfd_open(pid)
    try:
        data = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, 0, *[0] * 11, 0))
        fcntl.ioctl(ours, _PIDFD_GET_INFO, data)
        if not _PIDFD_INFO.unpack(data)[0] & _PIDFD_INFO_EXIT:
            raise Lacking("the exit status is not told")
    except OSError as error:
        raise Lacking(f"PIDFD_GET_INFO: {os.strerror(error.errno or 0)}") from None
    finally:
        os.close(ours)
    return "works"


@PROBES.add(
    "openat2",
    needed=True,
    tries="openat2(2) of / with RESOLVE_IN_ROOT",
    needed_for="every file in a container: no link leads out of it",
    fix=_FILTERED,
)
def _openat2(_: Host) -> str:
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(native.openat2(root, b"/", os.O_PATH, resolve=lib.RESOLVE_IN_ROOT))
    finally:
        os.close(root)
    return "works"


@PROBES.add(
    "close-range",
    needed=True,
    tries="close_range(2) of fds that are not open",
    needed_for="every start of a process: it gets no fd that it was not given",
    fix=_FILTERED,
)
def _close_range(_: Host) -> str:
    _refused("close_range", lib.pc_close_range(0xFFFF_FFFF, 0xFFFF_FFFF, 0))
    return "works"


@PROBES.add(
    "seccomp-filter",
    needed=True,
    tries="started a process under a filter that allows all",
    needed_for="security: the calls a container may make",
    fix="a kernel with CONFIG_SECCOMP_FILTER; without it only security=Security(seccomp=None)",
)
def _seccomp_filter(_: Host) -> str:
    program = seccomp.compile(Profile(default=ALLOW, rules=()), frozenset())
    with _child(seccomp=program, no_new_privs=True) as (pid, _pidfd):
        with open(f"/proc/{pid}/status") as file:
            mode = next((line.split()[1] for line in file if line.startswith("Seccomp:")), "")
    if mode != "2":
        raise Lacking(f"the process is not filtered (mode {mode or 'unknown'})")
    return "works"


@PROBES.add(
    "seccomp-notify",
    tries="seccomp(2) with SECCOMP_FILTER_FLAG_NEW_LISTENER and no filter",
    needed_for="nothing yet; answering a container's calls from outside",
    fix="Linux 5.0 with CONFIG_SECCOMP_FILTER",
)
def _seccomp_notify(_: Host) -> str:
    ret = lib.pc_seccomp_knows(lib.SECCOMP_FILTER_FLAG_NEW_LISTENER)
    if ret != -errno.EFAULT:
        _refused("seccomp", ret or -errno.EINVAL)
    return "known"


@PROBES.add(
    "landlock",
    tries="landlock_create_ruleset(2) for the version of its interface",
    needed_for="nothing yet; confining file access without a mount namespace",
    fix="Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and landlock among the kernel's lsm= boot parameter",
)
def _landlock(_: Host) -> str:
    abi = lib.pc_landlock_abi()
    _refused("landlock_create_ruleset", abi)
    return f"ABI {abi}"


@PROBES.add(
    "keyrings",
    needed=True,
    tries="started a process with a session keyring of its own, keyctl(KEYCTL_JOIN_SESSION_KEYRING)",
    needed_for="every container: the host's keys stay out of it",
    fix="a kernel with CONFIG_KEYS, a free quota (sysctl kernel.keys.maxkeys), and no call filter that hides keyctl",
)
def _keyrings(_: Host) -> str:
    with _child(keyring=True):
        return "works"


@PROBES.add(
    "ptrace",
    tries="opened the memory of a process of ours, /proc/PID/mem",
    needed_for="nothing yet; debugging a container's program from outside, saving its memory",
    fix="sysctl -w kernel.yama.ptrace_scope=1, and a /proc without hidepid",
)
def _ptrace(_: Host) -> str:
    with _ready_child() as (pid, _pidfd):
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
    scope = setting("kernel/yama/ptrace_scope")
    return "works; no Yama" if scope is None else f"works; kernel.yama.ptrace_scope={scope}"


#: r0 = 0; exit
_RETURN_0 = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)


@PROBES.add(
    "ebpf",
    tries="loaded a socket filter of two instructions with bpf(2)",
    needed_for="nothing yet; counting what a container does",
    fix="root, or for others sysctl -w kernel.unprivileged_bpf_disabled=0 (a risk)",
)
def _ebpf(_: Host) -> str:
    from pycontainer.kernel.cgroup.device_program import load

    os.close(load(_RETURN_0, lib.BPF_PROG_TYPE_SOCKET_FILTER))
    return "works"


@PROBES.add(
    "criu",
    tries="ran criu check",
    needed_for="what checkpoints are made by; the line `checkpoints` says whether they can be",
    fix="root or CAP_CHECKPOINT_RESTORE, a kernel with CONFIG_CHECKPOINT_RESTORE, a newer criu: criu check --all tells",
)
def _criu(_: Host) -> str:
    if not find("criu"):
        raise Lacking("there is no program criu", "apt install criu")
    return run("criu", "check") or "works"
