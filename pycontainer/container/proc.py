"""The /proc of a container, and what is set through it while nobody else can reach it (CVE-2025-52881)."""

from __future__ import annotations

from pycontainer.container.shape import Shape
from pycontainer.kernel import operation as op
from pycontainer.kernel.native import lib
from pycontainer.kernel.script import Operation

_QUIET = lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_NODEV | lib.MOUNT_ATTR_NOEXEC
#: Processes that one may trace, and nothing else: neither sysctls nor what tells of the host (Linux 5.8).
_MINIMAL = (("hidepid", "ptraceable"), ("subset", "pid"))


def mount(shape: Shape, *, out: int) -> list[Operation]:
    """The file system, in a slot, not yet anywhere."""
    if not shape.minimal_proc:
        return [*_new(out), *_sysctls(shape, out)]
    first = [*_new(out), *_sysctls(shape, out), op.close(out)] if shape.sysctls else []
    return [*first, *_new(out, minimal=True)]


def _new(out: int, *, minimal: bool = False) -> list[Operation]:
    return op.new_mount("proc", _MINIMAL if minimal else (), out=out, attributes=_QUIET, purpose="/proc")


def _sysctls(shape: Shape, at: int) -> list[Operation]:
    return [op.write_file(f"sys/{file}", content.encode(), at=at) for file, content in shape.sysctls]
