"""The likely cause of a refusal, and what mends it: text for people, added to errors.

Only causes that the step and the error number make likely; where there is none to name, nothing is said.
"""

from __future__ import annotations

import errno

from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation

_USERNS = (
    "user namespaces are restricted here: look at sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone "
    "and kernel.apparmor_restrict_unprivileged_userns"
)
_PRIVILEGE = "CAP_SYS_ADMIN is missing: run as root, or in a user namespace"
_NO_USERNS = "without a user namespace of its own (userns='host') a container needs root (CAP_SYS_ADMIN)"

_STEPS = {
    (lib.PC_STEP_CLONE, errno.EPERM): _USERNS,
    (lib.PC_STEP_CLONE, errno.EUSERS): _USERNS,
    (lib.PC_STEP_CLONE, errno.ENOSPC): _USERNS + ", or the user.max_*_namespaces limit of another kind is reached",
    (lib.PC_STEP_CLONE, errno.ENOSYS): "a call filter hides clone3 here: run outside of what confines this process, or relax it",
    (lib.PC_STEP_CLONE, errno.EAGAIN): "the limit of processes is reached: pids.max, ulimit -u or kernel.pid_max",
    (lib.PC_STEP_CLONE, errno.EINVAL): "this kernel lacks one of the namespaces asked for",
    (lib.PC_STEP_CLONE_OUTER, errno.ENOSYS): "a call filter hides clone3 here: run outside of what confines this process, or relax it",
    (lib.PC_STEP_CLONE_OUTER, errno.EAGAIN): "the limit of processes is reached: pids.max, ulimit -u or kernel.pid_max",
    (lib.PC_STEP_JOIN, errno.EPERM): _PRIVILEGE,
    (lib.PC_STEP_JOIN, errno.ESRCH): "the process whose namespaces were to be entered is gone",
    (lib.PC_STEP_CGROUP_NS, errno.EPERM): _PRIVILEGE,
    (lib.PC_STEP_RLIMIT, errno.EPERM): "raising a hard limit needs CAP_SYS_RESOURCE: ask for at most the caller's own",
    (lib.PC_STEP_SECCOMP, errno.EACCES): "a filter needs no_new_privs or CAP_SYS_ADMIN",
    (lib.PC_STEP_KEYRING, errno.EDQUOT): "the quota of keys is used up: sysctl kernel.keys.maxkeys",
    (lib.PC_STEP_WORKDIR, errno.ENOENT): "it does not exist in the container, or lies outside of its root",
}  # fmt: skip

_OPERATIONS = {
    (lib.PC_OP_OPEN, errno.ELOOP): "there is a symbolic link now where none was when the container was described",
    (lib.PC_OP_OPEN_TREE, errno.EPERM): _PRIVILEGE,
    (lib.PC_OP_OPEN_TREE, errno.EINVAL): "there are mounts in it that only root may show: run as root, or take a directory without",
    (lib.PC_OP_FSOPEN, errno.EPERM): _PRIVILEGE,
    (lib.PC_OP_FSOPEN, errno.ENODEV): "this kernel lacks the file system: load its module",
    (lib.PC_OP_MOVE_MOUNT, errno.EPERM): _PRIVILEGE,
    (lib.PC_OP_MOVE_MOUNT, errno.ENOTDIR): "a directory was to be mounted on a file, or a file on a directory",
    (lib.PC_OP_ENSURE, errno.EROFS): "the place does not exist and its file system is read-only: make it beforehand",
    (lib.PC_OP_ENSURE, errno.ENOTDIR): "something on the way is a file",
    (lib.PC_OP_ENSURE, errno.ELOOP): "too many symbolic links on the way",
    (lib.PC_OP_VERIFY, errno.ENODEV): "it is not the device that its name says",
    (lib.PC_OP_VERIFY, errno.EINVAL): "it is not on the file system that its name says",
    (lib.PC_OP_PIVOT, errno.EINVAL): "the current root cannot be moved away: it is an initial ramdisk (rootfs)",
    (lib.PC_OP_TERMINAL, errno.ENOSPC): "no terminal is left: sysctl kernel.pty.max",
}  # fmt: skip

_MAPPED = (
    "its file system cannot be shown through an id map (ext4, xfs and btrfs can; overlayfs, NFS and FUSE mostly "
    "cannot): move it to one that can, or use userns='host', or Bind(..., idmap=False) for a mount"
)
_OVERLAY = (
    "the writable layer cannot lie on overlayfs, NFS or FUSE: set PYCONTAINER_ROOT to a directory on ext4, xfs or btrfs; "
    "nor can an ordinary user have a root file system with mounts in it, such as '/': take a directory without, or run as root"
)
_PROC = (
    "/proc of this host is partly covered, as in an ordinary container: run where it is not "
    "(docker run --security-opt systempaths=unconfined)"
)


def of_step(step: int, error: int, *, in_userns: bool = True) -> str:
    """What may be behind the refusal of a step of ``enum pc_step``; empty when nothing is known.

    ``in_userns``: the process was to be in a user namespace of its own.
    """
    if step == lib.PC_STEP_CLONE and error == errno.EPERM and not in_userns:
        return _NO_USERNS
    return _STEPS.get((step, error), "")


def of_operation(operation: Operation, error: int) -> str:
    """What may be behind the refusal of an operation; empty when nothing is known."""
    if operation.kind == lib.PC_OP_SETATTR and operation.at >= 0 and error in (errno.EINVAL, errno.EPERM):
        return _MAPPED
    overlay = operation.kind == lib.PC_OP_MOUNT or (
        operation.kind == lib.PC_OP_FSMOUNT and "overlay" in operation.text
    )
    if overlay and error == errno.EINVAL:
        return _OVERLAY
    if operation.kind == lib.PC_OP_FSMOUNT and "proc" in operation.text and error == errno.EPERM:
        return _PROC
    return _OPERATIONS.get((operation.kind, error), "")


def of_program(name: str, error: int) -> str:
    """What may be behind the refusal to execute the program that the user called ``name``."""
    if error in (errno.ENOENT, errno.ENOTDIR):
        if " " in name.strip():
            return f"a string is one word, the program's name: for a program with arguments give a list, {name.split()!r}"
        return "it is not in PATH, or its interpreter is missing"
    if error == errno.EPERM:
        return "a call filter must allow execve, execveat, fcntl and write"
    return "made for another kind of machine, or a script without #!" if error == errno.ENOEXEC else ""
