"""Why the kernel refused an overlay: it says EINVAL, and the reason only to its log, which few may read."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack

import attrs

from pycontainer.errors import KernelError
from pycontainer.kernel import mount
from pycontainer.kernel.fd import Fd

#: File systems that lack what an upper directory needs: whiteouts, xattrs, or the type of each entry.
_NO_UPPER = {
    "overlay",
    "nfs",
    "nfs4",
    "cifs",
    "vfat",
    "exfat",
    "fuse",
    "9p",
    "virtiofs",
    "hostfs",
    "squashfs",
}


@attrs.frozen
class _Layer:
    """A directory of an overlay as it is now."""

    path: str
    device: int
    file_system: str


def explained(error: KernelError, lowers: Sequence[str], upper: str | None, work: str | None) -> KernelError:
    """The error of mounting an overlay with its cause, as far as that can be found out.

    A directory that cannot be opened is the error itself.
    """
    with ExitStack() as stack:
        try:
            below = [_look(path, "lower", stack) for path in lowers]
            above = [
                _look(path, name, stack)
                for name, path in (("upper", upper), ("work", work))
                if path is not None
            ]
        except KernelError as cause:
            return cause
        hint = _upper_cause(error, *above) if len(above) == 2 else ""
        hint = hint or _cause(error, [*below, *above]) or ("" if error.errno == errno.EINVAL else error.hint)
    return KernelError(error.errno or 0, error.step, op=error.op, of=error.of, hint=hint)


def _look(path: str, name: str, stack: ExitStack) -> _Layer:
    try:
        fd = stack.enter_context(Fd(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)))
    except OSError as cause:
        raise KernelError(cause.errno or 0, f"open the {name} directory {path}") from None
    return _Layer(path, os.fstat(fd.fileno()).st_dev, mount.file_system(fd.fileno()))


def _upper_cause(error: KernelError, upper: _Layer, work: _Layer) -> str:
    if upper.file_system in _NO_UPPER:
        return (
            f"{upper.path} is on {upper.file_system}, which cannot hold an upper directory: use one on disk"
        )
    if upper.device != work.device:
        return f"{upper.path} and {work.path} must be on one file system"
    if _contains(upper.path, work.path) or _contains(work.path, upper.path):
        return f"{upper.path} and {work.path} must not contain each other"
    if error.errno == errno.EBUSY:
        return f"{upper.path} or {work.path} is in use by another overlay"
    if error.errno == errno.EINVAL and _may_be_volatile(work.path):
        return f"if {upper.path} was mounted volatile, it may be incomplete: throw it and {work.path} away"
    return ""


def _may_be_volatile(work: str) -> bool:
    try:
        os.stat(f"{work}/work/incompat/volatile")
    except FileNotFoundError:
        return False
    except PermissionError:  # the kernel's own directory there has no permissions, which stops all but root
        return True
    return True


def _cause(error: KernelError, layers: list[_Layer]) -> str:
    nowhere = [layer.path for layer in layers if not layer.file_system]
    if nowhere:
        return f"{nowhere[0]} is on a mount that is attached nowhere, or in another mount namespace"
    if error.errno == errno.ENODEV:
        return "the kernel has no overlayfs: modprobe overlay"
    if error.errno == errno.ELOOP:
        return "a directory is given twice, or contains another one"
    if error.errno == errno.EINVAL and any(layer.file_system == "overlay" for layer in layers):
        return "overlays may lie on each other only two deep"
    return ""


def _contains(outer: str, inner: str) -> bool:
    outer, inner = os.path.realpath(outer), os.path.realpath(inner)
    return os.path.commonpath([outer, inner]) == outer
