"""The operations of the native core, one function for each; what they do is in ``csrc/native.h``.

They make values and execute nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation

#: As ``at``: the current directory of the process that executes the operation.
HERE = -1


def _bytes(path: str | bytes) -> bytes:
    return os.fsencode(path)


def _show(path: str | bytes) -> str:
    return os.fsdecode(path)


# -- opening -------------------------------------------------------------------------------


def open_path(path: str, *, out: int, at: int = HERE, flags: int = os.O_PATH, resolve: int = 0) -> Operation:
    """Open ``path`` (openat2)."""
    return Operation(
        text=f"open {path}", kind=lib.PC_OP_OPEN, out=out, at=at, path=_bytes(path), flags=flags, arg=resolve
    )


def open_tree(
    path: str, *, out: int, at: int = HERE, recursive: bool = False, purpose: str = ""
) -> Operation:
    """A detached copy of the mount at ``path`` (open_tree with OPEN_TREE_CLONE): a bind mount to be."""
    flags = lib.OPEN_TREE_CLONE | (lib.AT_RECURSIVE if recursive else 0)
    flags |= lib.AT_EMPTY_PATH if not path else 0
    return Operation(
        text=f"bind {purpose or path or 'an open file'}",
        kind=lib.PC_OP_OPEN_TREE,
        out=out,
        at=at,
        path=_bytes(path),
        flags=flags,
    )


def close(fd: int) -> Operation:
    """Close the fd in a slot."""
    return Operation(text="close", kind=lib.PC_OP_CLOSE, fd=fd)


# -- mounts --------------------------------------------------------------------------------


def new_mount(
    fstype: str,
    options: Iterable[tuple[str, str | None]] = (),
    *,
    out: int,
    attributes: int = 0,
    purpose: str = "",
) -> list[Operation]:
    """A new file system as a detached mount in slot ``out`` (fsopen, fsconfig, fsmount)."""
    what = f"mount {fstype}" + (f" on {purpose}" if purpose else "")
    ops = [Operation(text=what, kind=lib.PC_OP_FSOPEN, out=out, name=_bytes(fstype))]
    for key, value in options:
        command = lib.FSCONFIG_SET_FLAG if value is None else lib.FSCONFIG_SET_STRING
        ops.append(
            Operation(
                text=f"{what} with {key}" + ("" if value is None else f"={value}"),
                kind=lib.PC_OP_FSCONFIG,
                fd=out,
                path=_bytes(key),
                name=_bytes(value or ""),
                flags=command,
            )
        )
    ops.append(Operation(text=what, kind=lib.PC_OP_FSMOUNT, fd=out, out=out, flags=attributes))
    return ops


def move_mount(fd: int, *, at: int, path: str = "", purpose: str = "") -> Operation:
    """Attach the detached mount in ``fd`` onto ``path`` below ``at``, or onto the fd ``at`` itself."""
    flags = 0 if path else lib.MOVE_MOUNT_T_EMPTY_PATH
    return Operation(
        text=f"mount on {purpose or path}",
        kind=lib.PC_OP_MOVE_MOUNT,
        fd=fd,
        at=at,
        path=_bytes(path),
        flags=flags,
    )


def set_attributes(
    fd: int,
    *,
    attributes: int = 0,
    clear: int = 0,
    propagation: int = 0,
    userns: int = -1,
    recursive: bool = False,
    purpose: str = "a mount",
) -> Operation:
    """mount_setattr on the mount in ``fd`` (Linux 5.12): flags, propagation, and the id map of ``userns``."""
    what = "id map of" if userns >= 0 else "attributes of"
    return Operation(
        text=f"set the {what} {purpose}",
        kind=lib.PC_OP_SETATTR,
        fd=fd,
        at=userns,
        flags=lib.AT_RECURSIVE if recursive else 0,
        arg=attributes,
        arg2=clear,
        arg3=propagation,
    )


def mount_overlay(data: str, path: str) -> Operation:
    """mount(2) of an overlay: takes a page of options, where one fsconfig string stops at 255 bytes."""
    return Operation(
        text=f"mount overlay on {path}", kind=lib.PC_OP_MOUNT, path=_bytes(path), name=_bytes(data)
    )


def unmount(path: str, *, flags: int) -> Operation:
    """umount2(2)."""
    return Operation(text=f"unmount {path}", kind=lib.PC_OP_UMOUNT, path=_bytes(path), flags=flags)


def pivot() -> Operation:
    """Make the current directory the root, and take the old root away (pivot_root(2), "pivot_root(".", ".")")."""
    return Operation(text="pivot_root", kind=lib.PC_OP_PIVOT)


def mask(path: str, *, at: int, file: int, directory: int) -> Operation:
    """Hide ``path``, where it exists, under /dev/null or an empty directory."""
    return Operation(
        text=f"mask {path}",
        kind=lib.PC_OP_MASK,
        options=lib.PC_OP_MAY_MISS,
        at=at,
        path=_bytes(path),
        fd=file,
        out=directory,
    )


def read_only(path: str, *, at: int, attributes: int) -> Operation:
    """Bind ``path``, where it exists, onto itself with ``attributes``."""
    return Operation(
        text=f"make {path} read-only",
        kind=lib.PC_OP_READ_ONLY,
        options=lib.PC_OP_MAY_MISS,
        at=at,
        path=_bytes(path),
        arg=attributes,
    )


# -- files ---------------------------------------------------------------------------------


def make_dir(path: str, *, at: int = HERE, mode: int = 0o755) -> Operation:
    """mkdirat."""
    return Operation(text=f"make directory {path}", kind=lib.PC_OP_MKDIR, at=at, path=_bytes(path), mode=mode)


def make_device(path: str, *, at: int, mode: int, device: int) -> Operation:
    """mknodat."""
    return Operation(
        text=f"make device {path}", kind=lib.PC_OP_MKNOD, at=at, path=_bytes(path), mode=mode, arg=device
    )


def make_link(path: str, target: str, *, at: int) -> Operation:
    """symlinkat."""
    return Operation(
        text=f"make link {path}", kind=lib.PC_OP_SYMLINK, at=at, path=_bytes(path), name=_bytes(target)
    )


def make_owner(path: str, *, at: int, uid: int, gid: int) -> Operation:
    """fchownat, without following links."""
    return Operation(
        text=f"give {path or 'a directory'} to {uid}:{gid}",
        kind=lib.PC_OP_CHOWN,
        at=at,
        path=_bytes(path),
        arg=uid,
        arg2=gid,
    )


def write_file(
    path: str, data: bytes, *, at: int = HERE, flags: int = os.O_WRONLY, mode: int = 0
) -> Operation:
    """Open, write ``data`` (no NUL), close."""
    return Operation(
        text=f"write {path}",
        kind=lib.PC_OP_WRITE,
        at=at,
        path=_bytes(path),
        name=data,
        flags=flags,
        mode=mode,
        arg2=len(data),
    )


def ensure(path: str, *, at: int, out: int, mode: int) -> Operation:
    """The object at ``path`` below the root ``at``, made with its parents where absent; never outside of it."""
    return Operation(
        text=f"find or make {path}", kind=lib.PC_OP_ENSURE, at=at, out=out, path=_bytes(path), mode=mode
    )


def enter_directory(fd: int) -> Operation:
    """fchdir."""
    return Operation(text="enter a directory", kind=lib.PC_OP_FCHDIR, fd=fd)


# -- the rest ------------------------------------------------------------------------------


def loopback() -> Operation:
    """Bring ``lo`` up in the current network namespace."""
    return Operation(text="bring lo up", kind=lib.PC_OP_LOOPBACK)


def netlink(family: int, message: bytes, *, purpose: str) -> Operation:
    """Send a netlink message (netlink(7)) in the current network namespace; fails as its acknowledgement says."""
    return Operation(text=purpose, kind=lib.PC_OP_NETLINK, name=message, arg=family, arg2=len(message))


def open_socket(
    family: int, kind: int, *, out: int, protocol: int = 0, address: bytes = b"", backlog: int = 0
) -> Operation:
    """A socket in the current network namespace: bound to ``address``, a sockaddr, and listening, where told."""
    return Operation(
        text=f"open a socket of family {family}",
        kind=lib.PC_OP_SOCKET,
        out=out,
        flags=family,
        arg=kind,
        arg2=len(address),
        arg3=protocol,
        name=address,
        mode=backlog,
    )


def terminal_peer(master: int, *, out: int, window: tuple[int, int] = (0, 0)) -> Operation:
    """Unlock a pty and open its other side by ioctl, never by name; ``window``: rows and columns, if not 0."""
    rows, columns = window
    return Operation(
        text="open the terminal", kind=lib.PC_OP_TERMINAL, fd=master, out=out, arg=rows, arg2=columns
    )


def verify(fd: int, *, magic: int = 0, device: int = 0, purpose: str) -> Operation:
    """Refuse ``fd`` unless it lies on a file system of type ``magic`` and is the character device ``device``."""
    return Operation(text=f"verify {purpose}", kind=lib.PC_OP_VERIFY, fd=fd, arg=magic, arg2=device)


def send(fd: int, *, to: int, tag: int) -> Operation:
    """Send the fd in a slot to the host's process over the socket in slot ``to``."""
    return Operation(text="send an fd", kind=lib.PC_OP_SEND, fd=fd, at=to, mode=tag)


def unshare(namespaces: int) -> Operation:
    """unshare(2)."""
    return Operation(text="unshare", kind=lib.PC_OP_UNSHARE, flags=namespaces)


def join(fd: int, namespaces: int) -> Operation:
    """setns(2) with a namespace's fd or a pidfd."""
    return Operation(text="enter a namespace", kind=lib.PC_OP_JOIN, fd=fd, flags=namespaces)


def ruleset(*, out: int, files: int, scoped: int = 0) -> Operation:
    """A Landlock ruleset that handles these rights (landlock(7))."""
    return Operation(text="make a Landlock ruleset", kind=lib.PC_OP_RULESET, out=out, arg=files, arg3=scoped)


def rule(fd: int, *, beneath: int, access: int, purpose: str) -> Operation:
    """What the ruleset in slot ``fd`` allows beneath the file in another slot."""
    return Operation(
        text=f"allow by Landlock what is beneath {purpose}",
        kind=lib.PC_OP_RULE,
        fd=fd,
        at=beneath,
        arg=access,
    )
