"""What this kernel and these file systems can do, found out by trying it once.

Never by version numbers: distributions move features both ways.
"""

from __future__ import annotations

import errno
import os
from functools import cache

from pycontainer.errors import KernelError
from pycontainer.kernel import operation as op
from pycontainer.kernel import userns
from pycontainer.kernel.idmap import IdMap, rules_host
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation, Script
from pycontainer.kernel.spawn import apply


@cache
def overlay_takes_layers() -> bool:
    """Does overlayfs take lower layers one by one (``lowerdir+``)? Linux 6.8."""
    ops = [
        Operation(text="mount overlay", kind=lib.PC_OP_FSOPEN, out=1, name=b"overlay"),
        Operation(
            text="add a layer",
            kind=lib.PC_OP_FSCONFIG,
            fd=1,
            path=b"lowerdir+",
            # No directory: who knows the option looks at it at once. Before Linux 6.5 every option is taken
            # unseen, and refused by the mount.
            name=b"/dev/null/layer",
            flags=lib.FSCONFIG_SET_STRING,
        ),
    ]
    try:
        namespaces = lib.CLONE_NEWNS | (0 if rules_host() else lib.CLONE_NEWUSER)
        userns.release(userns.hold(namespaces, script=Script.of(inner=ops), slots=2)[1])
    except KernelError as error:
        if error.op != len(ops) or error.errno not in (errno.EINVAL, errno.ENOTDIR, errno.ENOENT):
            raise
        return error.errno != errno.EINVAL
    return False


@cache
def tmpfs_keeps_user_xattrs() -> bool:
    """Can a tmpfs hold ``user.*`` attributes, as an overlay's upper layer in a user namespace must? Linux 6.6."""
    fd = os.memfd_create("probe", os.MFD_CLOEXEC)
    try:
        os.setxattr(fd, "user.overlay.probe", b"y")
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            return False
        raise
    finally:
        os.close(fd)
    return True


def can_idmap(path: str) -> bool:
    """Can ``path``, with all mounted below, be shown through an id map? ext4 since Linux 5.12; not overlayfs."""
    return _can_idmap(os.stat(path).st_dev, path)


@cache
def _can_idmap(_device: int, path: str) -> bool:
    fd = userns.create(IdMap.block(0x7FFF_0000), leashed=False)
    slots = [fd, -1]
    try:
        apply(
            Script.of(
                outer=[
                    op.open_tree(path, out=1, recursive=True),
                    op.set_attributes(1, userns=0, recursive=True, purpose=path),
                ],
            ),
            slots,
        )
    except KernelError as error:
        if error.errno in (errno.EINVAL, errno.EPERM) and error.op == 2:
            return False
        raise
    finally:
        for each in slots:
            if each >= 0:
                os.close(each)
    return True
